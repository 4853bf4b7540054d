/* A process that becomes another one while it has connections: SCENARIO PORT [WHAT or DIRECTORY].
 *
 * Most of it needs root.
 */
#include "client.h"
#include "numbers.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NOBODY 65534

static const char *argument = "";

/* ---- credentials ---- */

struct change {
	const char *name;
	int (*change)(unsigned id); /* 0 is who we were */
};

#define CHANGE(name, expression)                                                                   \
	static int by_##name(unsigned id)                                                          \
	{                                                                                          \
		(void)id;                                                                          \
		return expression;                                                                 \
	}
/* clang-format off */
#define CHANGES(CHANGE)                                                                            \
	CHANGE(setuid, (int)setuid(id))                                                            \
	CHANGE(seteuid, seteuid(id))                                                               \
	CHANGE(setreuid, setreuid(-1U, id))                                                        \
	CHANGE(setresuid, setresuid(-1U, id, -1U))                                                 \
	CHANGE(setgid, setgid(id))                                                                 \
	CHANGE(setegid, setegid(id))                                                               \
	CHANGE(setregid, setregid(-1U, id))                                                        \
	CHANGE(setresgid, setresgid(-1U, id, -1U))                                                 \
	CHANGE(setgroups, setgroups(id ? 1 : 0, &id))                                              \
	CHANGE(initgroups, initgroups(id ? "nobody" : "root", id))                                 \
	CHANGE(setfsuid, setfsuid(id) < 0)                                                         \
	CHANGE(setfsgid, setfsgid(id) < 0)                                                         \
	CHANGE(chroot, chroot("/"))                                                                \
	CHANGE(syscall_setuid, (int)syscall(SYS_setuid, id))                                       \
	CHANGE(syscall_setreuid, (int)syscall(SYS_setreuid, -1, id))                               \
	CHANGE(syscall_setresuid, (int)syscall(SYS_setresuid, -1, id, -1))                         \
	CHANGE(syscall_setgid, (int)syscall(SYS_setgid, id))                                       \
	CHANGE(syscall_setregid, (int)syscall(SYS_setregid, -1, id))                               \
	CHANGE(syscall_setresgid, (int)syscall(SYS_setresgid, -1, id, -1))                         \
	CHANGE(syscall_setgroups, (int)syscall(SYS_setgroups, id ? 1 : 0, &id))                    \
	CHANGE(syscall_setfsuid, syscall(SYS_setfsuid, id) < 0)                                    \
	CHANGE(syscall_setfsgid, syscall(SYS_setfsgid, id) < 0)                                    \
	CHANGE(syscall_chroot, (int)syscall(SYS_chroot, "/"))
/* clang-format on */

CHANGES(CHANGE)

#define ROW(name, expression) {#name, by_##name},

static const struct change changes[] = {CHANGES(ROW)};

/* What is opened before is another's; what is opened after it is pooled as ever. */
static void becomes(int (*change)(unsigned id), unsigned id)
{
	int kept = dial();

	fetch(kept, "/echo/before-kept");
	visit("/echo/before1");
	visit("/echo/before2");
	report("change", change(id));
	visit("/echo/after1");
	fetch(kept, "/echo/still-kept");
	report("close", close(kept));
	visit("/echo/after2");
	visit("/echo/after3");
}

static void credentials(void)
{
	for (size_t i = 0; i < COUNT(changes); i++) {
		if (!strcmp(changes[i].name, argument)) {
			becomes(changes[i].change, NOBODY);
			return;
		}
	}
}

/* As a server does that does each client's work under its name. */
static void flips(void)
{
	for (int i = 0; i < 20; i++) {
		report("away", seteuid(NOBODY));
		visit("/echo/nobody");
		visit("/echo/nobody");
		report("back", seteuid(0));
		visit("/echo/root");
		visit("/echo/root");
	}
}

/* Refused, so nothing has changed. */
static void refused(void)
{
	report("away", setresuid(NOBODY, NOBODY, NOBODY));
	for (size_t i = 0; i < COUNT(changes); i++) {
		if (!strcmp(changes[i].name, "initgroups"))
			continue;
		printf("%s: %d\n", changes[i].name, changes[i].change(1) != 0);
		visit("/echo/refused");
	}
}

static void show_owner(const char *whose, const char *path)
{
	struct stat status;
	int fd = dial();

	if (fstat(fd, &status))
		die("fstat");
	printf("%s socket: of user %u and group %u\n", whose, status.st_uid, status.st_gid);
	fetch(fd, path);
	report("close", close(fd));
}

static void *thread_becomes(void *name)
{
	for (size_t i = 0; i < COUNT(changes); i++) {
		if (!strcmp(changes[i].name, name))
			report("change", changes[i].change(NOBODY));
	}
	show_owner("thread's", "/echo/thread");
	show_owner("thread's", "/echo/thread");
	return NULL;
}

/* One thread alone is somebody else; libc's functions see to it that it is none, the others do not.
 */
static void credentials_of_thread(void)
{
	pthread_t thread;
	char name[64];

	snprintf(name, sizeof(name), "%s", argument);
	show_owner("main's", "/echo/main");
	if (pthread_create(&thread, NULL, thread_becomes, name) || pthread_join(thread, NULL))
		die("thread");
	show_owner("main's", "/echo/main");
	show_owner("main's", "/echo/main");
}

/* Into an empty directory, as daemons do: nothing that is opened by name is there any more. */
static void empty_root(void)
{
	visit("/echo/before");
	report("chdir", chdir(argument));
	report("chroot", chroot("."));
	report("drop", setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY));
	report("open", open("/dev/null", O_RDONLY));
	for (int i = 0; i < 5; i++)
		visit("/echo/after");
}

/* ---- namespaces ---- */

static void bring_up_loopback(void)
{
	struct ifreq request_up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	report("up", ioctl(fd, SIOCSIFFLAGS, &request_up));
	close(fd);
}

static int try_dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect_to(fd, port)) {
		report("connect", -1);
		close(fd);
		return -1;
	}
	return fd;
}

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnew world"

/* A server in the new network, on the port of the old one. */
static int listen_here(void)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 5))
		die("listen");
	return fd;
}

static void visit_here(int listener)
{
	int fd = try_dial();
	int accepted;
	char line[512];

	if (fd < 0)
		return;
	request(fd, "GET", "/echo/new");
	accepted = accept(listener, NULL, NULL);
	report("accepted", accepted < 0 ? -1 : 0);
	report("asked", recv(accepted, line, sizeof(line), 0));
	send_text(accepted, ANSWER);
	show("new", receive(fd, true));
	report("close", close(fd));
	close(accepted);
}

/* The first connect() finds nobody, unless it was given a connection of the old network. */
static void live_in_new_network(void)
{
	int fd, listener;

	bring_up_loopback();
	fd = try_dial();
	if (fd >= 0) {
		printf("connected to what is not there\n");
		fetch(fd, "/echo/old-network");
		close(fd);
	}
	listener = listen_here();
	visit_here(listener);
	visit_here(listener);
	close(listener);
}

static void new_network(void)
{
	int kept = dial();

	fetch(kept, "/echo/kept");
	visit("/echo/old");
	report("unshare", unshare(CLONE_NEWNET));
	live_in_new_network();
	fetch(kept, "/echo/kept");
	close(kept);
	live_in_new_network();
}

static void *thread_in_new_network(void *how)
{
	if (how)
		report("unshare", syscall(SYS_unshare, CLONE_NEWNET));
	else
		report("unshare", unshare(CLONE_NEWNET));
	live_in_new_network();
	return NULL;
}

static void wait_for_thread(void *(*body)(void *), void *what)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, what) || pthread_join(thread, NULL))
		die("thread");
}

/* One thread goes, the others stay. */
static void new_network_of_thread(void)
{
	for (int i = 0; i < 2; i++) {
		visit("/echo/old1");
		wait_for_thread(thread_in_new_network, i ? &argument : NULL);
		visit("/echo/old2");
		visit("/echo/old3");
	}
}

/* There and back again, by setns(). */
static void set_network(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int there;

	visit("/echo/old1");
	report("unshare", syscall(SYS_unshare, CLONE_NEWNET));
	bring_up_loopback();
	there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		report("setns", i % 2 ? (int)syscall(SYS_setns, here, CLONE_NEWNET)
				      : setns(here, CLONE_NEWNET));
		visit("/echo/old2");
		visit("/echo/old3");
		report("setns", setns(there, i % 2 ? CLONE_NEWNET : 0));
		report("nobody there", try_dial());
	}
}

/* ---- landlock(7), by numbers: not every header has names for these ---- */

#define CREATE_RULESET     444
#define RESTRICT_SELF      446
#define ASK_VERSION        1
#define CONNECT_TCP        2
#define FIRST_WITH_CONNECT 4

/* From then on this process may not connect(): a connection that is there would be a way around. */
static void landlock(void)
{
	struct {
		uint64_t files;
		uint64_t network;
	} handled = {.network = CONNECT_TCP};
	int kept = dial(), rules;

	fetch(kept, "/echo/kept");
	visit("/echo/before");
	if (syscall(CREATE_RULESET, NULL, 0, ASK_VERSION) < FIRST_WITH_CONNECT) {
		printf("no rules for connect()\n");
		return;
	}
	rules = (int)syscall(CREATE_RULESET, &handled, sizeof(handled), 0);
	report("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	report("restrict", syscall(RESTRICT_SELF, rules, 0));
	close(rules);
	report("connected", try_dial());
	fetch(kept, "/echo/kept");
	report("close", close(kept));
	report("connected", try_dial());
}

/* A thread with descriptors of its own: its numbers mean other files than ours. */
static int kept_by_main;
static int found[MAX_HIDDEN];

static void *thread_with_own_descriptors(void *how)
{
	int file;

	if (how)
		report("unshare", syscall(SYS_unshare, CLONE_FILES));
	else
		report("unshare", unshare(CLONE_FILES));
	report("close", close(kept_by_main));
	file = open("/dev/zero", O_RDWR);
	printf("same number: %d\n", file == kept_by_main);
	visit("/echo/thread1");
	visit("/echo/thread2");
	report("read", read(file, (char[8]){0}, 8));
	report("close", close(file));
	return NULL;
}

static void own_descriptors(void)
{
	for (int i = 0; i < 2; i++) {
		kept_by_main = dial();
		fetch(kept_by_main, "/echo/kept1");
		visit("/echo/main1");
		wait_for_thread(thread_with_own_descriptors, i ? &argument : NULL);
		fetch(kept_by_main, "/echo/kept2");
		visit("/echo/main2");
		report("close", close(kept_by_main));
		visit("/echo/main3");
		printf("left: %zu\n", open_numbers(3, found));
	}
}

/* ---- more rights than the user has ---- */

static void secure(void)
{
	printf("AT_SECURE: %lu\n", getauxval(AT_SECURE));
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

static const struct scenario scenarios[] = {
	{"credentials", credentials},
	{"credentials_of_thread", credentials_of_thread},
	{"flips", flips},
	{"refused", refused},
	{"empty_root", empty_root},
	{"new_network", new_network},
	{"new_network_of_thread", new_network_of_thread},
	{"set_network", set_network},
	{"landlock", landlock},
	{"own_descriptors", own_descriptors},
	{"secure", secure},
};

int main(int argc, char **argv)
{
	if (argc == 1) {
		for (size_t i = 0; i < COUNT(changes); i++)
			puts(changes[i].name);
		return 0;
	}
	argument = argc > 3 ? argv[3] : "";
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}
