/* The program's memory, of which nothing is known. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/raw.h"

/* The kernel reads 8 bytes for a sigprocmask() that it then rejects, as it knows no such `how`. */
static inline bool memory_word_is_readable(const void *word)
{
	return RAW4(rt_sigprocmask, -1, word, NULL, sizeof(uint64_t)) != -EFAULT;
}

/* May these bytes be read? The kernel says EFAULT of memory that is not there, and so must we. Only
 * the words are tried in which they begin and end, which is enough for what is shorter than a page.
 */
static inline bool memory_is_readable(const void *memory, size_t len)
{
	const uintptr_t mask = ~(uintptr_t)(sizeof(uint64_t) - 1);
	const uintptr_t first = (uintptr_t)memory & mask,
			last = ((uintptr_t)memory + len - 1) & mask;

	if (!memory || len == 0 || !memory_word_is_readable((const void *)first))
		return false;
	return (first ^ last) < 4096 || memory_word_is_readable((const void *)last);
}
