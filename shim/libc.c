#include "shim/libc.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

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

static int early_open(const char *path, int flags, ...)
{
	va_list rest;

	va_start(rest, flags);
	mode_t mode = va_arg(rest, mode_t);
	va_end(rest);
	return (int)to_libc_result(RAW4(openat, AT_FDCWD, path, flags, mode));
}

static int early_openat(int at, const char *path, int flags, ...)
{
	va_list rest;

	va_start(rest, flags);
	mode_t mode = va_arg(rest, mode_t);
	va_end(rest);
	return (int)to_libc_result(RAW4(openat, at, path, flags, mode));
}

static int early_sched_yield(void)
{
	return (int)to_libc_result(RAW0(sched_yield));
}

static int early_nanosleep(const struct timespec *time, struct timespec *left)
{
	return (int)to_libc_result(RAW2(nanosleep, time, left));
}

/* As vfork(2) may be. */
static pid_t early_fork(void)
{
	return (pid_t)to_libc_result(RAW5(clone, SIGCHLD, 0, 0, 0, 0));
}

static long early_syscall(long number, ...)
{
	long argument[6];
	va_list rest;

	va_start(rest, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(rest, long);
	va_end(rest);
	return to_libc_result(raw_syscall(number, argument[0], argument[1], argument[2],
		argument[3], argument[4], argument[5]));
}

struct libc libc_functions = {
	.open = early_open,
	.open64 = early_open,
	.openat = early_openat,
	.openat64 = early_openat,
	.syscall = early_syscall,
	.vfork = early_fork,
	._Fork = early_fork,
	.read = early_read,
	.write = early_write,
	.close = early_close,
	.sched_yield = early_sched_yield,
	.nanosleep = early_nanosleep,
};

_Atomic bool libc_is_loaded;

/* In the order of struct libc, which has nothing but pointers to functions. */
static const char names[] =
#define INTERPOSED(returns, name, parameters) #name "\0"
#include "shim/interposed.inc"
#undef INTERPOSED
	;

/* Set while this thread is in libc_load(). Initial-exec, as all that is thread-local here. */
static _Thread_local bool loading;

/* Of these dlsym() may find an old version, for other conditions than today's: glibc before 2.36,
 * https://sourceware.org/bugzilla/show_bug.cgi?id=14932. */
static void *find(const char *name)
{
	void *found = NULL;

	if (strcmp(name, "pthread_cond_wait") == 0 || strcmp(name, "pthread_cond_timedwait") == 0)
		found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
	return found ? found : dlsym(RTLD_NEXT, name);
}

EARLY void libc_load(void)
{
	int saved_errno = errno;

	if (loading)
		return;
	loading = true;
	/* RTLD_NEXT goes by the caller's address, so dlsym() is called in this file and nowhere
	 * else. Where libc lacks a function, nobody can have been linked against it; what asks for
	 * it by name at run time must not find it either, see the wrappers. */
	void **function = (void **)(void *)&libc_functions;
	for (const char *name = names; *name; name += strlen(name) + 1, function++) {
		void *found = find(name);
		if (found)
			__atomic_store_n(function, found, __ATOMIC_RELAXED);
	}
	atomic_store_explicit(&libc_is_loaded, true, memory_order_release);
	loading = false;
	errno = saved_errno;
}
