#include "shim/memory.h"

#include <errno.h>
#include <stdint.h>

#include "pool/layout.h"
#include "shim/raw.h"

/* The kernel reads 8 bytes for a sigprocmask() that it then rejects, as it knows no such `how`. */
static bool word_is_readable(const void *word)
{
	return RAW4(rt_sigprocmask, -1, word, NULL, sizeof(uint64_t)) != -EFAULT;
}

/* Only two words are tried, on the pages in which they begin and end, which is enough for what is
 * shorter than a page. Where there is room for them they lie within: what is beside may not be
 * initialised, which valgrind would complain of.
 */
COLD bool memory_is_readable(const void *memory, size_t len)
{
	const uintptr_t mask = ~(uintptr_t)(sizeof(uint64_t) - 1), page = ~(uintptr_t)4095;
	const uintptr_t begin = (uintptr_t)memory, end = begin + len;
	uintptr_t first = (begin + ~mask) & mask, last = (end - sizeof(uint64_t)) & mask;

	if (!memory || len == 0)
		return false;
	if (first + sizeof(uint64_t) > end || (first ^ begin) & page)
		first = begin & mask;
	if (len < sizeof(uint64_t) || last < begin || (last ^ (end - 1)) & page)
		last = (end - 1) & mask;
	return word_is_readable((const void *)first) &&
	       (!((first ^ last) & page) || word_is_readable((const void *)last));
}
