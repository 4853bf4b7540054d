/* The program's memory, of which nothing is known. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/raw.h"

/* May these bytes, 8 at least, be read? The kernel says EFAULT of memory that is not there, and so
 * must we. It reads 8 bytes for a sigprocmask() that it then rejects, as it knows no such `how`. So
 * only the ends are tried, which is enough for what is shorter than a page. */
static inline bool memory_is_readable(const void *memory, size_t len)
{
	if (!memory || len < sizeof(uint64_t))
		return false;
	const char *first = memory, *last = first + len - sizeof(uint64_t);
	if (RAW4(rt_sigprocmask, -1, first, NULL, sizeof(uint64_t)) == -EFAULT)
		return false;
	bool one_page = ((uintptr_t)first ^ (uintptr_t)(first + len - 1)) < 4096;
	return one_page || RAW4(rt_sigprocmask, -1, last, NULL, sizeof(uint64_t)) != -EFAULT;
}
