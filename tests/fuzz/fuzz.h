/* What the fuzz targets share: how an input becomes a conversation.
 *
 * An input is pieces, each a byte for its direction and then its bytes, with the byte 0x1e (record
 * separator) between the pieces. The directions are > sent, < received, } and { likewise but
 * unseen; any other byte stands for one of them. Unlike lengths, this survives mutation and can be
 * written by hand. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_SEPARATOR 0x1e

struct piece {
	bool sent, unseen;
	const uint8_t *bytes;
	size_t len;
};

/* Takes the first piece off the input. False: there is none left. */
static inline bool next_piece(const uint8_t **data, size_t *size, struct piece *piece)
{
	if (*size == 0)
		return false;

	const uint8_t *separator = memchr(*data + 1, PIECE_SEPARATOR, *size - 1);
	const size_t len = (separator ? separator : *data + *size) - *data;

	*piece = (struct piece){
		.sent = **data == '>' || **data == '}' || (**data != '<' && **data & 1),
		.unseen = **data == '{' || **data == '}',
		.bytes = *data + 1,
		.len = len - 1,
	};
	*data += separator ? len + 1 : len;
	*size -= separator ? len + 1 : len;
	return true;
}

/* As assert(), which NDEBUG could turn off. */
#define MUST(claim)                                                                                \
	do {                                                                                       \
		if (!(claim)) {                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);        \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
