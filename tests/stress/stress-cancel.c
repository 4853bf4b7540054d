/* Threads cancelled in connect(), read(), write() and close(), whose cleanup handlers close. What
 * they leave behind is no descriptor and no lock: at the end the others go on as before.
 */
#include "stress.h"
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

#define VICTIMS    6
#define MOST_DELAY 3000  /* turns of a loop: some microseconds */
#define MANY_TURNS 40000 /* and for those that are in a call that does not end */

/* A listener that takes up connections, but reads nothing; and one that takes up no more. */
static int deaf_listener, deaf_port, full_port;

struct victim {
	pthread_t thread;
	unsigned random;
	atomic_bool begun;
	int fd;       /* -1: none */
	bool closing; /* close() was called, and may have closed it */
	bool sweeps;  /* its cleanup handler closes a number even if close() may have done so */
};

static int listen_in_vain(int backlog, int *its_port)
{
	struct sockaddr_in address = loopback(0);
	socklen_t size = sizeof(address);
	int fd = new_socket();

	if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, backlog) ||
		getsockname(fd, (struct sockaddr *)&address, &size))
		die("listen");
	*its_port = ntohs(address.sin_port);
	return fd;
}

/* listen(2): one more than backlog; who comes after that waits. */
static void make_listeners(void)
{
	int fd;

	deaf_listener = listen_in_vain(4096, &deaf_port);
	fcntl(deaf_listener, F_SETFL, O_NONBLOCK);
	setsockopt(deaf_listener, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
	listen_in_vain(0, &full_port);
	fd = new_socket();
	if (connect_to(fd, full_port))
		die("connect");
}

/* What was never read goes with the connections. */
static void reset_the_unheard(void)
{
	int fd;

	while ((fd = accept(deaf_listener, NULL, NULL)) >= 0)
		close(fd);
}

/* ---- what they are in the middle of ---- */

static void open_one(struct victim *victim)
{
	/* no cancellation point, so it cannot be lost */
	victim->fd = new_socket();
}

/* As of glibc 2.36 a thread may be cancelled when the number is closed already. */
static void close_one(struct victim *victim)
{
	victim->closing = true;
	close(victim->fd);
	victim->fd = -1;
	victim->closing = false;
}

static void exchange(struct victim *victim)
{
	struct question question = {"parent", "-", 0, 0, 0};

	question.place = (int)random_below(&victim->random, 2);
	question.word = random_below(&victim->random, 1 << 24);
	question.size = random_below(&victim->random, 400);
	open_one(victim);
	if (connect_to(victim->fd, port_of(question.place)))
		complain("connect: %s", strerrorname_np(errno));
	else
		must_ask(victim->fd, &question);
	close_one(victim);
}

static void read_for_ever(struct victim *victim)
{
	open_one(victim);
	if (connect_to(victim->fd, port) ||
		!send_text(victim->fd, "GET /parent/-/hang/0 HTTP/1.1\r\n"
				       "Host: stress\r\n\r\n"))
		complain("question: %s", strerrorname_np(errno));
	while (read(victim->fd, (char[64]){0}, 64) < 0 && errno == EINTR)
		;
	complain("an answer to what was not answered");
}

static void write_for_ever(struct victim *victim)
{
	static const char text[1024] = "GET / HTTP/1.1\r\n";

	open_one(victim);
	setsockopt(victim->fd, SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
	if (connect_to(victim->fd, deaf_port))
		complain("connect: %s", strerrorname_np(errno));
	while (write(victim->fd, text, sizeof(text)) > 0)
		;
	complain("write: %s", strerrorname_np(errno));
}

static void connect_for_ever(struct victim *victim)
{
	open_one(victim);
	connect_to(victim->fd, full_port);
	complain("connected to a listener that takes up nobody");
}

static void exchange_for_ever(struct victim *victim)
{
	for (;;)
		exchange(victim);
}

/* Seldom connected, as each connection would leave a port in TIME_WAIT. */
static void close_for_ever(struct victim *victim)
{
	for (;;) {
		open_one(victim);
		if (random_below(&victim->random, 16) == 0)
			connect_to(victim->fd, control_port);
		close_one(victim);
	}
}

static void (*const deeds[])(struct victim *) = {
	exchange_for_ever,
	close_for_ever,
	read_for_ever,
	write_for_ever,
	connect_for_ever,
	exchange_for_ever,
};

/* ---- cancelling them ---- */

static void clean_up(void *argument)
{
	struct victim *victim = argument;

	if (victim->fd >= 0 && (victim->sweeps || !victim->closing)) {
		close(victim->fd);
		victim->fd = -1;
	}
}

static void *be_cancelled(void *argument)
{
	struct victim *victim = argument;

	pthread_cleanup_push(clean_up, victim);
	victim->begun = true;
	deeds[random_below(&victim->random, COUNT(deeds))](victim);
	pthread_cleanup_pop(1);
	return NULL;
}

static void start(struct victim *victim, unsigned random, bool sweeps)
{
	victim->random = random;
	victim->fd = -1;
	victim->begun = false;
	victim->closing = false;
	victim->sweeps = sweeps;
	random_below(&victim->random, 2);
	if (pthread_create(&victim->thread, NULL, be_cancelled, victim))
		die("pthread_create");
}

static void cancel(struct victim *victim, unsigned *random)
{
	while (!victim->begun)
		sched_yield();
	dawdle(random, random_below(random, 4) ? MOST_DELAY : MANY_TURNS);
	pthread_cancel(victim->thread);
}

static void join(struct victim *victim)
{
	void *result;

	if (pthread_join(victim->thread, &result) || result != PTHREAD_CANCELED)
		complain("a thread ended by itself");
}

/* One at a time: nobody else opens a number that may be closed twice. */
static void alone(void)
{
	struct descriptors before;
	struct victim victim;
	unsigned random = 5;

	make_listeners();
	before = count_descriptors();
	for (int i = 0; i < rounds; i++) {
		start(&victim, (unsigned)i, true);
		cancel(&victim, &random);
		join(&victim);
		reset_the_unheard();
	}
	last_visits();
	finish(before);
}

/* Many at once: a number that may be closed twice is left to the one who waits for them all. */
static void storm(void)
{
	struct descriptors before;
	struct victim victims[VICTIMS];
	unsigned random = 6;

	make_listeners();
	before = count_descriptors();
	for (int i = 0; i < rounds; i += VICTIMS) {
		for (int j = 0; j < VICTIMS; j++)
			start(&victims[j], (unsigned)(i + j), false);
		for (int j = 0; j < VICTIMS; j++)
			cancel(&victims[j], &random);
		for (int j = 0; j < VICTIMS; j++)
			join(&victims[j]);
		for (int j = 0; j < VICTIMS; j++)
			if (victims[j].fd >= 0)
				close(victims[j].fd);
		reset_the_unheard();
	}
	last_visits();
	finish(before);
}

static const struct scenario scenarios[] = {
	{"alone", alone},
	{"storm", storm},
};

int main(int argc, char **argv)
{
	return run_stress(argc, argv, scenarios, COUNT(scenarios));
}
