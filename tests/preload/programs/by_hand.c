/* Loads a library by dlopen() and closes it again, over and over, with traffic and a fork in
 * between: PORT [LIBRARY].
 */
#include "client.h"
#include <dlfcn.h>
#include <sys/wait.h>

static void load(const char *library, int mode)
{
	void *loaded = dlopen(library, mode);

	if (!loaded) {
		printf("%s\n", dlerror());
		return;
	}
	visit("/echo/loaded");
	if (dlclose(loaded))
		printf("%s\n", dlerror());
}

static void fork_once(void)
{
	pid_t pid;
	int status = -1;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(7);
	waitpid(pid, &status, 0);
	printf("child: %x\n", (unsigned)status);
}

/* Without a library this one, which is there anyway, stands for it. */
int main(int argc, char **argv)
{
	static const int modes[] = {RTLD_NOW, RTLD_NOW | RTLD_GLOBAL, RTLD_LAZY | RTLD_DEEPBIND};
	const char *library = argc > 2 ? argv[2] : "libc.so.6";

	port = argc > 1 ? atoi(argv[1]) : 0;
	for (size_t i = 0; i < COUNT(modes); i++) {
		load(library, modes[i]);
		fork_once();
		visit("/echo/after");
	}
	dlmopen(LM_ID_NEWLM, library, RTLD_NOW);
	fork_once();
	visit("/echo/apart");
	return 0;
}
