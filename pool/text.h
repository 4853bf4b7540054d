/* Text built up in a buffer of the caller's: no allocation, no locale, no stdio. What does not
 * fit is left out, and cut says so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *data; /* not terminated */
	size_t size, len;
	bool cut;
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t len);
void text_add_number(struct text *text, int64_t number);

/* Of strings that lie one after the other, the one with this number, from 0. A table of pointers
 * would be longer, and each pointer a relocation, which every process makes at its start. */
const char *text_nth(const char *strings, unsigned number);

/* As a JSON string, with its quotes: RFC 8259 section 7. Bytes from 0x80 on are kept if they are
 * valid UTF-8, and become U+FFFD if they are not. */
void text_add_json(struct text *text, const char *string);
