/* A plugin that talks to a server by itself, as extensions of PHP do. It prints nothing: loaded
 * into a namespace of its own it would have a standard output of its own.
 */
#include "client.h"
#include <fcntl.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int plugin_dial(int to_port);
EXPORT int plugin_fetch(int fd, const char *path, char *body, size_t size);
EXPORT int plugin_close(int fd);
EXPORT int plugin_open(const char *path);

int plugin_dial(int to_port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd >= 0 && connect_to(fd, to_port)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* the status, and the start of the body; 0 where there is no response */
int plugin_fetch(int fd, const char *path, char *body, size_t size)
{
	struct response got = {0};

	if (request(fd, "GET", path))
		got = receive(fd, true);
	snprintf(body, size, "%s", got.start);
	return got.status;
}

int plugin_close(int fd)
{
	return close(fd);
}

int plugin_open(const char *path)
{
	return open(path, O_RDWR | O_CLOEXEC);
}
