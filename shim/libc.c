#include "shim/libc.h"

#include <dlfcn.h>
#include <errno.h>

#include "shim/raw.h"

/* What an allocator may call while dlsym() is at work, for the first time, below us. */

static long to_libc_result(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

static ssize_t early_read(int fd, void *buf, size_t len)
{
	return to_libc_result(RAW3(read, fd, buf, len));
}

static ssize_t early_write(int fd, const void *buf, size_t len)
{
	return to_libc_result(RAW3(write, fd, buf, len));
}

static int early_close(int fd)
{
	return (int)to_libc_result(RAW1(close, fd));
}

struct libc libc_functions = {
	.read = early_read,
	.write = early_write,
	.close = early_close,
};

_Atomic bool libc_is_loaded;
__attribute__((used)) void *libc_vfork;

/* Set while this thread is in libc_load(). Initial-exec, as all that is thread-local here. */
static _Thread_local bool loading;

void libc_load(void)
{
	int saved_errno = errno;

	if (loading)
		return;
	loading = true;
	/* RTLD_NEXT goes by the caller's address, so dlsym() is called from here and nowhere else.
	 * Where libc lacks a function, nobody can have been linked against it; what asks for it by
	 * name at run time must not find it either, see the wrappers. */
#define INTERPOSED(returns, name, parameters)                                                      \
	{                                                                                          \
		void *found = dlsym(RTLD_NEXT, #name);                                             \
		if (found)                                                                         \
			__atomic_store_n(                                                          \
				(void **)(void *)&libc_functions.name, found, __ATOMIC_RELAXED);   \
	}
#include "shim/interposed.inc"
#undef INTERPOSED
	__atomic_store_n(&libc_vfork, (void *)libc_functions.vfork, __ATOMIC_RELAXED);
	atomic_store_explicit(&libc_is_loaded, true, memory_order_release);
	loading = false;
	errno = saved_errno;
}
