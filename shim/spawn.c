/* Copies of our descriptors, made without fork(): a child made by vfork(), or by libc in
 * posix_spawn(), popen() and system(), has all that are open until it execs, and then those that
 * are not CLOEXEC. So what is open at that moment is not parked.
 *
 * The mark is left before the copy is made, and once more after it, for what other threads opened
 * in between: in the child of a vfork(), which has the parent's memory, that is before it execs.
 */

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/libc.h"
#include "shim/process.h"

static void descriptors_are_shared(void)
{
	pool_shared_descriptors(&process_pool);
}

/* vfork() cannot be wrapped in C: the child would return through the wrapper's frame, and leave it
 * in ruins to the parent. So this only counts, and jumps on. Before libc is known it is the system
 * call itself, with the return address kept in a register, as the child uses the stack. */
__attribute__((used)) _Atomic uint32_t *spawn_epoch = &process_pool.fork_epoch;

__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	endbr64\n"
	"	movq spawn_epoch(%rip), %rax\n"
	"	lock incl (%rax)\n"
	"	movq libc_vfork(%rip), %rax\n"
	"	testq %rax, %rax\n"
	"	jz 1f\n"
	"	jmp *%rax\n"
	"1:	popq %rdi\n"
	"	movl $58, %eax\n" /* SYS_vfork */
	"	syscall\n"
	"	jmp *%rdi\n"
	".size vfork, . - vfork\n");

/* It runs no handlers of pthread_atfork(): the child is a foreign one, that touches nothing. */
pid_t _Fork(void)
{
	pool_begin_copy(&process_pool);
	pid_t child = libc()->_Fork();
	pool_end_copy(&process_pool);
	return child;
}

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

int fexecve(int fd, char *const argv[], char *const envp[])
{
	descriptors_are_shared();
	return libc()->fexecve(fd, argv, envp);
}

FILE *popen(const char *command, const char *mode)
{
	pool_begin_copy(&process_pool);
	FILE *stream = libc()->popen(command, mode);
	pool_end_copy(&process_pool);
	return stream;
}

int system(const char *command)
{
	pool_begin_copy(&process_pool);
	int result = libc()->system(command);
	pool_end_copy(&process_pool);
	return result;
}
