/* A library that uses connections before main() and after it: preloaded beside the pool's.
 *
 * EARLY_PORT is the server's port. What happens is written by write(2): stdio may be gone.
 */
#include "client.h"

static void visit_quietly(const char *when)
{
	const char *text = getenv("EARLY_PORT");
	struct response got = {0};
	char line[128];
	int fd;

	if (!text)
		return;
	fd = dial_port(atoi(text));
	if (request(fd, "GET", "/bytes/100"))
		got = receive(fd, true);
	close(fd);
	snprintf(line, sizeof(line), "%s: %d, %zu bytes\n", when, got.status, got.length);
	if (write(STDOUT_FILENO, line, strlen(line)) < 0)
		_exit(9);
}

static void at_exit(void)
{
	visit_quietly("atexit");
}

__attribute__((constructor)) static void before_main(void)
{
	/* Handlers are called in reverse: this one after those of whoever was initialised later. */
	atexit(at_exit);
	visit_quietly("constructor");
	visit_quietly("constructor again");
}

__attribute__((destructor)) static void after_main(void)
{
	visit_quietly("destructor");
	visit_quietly("destructor again");
}
