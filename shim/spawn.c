/* Programs that are started without fork(): while one starts, or for good, it has copies of the
 * descriptors that are open now, or of those that are not CLOEXEC. So what is open now is not
 * parked.
 *
 * exec is here for the child of a vfork(), which has the parent's memory: there it must leave its
 * mark before it is gone. (vfork() itself cannot be wrapped in C: the child would return through
 * the wrapper's frame.)
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

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	descriptors_are_shared();
	return libc()->posix_spawn(pid, path, actions, attributes, argv, envp);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	descriptors_are_shared();
	return libc()->posix_spawnp(pid, file, actions, attributes, argv, envp);
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
	descriptors_are_shared();
	return libc()->popen(command, mode);
}

int system(const char *command)
{
	descriptors_are_shared();
	return libc()->system(command);
}
