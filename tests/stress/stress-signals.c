/* Handlers that use connections, at 1 kHz, wherever the program happens to be: in every thread on
 * connections of their own, and on the one that their thread is using at that moment.
 */
#include "stress.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>
#include <time.h>

#define THREADS   4
#define PERIOD_NS 1000000
#define OFTEN_US  250 /* where there is one thread only */

/* glibc 2.36 has no name for it: timer_create(2) */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static atomic_int handled;
static int dead_end; /* a socket whose peer has gone */

/* ---- timers ---- */

static void on_signal(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigaction(number, &action, NULL);
}

/* sends SIGUSR1 to this thread */
static timer_t start_own_timer(void)
{
	const struct itimerspec often = {{0, PERIOD_NS}, {0, PERIOD_NS}};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	timer_t timer;

	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &often, NULL))
		die("timer");
	return timer;
}

/* sends SIGALRM to any thread that does not block it */
static void set_common_timer(long period_us)
{
	setitimer(ITIMER_REAL, &(struct itimerval){{0, period_us}, {0, period_us}}, NULL);
}

static void block_signals(int how)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGALRM);
	pthread_sigmask(how, &signals, NULL);
}

/* ---- a handler's own connections ---- */

/* Each handler of each thread has one, and takes it one step further whenever it runs. */
struct life {
	int fd;
	unsigned step, turn;
};

static _Thread_local struct life lives[2];
static _Thread_local unsigned self;

static void take_step(struct life *life)
{
	const struct question question = {
		"parent", "-", (int)(life->turn % 2), 1000000 + life->turn * 16 + self, 100};

	switch (life->step++) {
	case 0:
		life->fd = new_socket();
		break;
	case 1:
		if (connect_to(life->fd, port_of(question.place)))
			complain("a handler's connect: %s", strerrorname_np(errno));
		break;
	case 2:
		if (recv(life->fd, (char[8]){0}, 8, MSG_DONTWAIT) != -1 || errno != EAGAIN)
			complain("a handler received what nobody had asked for");
		if (!put_question(life->fd, &question))
			complain("a handler's question: %s", strerrorname_np(errno));
		break;
	case 3:
		if (get_answer(life->fd, &question) == CUT && !disturbed)
			complain("a handler's answer: %s", strerrorname_np(errno));
		break;
	default:
		if (close(life->fd))
			complain("a handler's close: %s", strerrorname_np(errno));
		*life = (struct life){.turn = life->turn + 1};
	}
}

static void end_lives(void)
{
	for (size_t i = 0; i < COUNT(lives); i++)
		if (lives[i].step)
			close(lives[i].fd);
}

static void live_in_handler(int number)
{
	int error = errno;

	take_step(&lives[number == SIGALRM]);
	handled++;
	errno = error;
}

/* ---- connections of their own ---- */

static void visit_once(unsigned turn, unsigned *random)
{
	struct question question = {"parent", "-", 0, turn * THREADS + self, 0};

	question.place = (int)random_below(random, 2);
	question.size = random_below(random, 400);
	must_visit(&question);
}

static void *visit_among_handlers(void *index)
{
	timer_t timer;

	self = (unsigned)(intptr_t)index;
	unsigned random = self;
	timer = start_own_timer();
	block_signals(SIG_UNBLOCK);
	for (unsigned turn = 0; turn < (unsigned)rounds || handled < rounds; turn++)
		visit_once(turn, &random);
	block_signals(SIG_BLOCK);
	timer_delete(timer);
	end_lives();
	return NULL;
}

static void in_threads(void *(*body)(void *))
{
	struct descriptors before;
	pthread_t threads[THREADS];
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	dead_end = ends[0];
	close(ends[1]);
	before = count_descriptors();
	/* The main thread is the one that the kernel would choose. */
	block_signals(SIG_BLOCK);
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, body, (void *)i);
	set_common_timer(PERIOD_NS / 1000);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	set_common_timer(0);
	last_visits();
	finish(before);
}

static void own(void)
{
	on_signal(SIGUSR1, live_in_handler, SA_RESTART);
	on_signal(SIGALRM, live_in_handler, SA_RESTART);
	in_threads(visit_among_handlers);
}

/* ---- the connection that the interrupted code uses ---- */

enum phase {
	IDLE,    /* hands off */
	OPENING, /* nothing is there yet */
	CONNECTING,
	ASKING,
	CLOSING,
};

static _Thread_local volatile int current = -1;
static _Thread_local volatile sig_atomic_t phase = IDLE;
static _Thread_local struct question asked;
static _Thread_local sigjmp_buf back;
static _Thread_local unsigned chance;

static void connect_current(void)
{
	if (phase == CONNECTING && connect_to(current, port_of(asked.place)) && errno != EISCONN &&
		errno != EALREADY && errno != EINTR)
		complain("a handler's connect: %s", strerrorname_np(errno));
}

/* What comes next is a part of the answer, though it cannot be known which. */
static void receive_current(int flags)
{
	struct answer answer = answer_to(&asked);
	char data[64];
	ssize_t got = recv(current, data, sizeof(data), flags | MSG_DONTWAIT);

	if (got > 0 && !(flags & MSG_PEEK))
		disturbed = 1;
	for (size_t at = 0; got > 0 && !is_part(&answer, at, data, (size_t)got); at++) {
		if (at == answer.total) {
			complain("a handler instead of %s: %.*s", answer.text, (int)got, data);
			return;
		}
	}
}

static void replace_current(void)
{
	disturbed = 1;
	if (dup2(dead_end, current) != current)
		complain("a handler's dup2: %s", strerrorname_np(errno));
}

/* The thread sanitizer keeps a signal for a moment that suits it, where the thread may have blocked
 * that signal: nothing can be kept whole against a jump from there. */
static void jump(void)
{
#ifndef __SANITIZE_THREAD__
	disturbed = 1;
	siglongjmp(back, 1);
#endif
}

static void meddle(int number)
{
	int error = errno;

	(void)number;
	handled++;
	if (phase == IDLE || disturbed || random_below(&chance, 4) == 0) {
		take_step(&lives[0]);
	} else {
		switch (random_below(&chance, 5)) {
		case 0:
			connect_current();
			break;
		case 1:
			receive_current(MSG_PEEK);
			break;
		case 2:
			receive_current(0);
			break;
		case 3:
			replace_current();
			break;
		case 4:
			jump();
		}
	}
	errno = error;
}

static void connect_current_to(int place)
{
	while (connect_to(current, port_of(place))) {
		if (errno == EISCONN)
			return;
		if (errno != EINTR) {
			if (!disturbed)
				complain("connect: %s", strerrorname_np(errno));
			return;
		}
	}
}

/* Until the end, or until a handler has meddled. */
static void exchange_amid_meddling(void)
{
	phase = CONNECTING;
	connect_current_to(asked.place);
	phase = ASKING;
	if (!disturbed && ask(current, &asked) == CUT && !disturbed)
		complain("no answer, though nobody meddled: %s", strerrorname_np(errno));
}

/* What is not on the stack, a jump leaves as it is. */
static _Thread_local unsigned turn;

static void begin_turn(void)
{
	asked = (struct question){
		"parent", "-", (int)(turn / 3 % 2), turn * THREADS + self, turn * 7 % 400};
	turn++;
	disturbed = 0;
}

static void *visit_among_meddlers(void *index)
{
	timer_t timer;

	self = chance = (unsigned)(intptr_t)index;
	timer = start_own_timer();
	while (turn < (unsigned)rounds || handled < rounds) {
		begin_turn();
		current = new_socket();
		block_signals(SIG_UNBLOCK);
		if (!sigsetjmp(back, 1))
			exchange_amid_meddling();
		phase = IDLE;
		if (close(current))
			complain("close: %s", strerrorname_np(errno));
	}
	block_signals(SIG_BLOCK);
	timer_delete(timer);
	end_lives();
	return NULL;
}

/* Without SA_RESTART: who waits for bytes that a handler took must learn of it. */
static void shared(void)
{
	on_signal(SIGUSR1, meddle, 0);
	on_signal(SIGALRM, SIG_IGN, 0);
	in_threads(visit_among_meddlers);
}

/* ---- the number that the interrupted code uses ---- */

/* In one thread only: in several, another might open something on that number at once. */

static void close_current(void)
{
	disturbed = 1;
	close(current);
}

static void open_anew(void)
{
	int fd;

	close_current();
	fd = new_socket();
	if (fd != current)
		complain("descriptor %d, and not %d", fd, current);
	if (connect_to(fd, port_of(!asked.place)))
		complain("a handler's connect: %s", strerrorname_np(errno));
}

static void take_number(int number)
{
	int error = errno;

	(void)number;
	handled++;
	switch (phase == IDLE ? -1 : (int)random_below(&chance, 3)) {
	case 0:
		if (phase != OPENING)
			close_current();
		break;
	case 1:
		if (phase == CONNECTING || phase == ASKING)
			open_anew();
		break;
	case 2:
		jump();
	}
	errno = error;
}

/* The lowest number that is free, and so the next one opened. */
static int next_number(void)
{
	int fd = new_socket();

	close(fd);
	return fd;
}

static void exchange_on_next_number(void)
{
	phase = OPENING;
	if (new_socket() != current)
		complain("not %d was opened", current);
	exchange_amid_meddling();
}

/* The number is known before it is opened, and closed at the end, whatever has been made of it: it
 * may not be open yet, or not any more. */
static void closed(void)
{
	struct descriptors before = count_descriptors();

	current = next_number();
	on_signal(SIGALRM, take_number, 0);
	set_common_timer(OFTEN_US);
	while (turn < (unsigned)rounds || handled < rounds) {
		begin_turn();
		if (!sigsetjmp(back, 1))
			exchange_on_next_number();
		phase = CLOSING;
		if (!sigsetjmp(back, 1) || disturbed)
			close(current);
		phase = IDLE;
	}
	set_common_timer(0);
	on_signal(SIGALRM, SIG_IGN, 0);
	disturbed = 0;
	last_visits();
	finish(before);
}

static const struct scenario scenarios[] = {
	{"own", own},
	{"shared", shared},
	{"closed", closed},
};

int main(int argc, char **argv)
{
	return run_stress(argc, argv, scenarios, COUNT(scenarios));
}
