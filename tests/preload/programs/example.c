/* A program that knows of libsppool, and does without where it is absent: HOST PORT.
 *
 * It asks for one page three times, a connection each, and says what its service point looks like.
 */
#include "client.h"

#include <netdb.h>

#ifdef BY_DLSYM
#define SPPOOL_API extern
#endif
#include <sppool.h>

#ifdef BY_DLSYM
/* Without position independent code the linker settles weak names for good. */
#include <dlfcn.h>

static void *library_function(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

#define sppool_set     ((__typeof__(&sppool_set))library_function("sppool_set"))
#define sppool_find    ((__typeof__(&sppool_find))library_function("sppool_find"))
#define sppool_close   ((__typeof__(&sppool_close))library_function("sppool_close"))
#define sppool_version ((__typeof__(&sppool_version))library_function("sppool_version"))
#define is_present()   (library_function("sppool_set") != NULL)
#else
#define is_present() sppool_is_present()
#endif

static void ask(const char *host, const char *service)
{
	const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;

	if (getaddrinfo(host, service, &wanted, &found))
		exit(3);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	report("connect", connect(fd, found->ai_addr, found->ai_addrlen));
	freeaddrinfo(found);
	request(fd, "GET", "/echo/page");
	show("GET", receive(fd, true));
	report("close", close(fd));
}

static void show_service_point(const char *host)
{
	struct sppool_service_point point = {.size = sizeof(point)};

	report("find", sppool_find(host, port, &point));
	printf("limit %d, idle time %d, connections %u, opened %llu, reused %llu, %s\n",
		point.connection_limit, point.max_idle_time, point.current_connections,
		point.opened, point.reused, point.idle_since ? "idle" : "in use");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 3;
	port = atoi(argv[2]);
	if (is_present()) {
		printf("libsppool %s\n", sppool_version());
		report("set the limit", sppool_set(argv[1], port, SPPOOL_CONNECTION_LIMIT, 4));
		report("set the idle time", sppool_set(argv[1], port, SPPOOL_MAX_IDLE_TIME, 5000));
	}
	for (int i = 0; i < 3; i++)
		ask(argv[1], argv[2]);
	if (is_present()) {
		show_service_point(argv[1]);
		report("close", sppool_close(argv[1], port));
		show_service_point(argv[1]);
	}
	return 0;
}
