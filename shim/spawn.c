/* Copies of our descriptors, made without fork(): a child made by vfork(), or by libc in
 * posix_spawn(), popen() and system(), has all that are open until it execs, and then those that
 * are not CLOEXEC. So what is open at that moment is not parked.
 *
 * The mark is left before the copy is made, and once more after it, for what other threads opened
 * in between: in the child of a vfork(), which has the parent's memory, that is before it execs.
 */

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>

#include "shim/libc.h"
#include "shim/process.h"
#include "shim/tail_call.h"

static void descriptors_are_shared(void)
{
	pool_shared_descriptors(&process_pool);
}

/* vfork() cannot be wrapped in C: the child would return through the wrapper's frame, and leave it
 * in ruins to the parent. */
TAIL_CALL_HOOK(before_vfork)
{
	(void)registers;
	descriptors_are_shared();
	return (void *)libc()->vfork;
}

/* It runs no handlers of pthread_atfork(). The child finds out that it is one. */
pid_t _Fork(void)
{
	pool_begin_copy(&process_pool);
	pid_t child = libc()->_Fork();
	if (child != 0)
		pool_end_copy(&process_pool);
	else
		process_may_pool();
	return child;
}

bool process_copies(unsigned flags)
{
	bool memory = flags & CLONE_VM, descriptors = flags & CLONE_FILES;

	/* One table for two pools; or two for one, and not told apart by the process id; or threads
	 * that do not see the same network. */
	if ((descriptors && !memory) ||
		(memory && !descriptors && flags & (CLONE_THREAD | CLONE_NEWPID)) ||
		(memory && descriptors && flags & (CLONE_NEWNET | CLONE_NEWPID)))
		process_turn_off("clone() with unusual flags");
	return !descriptors;
}

int clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
	void *rest[3];
	va_list more;

	/* As glibc does: whatever is there is passed on. */
	va_start(more, argument);
	for (int i = 0; i < 3; i++)
		rest[i] = va_arg(more, void *);
	va_end(more);
	if (!process_copies((unsigned)flags))
		return libc()->clone(function, stack, flags, argument, rest[0], rest[1], rest[2]);
	pool_begin_copy(&process_pool);
	int child = libc()->clone(function, stack, flags, argument, rest[0], rest[1], rest[2]);
	pool_end_copy(&process_pool);
	return child;
}

INTERPOSED_AS(clone, __clone);

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	pool_begin_copy(&process_pool);
	int result = libc()->posix_spawn(pid, path, actions, attributes, argv, envp);
	pool_end_copy(&process_pool);
	return result;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	pool_begin_copy(&process_pool);
	int result = libc()->posix_spawnp(pid, file, actions, attributes, argv, envp);
	pool_end_copy(&process_pool);
	return result;
}

int execve(const char *path, char *const argv[], char *const envp[])
{
	descriptors_are_shared();
	return libc()->execve(path, argv, envp);
}

int execvpe(const char *file, char *const argv[], char *const envp[])
{
	descriptors_are_shared();
	return libc()->execvpe(file, argv, envp);
}

int execv(const char *path, char *const argv[])
{
	descriptors_are_shared();
	return libc()->execv(path, argv);
}

int execvp(const char *file, char *const argv[])
{
	descriptors_are_shared();
	return libc()->execvp(file, argv);
}

/* Their lists of arguments have no end that could be passed on. */

TAIL_CALL_HOOK(before_execl)
{
	(void)registers;
	descriptors_are_shared();
	return (void *)libc()->execl;
}

TAIL_CALL_HOOK(before_execlp)
{
	(void)registers;
	descriptors_are_shared();
	return (void *)libc()->execlp;
}

TAIL_CALL_HOOK(before_execle)
{
	(void)registers;
	descriptors_are_shared();
	return (void *)libc()->execle;
}

int fexecve(int fd, char *const argv[], char *const envp[])
{
	if (process_hides(fd))
		return process_bad_descriptor();
	descriptors_are_shared();
	return libc()->fexecve(fd, argv, envp);
}

/* Cancellation points: pthreads(7). A handler that jumps out of them by siglongjmp() leaves a copy
 * under way for ever, and nothing is parked any more. */

static void end_copy(void *unused)
{
	(void)unused;
	pool_end_copy(&process_pool);
}

FILE *popen(const char *command, const char *mode)
{
	int saved_errno = errno;
	FILE *stream;

	pool_begin_copy(&process_pool);
	pthread_cleanup_push(end_copy, NULL);
	stream = libc()->popen(command, mode);
	if (!stream && process_made_room()) {
		stream = libc()->popen(command, mode);
		if (stream)
			errno = saved_errno;
	}
	pthread_cleanup_pop(true);
	return stream;
}

INTERPOSED_AS(popen, _IO_popen);

int system(const char *command)
{
	int result;

	pool_begin_copy(&process_pool);
	pthread_cleanup_push(end_copy, NULL);
	result = libc()->system(command);
	pthread_cleanup_pop(true);
	return result;
}
