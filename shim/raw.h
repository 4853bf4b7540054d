/* The kernel, without libc in between: results of 0 or more, or -errno. errno is left alone, and no
 * call is a cancellation point; so these may be used where a program must not notice, in signal
 * handlers, and before libc is known.
 */
#pragma once

#include <sys/syscall.h>

#if defined(__x86_64__)

static inline long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#else
#error "libsppool knows the system calls of x86-64 only"
#endif

#define RAW0(name)          raw_syscall(SYS_##name, 0, 0, 0, 0, 0, 0)
#define RAW1(name, a)       raw_syscall(SYS_##name, (long)(a), 0, 0, 0, 0, 0)
#define RAW2(name, a, b)    raw_syscall(SYS_##name, (long)(a), (long)(b), 0, 0, 0, 0)
#define RAW3(name, a, b, c) raw_syscall(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define RAW4(name, a, b, c, d)                                                                     \
	raw_syscall(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define RAW5(name, a, b, c, d, e)                                                                  \
	raw_syscall(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define RAW6(name, a, b, c, d, e, f)                                                               \
	raw_syscall(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
