/* Calls of sppool.h, as they are told, each with what it says:
 *
 *      find HOST PORT                 what the service point is like
 *      set HOST PORT SETTING VALUE    close HOST PORT
 *      default SETTING VALUE          get SETTING
 *      visit PORT                     a connection to 127.0.0.1, one exchange, and close()
 *      open PORT  done                the same in two halves
 *      race PORT                      connections to ten hosts, while others close them
 *
 * A SETTING is its number; HOST is - for none. errno is said where it changes.
 */
#include "client.h"

#include <pthread.h>

#include "shim/sppool.h"

#define VISITS 100
#define HOSTS  10

static int opened = -1;

static const char *host_of(const char *word)
{
	return strcmp(word, "-") == 0 ? NULL : word;
}

static void say(const char *what, int result)
{
	if (errno != 0)
		printf("errno is %s\n", strerrorname_np(errno));
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(-result));
	else
		printf("%s: %d\n", what, result);
}

static void call_find(char **word)
{
	struct sppool_service_point point = {.size = sizeof(point)};
	int result = sppool_find(host_of(word[1]), atoi(word[2]), &point);

	say("find", result);
	if (result == 0)
		printf("limit %d idle %d lease %d uses %d wait %d connections %u parked %u "
		       "waiting %u opened %llu reused %llu %s\n",
			point.connection_limit, point.max_idle_time, point.lease_timeout,
			point.max_uses, point.limit_wait_timeout, point.current_connections,
			point.parked, point.waiting, point.opened, point.reused,
			point.idle_since ? "idle" : "in use");
}

static void call_set(char **word)
{
	say("set", sppool_set(host_of(word[1]), atoi(word[2]), (enum sppool_setting)atoi(word[3]),
			   atoi(word[4])));
}

static void call_close(char **word)
{
	say("close", sppool_close(host_of(word[1]), atoi(word[2])));
}

static void call_default(char **word)
{
	say("default", sppool_set_default((enum sppool_setting)atoi(word[1]), atoi(word[2])));
}

static void call_get(char **word)
{
	int value = -4711;
	int result = sppool_get_default((enum sppool_setting)atoi(word[1]), &value);

	say("get", result < 0 ? result : 0);
	if (result == 0)
		printf("%d\n", value);
}

static void call_open(char **word)
{
	opened = dial_port(atoi(word[1]));
	fetch(opened, "/bytes/10");
}

static void call_done(char **word)
{
	(void)word;
	close(opened);
}

static void call_visit(char **word)
{
	call_open(word);
	call_done(word);
}

/* ---- many at once ---- */

static struct sockaddr_in address_of(unsigned i)
{
	struct sockaddr_in address = loopback(port);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i % HOSTS);
	return address;
}

static void *visit_hosts(void *first)
{
	for (unsigned i = 0; i < VISITS; i++) {
		const struct sockaddr_in address = address_of((unsigned)(uintptr_t)first + i);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
			die("connect");
		request(fd, "GET", "/bytes/10");
		if (receive(fd, true).status != 200)
			die("receive");
		close(fd);
	}
	return NULL;
}

static void *close_hosts(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < VISITS * 4; i++) {
		char host[INET_ADDRSTRLEN];
		const struct sockaddr_in address = address_of(i);

		inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host));
		int result = sppool_close(host, port);
		if (result != 0 && result != 1 && result != -EAGAIN)
			die("sppool_close");
		if (sppool_set(host, port, SPPOOL_CONNECTION_LIMIT, 1 + (int)(i % 3)) < 0)
			die("sppool_set");
	}
	return NULL;
}

static void call_race(char **word)
{
	pthread_t threads[6];

	port = atoi(word[1]);
	sppool_set_default(SPPOOL_MAX_IDLE_TIME, 1);
	for (unsigned i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, i < 4 ? visit_hosts : close_hosts,
			(void *)(uintptr_t)(i * 3));
	for (unsigned i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	printf("race: over\n");
}

static const struct {
	const char *word;
	int words;
	void (*call)(char **word);
} calls[] = {
	{"find", 3, call_find},
	{"set", 5, call_set},
	{"close", 3, call_close},
	{"default", 3, call_default},
	{"get", 2, call_get},
	{"visit", 2, call_visit},
	{"open", 2, call_open},
	{"done", 1, call_done},
	{"race", 2, call_race},
};

int main(int argc, char **argv)
{
	if (!sppool_is_present())
		return 4;
	for (int at = 1; at < argc;) {
		size_t i = 0;

		while (i < COUNT(calls) && strcmp(calls[i].word, argv[at]) != 0)
			i++;
		if (i == COUNT(calls) || at + calls[i].words > argc)
			return 3;
		errno = 0;
		calls[i].call(argv + at);
		at += calls[i].words;
	}
	return 0;
}
