/* Several endpoints at once, and the several names of one. */
#include "client.h"

static void two_ports(void)
{
	for (int i = 0; i < 10; i++) {
		int first = dial_port(port);
		int second = dial_port(control_port);

		request(second, "GET", "/echo/second");
		request(first, "GET", "/echo/first");
		show("first", receive(first, true));
		show("second", receive(second, true));
		close(i % 2 ? first : second);
		close(i % 2 ? second : first);
	}
}

static int dial_six(const char *address)
{
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	inet_pton(AF_INET6, address, &name.sin6_addr);
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		die("connect");
	return fd;
}

static void show_peer(int fd)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);
	char text[INET6_ADDRSTRLEN] = "";

	getpeername(fd, (struct sockaddr *)&name, &length);
	if (name.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&name)->sin6_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET, &((struct sockaddr_in *)&name)->sin_addr, text, sizeof(text));
	printf("peer: %s, %u\n", text, length);
}

static void visit_on(int fd)
{
	show_peer(fd);
	fetch(fd, "/bytes/10");
	report("close", close(fd));
}

static void six(void)
{
	for (int i = 0; i < 10; i++)
		visit_on(dial_six("::1"));
}

static void mapped(void)
{
	for (int i = 0; i < 10; i++)
		visit_on(dial_six("::ffff:127.0.0.1"));
}

static void mapped_and_plain(void)
{
	for (int i = 0; i < 10; i++) {
		visit_on(dial_six("::ffff:127.0.0.1"));
		visit_on(dial());
	}
}

/* 127.0.0.1 and 127.0.0.2 are one machine and two addresses */
static void two_addresses(void)
{
	for (int i = 0; i < 10; i++) {
		struct sockaddr_in address = loopback(port);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (unsigned)(i % 2));
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			die("connect");
		visit_on(fd);
	}
}

/* ten at the same time, ten rounds */
static void ten_at_once(void)
{
	int opened[10];

	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < COUNT(opened); i++)
			opened[i] = dial();
		for (size_t i = 0; i < COUNT(opened); i++)
			request(opened[i], "GET", "/bytes/10");
		for (size_t i = 0; i < COUNT(opened); i++) {
			show("answer", receive(opened[i], true));
			report("close", close(opened[i]));
		}
	}
}

/* Six in a row, and back again: what was used last is there longest. */
static void six_addresses(void)
{
	static const unsigned order[] = {1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1};

	for (size_t i = 0; i < COUNT(order); i++) {
		struct sockaddr_in address = loopback(port);
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		char path[32];

		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + order[i]);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			die("connect");
		snprintf(path, sizeof(path), "/echo/%u", order[i]);
		fetch(fd, path);
		report("close", close(fd));
	}
}

static const struct scenario scenarios[] = {
	{"two_ports", two_ports},
	{"six", six},
	{"mapped", mapped},
	{"mapped_and_plain", mapped_and_plain},
	{"two_addresses", two_addresses},
	{"ten_at_once", ten_at_once},
	{"six_addresses", six_addresses},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}
