/* The status page: what the pool of one process shows to others of the same user, and what they ask
 * of it. Shared memory; numbers are in the machine's own order, times in milliseconds of
 * CLOCK_BOOTTIME.
 *
 * The library writes all of it but the request, and believes nothing that it reads there: the
 * request is text that may be anything, and what is shown is a copy of the pool's own books. Who
 * reads a page goes by the sizes and offsets in it, and by its words, so that a page of another
 * version can be read as long as its layout is the same.
 *
 * How to find the page of a process: shim/status.h.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/settings.h"
#include "pool/stats.h"

#define STATUS_MAGIC  "sppool\n" /* eight bytes with the 0 at its end */
#define STATUS_LAYOUT 1

#define STATUS_ROWS          256
#define STATUS_NAME_SIZE     256
#define STATUS_ADDRESS_SIZE  64
#define STATUS_PROTOCOL_SIZE 16
#define STATUS_REQUEST_SIZE  512
#define STATUS_ANSWER_SIZE   192
#define STATUS_WORDS_SIZE    2048

#define STATUS_REASON_COUNT ((unsigned)DISCARD_COUNT + (unsigned)REFUSAL_COUNT)

enum status_count {
#define COUNTER(field, word, meaning) STATUS_COUNT_##field,
#include "pool/counters.inc"
#undef COUNTER
	STATUS_COUNT_COUNT,
};

/* A service point. */
struct status_row {
	_Atomic uint32_t sequence; /* odd while the row is being written */
	uint32_t used;             /* 0: there is nothing in this row */
	uint64_t id;               /* never that of another service point of the process */
	uint64_t made_ms;
	uint64_t idle_since_ms; /* 0: it has connections in use */
	uint64_t opened, reused;
	uint32_t in_use, parked, waiting;
	uint32_t port;
	int64_t settings[POINT_SETTING_COUNT];
	uint32_t reasons[STATUS_REASON_COUNT]; /* discards, then refusals */
	char protocol[STATUS_PROTOCOL_SIZE];
	char address[STATUS_ADDRESS_SIZE]; /* of the latest connection */
	char name[STATUS_NAME_SIZE];       /* the host's name, or else its address */

	/* What is learned of its server (pool/learning.h), and until when it holds. Rows may end
	 * before this: those of libraries that learn nothing do. */
	uint64_t keeps_until_ms, quarantined_until_ms;
	uint32_t keeps_ms; /* 0: nothing */
	uint32_t is_habit; /* 1: none that was idle for longer is reused */
};

/* Text in the grammar of pool/requests.h. Who asks writes it, and then the number, which is the
 * answer's and one more; one asks at a time (shim/status.h). */
struct status_request {
	_Atomic uint32_t number;
	uint32_t len;
	char text[STATUS_REQUEST_SIZE];
};

/* The number is that of the request, and written last. */
struct status_answer {
	_Atomic uint32_t number;
	int32_t result; /* how many service points, or connections, it was about; or -errno */
	char text[STATUS_ANSWER_SIZE]; /* what was wrong, if it is below 0 */
};

struct status_page {
	char magic[8];
	uint32_t layout;
	uint32_t size; /* of the whole page, in bytes */
	uint32_t pid;
	_Atomic uint32_t off;      /* 1: the pool is off for good */
	_Atomic uint32_t sequence; /* odd while what follows, up to the request, is being written */
	uint32_t rows_offset, row_size, row_count;
	uint32_t words_offset, words_size;
	uint32_t counter_count, discard_count, refusal_count,
		setting_count; /* words, in this order */
	uint32_t request_offset, answer_offset;
	uint64_t made_ms, changed_ms;
	uint32_t service_points; /* all that there are: those beyond the rows are not shown */
	uint32_t parked;
	int64_t max_service_points, max_parked;
	int64_t defaults[POINT_SETTING_COUNT]; /* of service points that are still to come */
	uint64_t counters[STATUS_COUNT_COUNT];
	uint64_t reasons[STATUS_REASON_COUNT]; /* discards, then refusals */

	struct status_request request;
	struct status_answer answer;
	/* One after the other, each with a 0 at its end: the words of the counters, of the
	 * discards, of the refusals, and the keys of the settings. */
	char words[STATUS_WORDS_SIZE];
	_Alignas(64) struct status_row rows[STATUS_ROWS];
};
