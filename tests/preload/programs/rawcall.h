/* A system call by an instruction of the program's own, as compiled-in runtimes make them: no
 * library can see it. As libc's own, -1 and errno where it fails.
 */
#ifndef RAWCALL_H
#define RAWCALL_H

#include <errno.h>
#include <sys/syscall.h>

static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (result >= -4095 && result < 0) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

#define RAW_CALL(number, ...) RAW_CALL_6(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_CALL_6(number, a, b, c, d, e, f, ...)                                                  \
	raw_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
