/* syscall(2): the system calls of syscalls.inc, made by number. */

#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "pool/layout.h"
#include "shim/io.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/process.h"
#include "shim/tail_call.h"
#include "shim/waits.h"

static void syscalls_copy(long flags)
{
	if (process_copies((unsigned)flags))
		pool_shared_descriptors(&process_pool);
}

/* struct clone_args begins with the flags: clone(2). */
static void syscalls_copy_as(const uint64_t *arguments, long size)
{
	if (size >= (long)sizeof(*arguments) && memory_is_readable(arguments, sizeof(*arguments)))
		syscalls_copy((long)arguments[0]);
}

/* The bytes are not seen, and neither is that a call is under way. */
static void syscalls_use(long fd)
{
	struct call call = {0};

	if (fd == (int)fd)
		call = fdtable_enter((int)fd);
	if (!call.connection)
		return;
	connection_refuse(call.connection, REFUSED_UNSEEN);
	connection_leave(call);
}

static void syscalls_pass(const struct msghdr *message)
{
	if (memory_is_readable(message, sizeof(*message)) && message->msg_controllen > 0 &&
		memory_is_readable(message->msg_control, message->msg_controllen))
		io_note_passed_descriptors(message);
}

static void syscalls_pass_many(const struct mmsghdr *messages, long count)
{
	for (long i = 0; i < count && i < 1024; i++)
		syscalls_pass(&messages[i].msg_hdr);
}

/* ---- instead ---- */

#define BEFORE(name, statement)

/* syscall() is no cancellation point. */
#define INSTEAD(name, argument, call)                                                              \
	COLD static long instead_of_##name(long number, long a, long b, long c, long d, long e)    \
	{                                                                                          \
		int cancel_state;                                                                  \
                                                                                                   \
		(void)number, (void)a, (void)b, (void)c, (void)d, (void)e;                         \
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);                     \
		long result = call;                                                                \
		pthread_setcancelstate(cancel_state, NULL);                                        \
		return result;                                                                     \
	}
#include "shim/syscalls.inc"
#undef INSTEAD
#undef BEFORE

/* ---- which ---- */

enum row {
	OTHER,
#define INSTEAD(name, argument, call) ROW_##name,
#define BEFORE(name, statement)       ROW_##name,
#include "shim/syscalls.inc"
#undef INSTEAD
#undef BEFORE
};

/* By number of the system call: most programs that use syscall() use it for others. */
static const uint8_t row_of[] = {
#define INSTEAD(name, argument, call) [SYS_##name] = ROW_##name,
#define BEFORE(name, statement)       [SYS_##name] = ROW_##name,
#include "shim/syscalls.inc"
#undef INSTEAD
#undef BEFORE
};

static enum row find_row(long number)
{
	return number >= 0 && number < (long)sizeof(row_of) ? (enum row)row_of[number] : OTHER;
}

static bool is_tracked(long fd)
{
	return fd == (int)fd && fdtable_get((int)fd);
}

/* dup2() and dup3() name a second number: argument + 1. */
static bool concerns_us(const long *registers, int argument, enum row row)
{
	if (argument == 0 || is_tracked(registers[argument]))
		return true;
	return (row == ROW_dup2 || row == ROW_dup3) && is_tracked(registers[argument + 1]);
}

/* What it is called by says what is done then. */
COLD static bool may_follow_shutdown(enum row row)
{
	return row == ROW_close || row == ROW_shutdown || row == ROW_epoll_ctl ||
	       row == ROW_setsockopt || row == ROW_getsockopt;
}

COLD static void *instead(const long *registers, enum row row)
{
	switch (row) {
#define BEFORE(name, statement)
#define INSTEAD(name, argument, call)                                                              \
	case ROW_##name:                                                                           \
		if (concerns_us(registers, argument, row))                                         \
			return (void *)instead_of_##name;                                          \
		break;
#include "shim/syscalls.inc"
#undef INSTEAD
#undef BEFORE
	default:
		break;
	}
	return (void *)libc()->syscall;
}

COLD static void before(const long *registers, enum row row)
{
	long a = registers[1], b = registers[2], c = registers[3];

	switch (row) {
#define INSTEAD(name, argument, call)
#define BEFORE(name, statement)                                                                    \
	case ROW_##name:                                                                           \
		statement;                                                                         \
		break;
#include "shim/syscalls.inc"
#undef INSTEAD
#undef BEFORE
	default:
		break;
	}
}

TAIL_CALL_HOOK(before_syscall)
{
	enum row row = find_row(registers[0]);

	if (deferral_any() && !may_follow_shutdown(row))
		fdtable_carry_out_all();
	if (row == OTHER || !process_is_on())
		return (void *)libc()->syscall;
	before(registers, row);
	return instead(registers, row);
}
