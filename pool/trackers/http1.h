/* HTTP/1.x (RFC 9112): exact framing of requests and responses. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/tracker.h"

extern const struct tracker http1_tracker;

/* What else the bytes told. */
struct http1_facts {
	uint64_t exchanges;          /* requests answered in full */
	uint32_t keep_alive_timeout; /* Keep-Alive: timeout=, in seconds; 0 if never announced */
	uint32_t keep_alive_max;     /* Keep-Alive: max=, in requests; 0 if never announced */

	struct tracker_facts general;
};

struct http1_facts http1_facts(const void *state);
