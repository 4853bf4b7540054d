/* What makes the process another one: what is parked then is another one's. */

#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>

#include "pool/layout.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/process.h"

/* glibc makes the call in each thread that it knows of, and so not in the keeper: it must not be
 * there with what the program has given up. What is parked goes
 * after the call, as it may fail; a connect() that another thread makes during the call may come
 * before or after it without the pool, too. */
#define CREDENTIALS(name, parameters, arguments)                                                   \
	int name parameters                                                                        \
	{                                                                                          \
		bool paused = keeper_pause();                                                      \
		int result = libc()->name arguments;                                               \
		if (result >= 0)                                                                   \
			process_credentials_changed();                                             \
		keeper_resume(paused);                                                             \
		return result;                                                                     \
	}
#include "shim/credentials.inc"
#undef CREDENTIALS

/* These are for one thread alone, and the pool is for all. */

int setfsuid(uid_t uid)
{
	process_turn_off("setfsuid()");
	return libc()->setfsuid(uid);
}

int setfsgid(gid_t gid)
{
	process_turn_off("setfsgid()");
	return libc()->setfsgid(gid);
}

/* A thread alone gets another network, or descriptors of its own, and the pool is for all threads;
 * children in a namespace of their own may have our process id. */
int unshare(int flags)
{
	if (flags & (CLONE_NEWNET | CLONE_FILES | CLONE_NEWPID))
		process_turn_off("unshare()");
	/* Of some things the kernel says that a process has one thread to begin with. */
	bool paused = keeper_pause();
	int result = libc()->unshare(flags);
	if (result == 0)
		process_credentials_changed();
	keeper_resume(paused);
	return result;
}

int setns(int fd, int type)
{
	process_turn_off("setns()");
	return libc()->setns(fd, type);
}

/* What one thread may do, or what it can get: the keeper is to have no more than the one that makes
 * it next. */
static bool changes_rights(int option)
{
	return option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECUREBITS ||
	       option == PR_CAPBSET_DROP || option == PR_CAP_AMBIENT;
}

/* What a sandbox does to calls that it forbids may be to kill, so none must be made that the
 * program does not make itself. */
HOT int prctl(int option, ...)
{
	unsigned long argument[4];
	va_list rest;

	va_start(rest, option);
	for (int i = 0; i < 4; i++)
		argument[i] = va_arg(rest, unsigned long);
	va_end(rest);
	if (option == PR_SET_SECCOMP)
		process_turn_off("seccomp");
	bool paused = changes_rights(option) && keeper_pause();
	int result = libc()->prctl(option, argument[0], argument[1], argument[2], argument[3]);
	keeper_resume(paused);
	return result;
}

int capset(void *header, const void *data)
{
	bool paused = keeper_pause();
	int result = libc()->capset(header, data);
	keeper_resume(paused);
	return result;
}
