/* Threads at odds over the same numbers: one reads, one writes, one closes; one waits in a read
 * while another takes the number away; ranges of numbers are closed while others open some.
 *
 * A thread that is late gets EBADF and not somebody else's file: while any may be late, nobody
 * opens a number.
 */
#include "stress.h"
#include <pthread.h>
#include <sched.h>
#include <sys/uio.h>

#define CLOSERS    6
#define OPENERS    4
#define QUESTIONS  12
#define RUN        8      /* connections with numbers in a row */
#define MOST_DELAY 100000 /* turns of a loop: some hundred microseconds */

static char tag[32] = "-";
static unsigned first_word;
static int number;
static atomic_bool ended, stop;
static unsigned chance = 1;

static void wake(int signal_number)
{
	(void)signal_number;
}

static struct question question_of(unsigned word, size_t size)
{
	return (struct question){"parent", tag, 0, first_word + word, size};
}

/* Ends one that may be waiting in a read on a number that is no more: the signal ends that call,
 * and the next one finds the number closed. */
static void wake_until_ended(pthread_t thread)
{
	while (!ended) {
		pthread_kill(thread, SIGUSR1);
		sched_yield();
	}
	pthread_join(thread, NULL);
}

/* Numbers lower than those that are opened between these two are free after them: for a runtime
 * that opens files of its own accord, as the thread sanitizer does to report, and would take the
 * number that a thread is late for. */
static int room[4];

static void take_room(void)
{
	for (size_t i = 0; i < COUNT(room); i++)
		room[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static void leave_room(void)
{
	for (size_t i = 0; i < COUNT(room); i++)
		close(room[i]);
}

/* ---- one reading, one writing, one closing ---- */

static void *read_answers(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < QUESTIONS; i++) {
		const struct question question = question_of(i, 900);

		if (get_answer(number, &question) == CUT)
			break;
	}
	ended = true;
	return NULL;
}

static void *write_questions(void *unused)
{
	(void)unused;
	for (unsigned i = 0; i < QUESTIONS; i++) {
		const struct question question = question_of(i, 900);

		if (!put_question(number, &question)) {
			if (errno != EBADF)
				complain("question: %s", strerrorname_np(errno));
			break;
		}
	}
	return NULL;
}

/* Whoever connects meanwhile, on a number made before, gets no byte of theirs. */
static void one_each(void)
{
	struct descriptors before = count_descriptors();

	for (int round = 0; round < rounds; round++) {
		const struct question next_question = {
			"parent", "-", 0, (unsigned)(1000000 + round), 900};
		pthread_t reader, writer;
		int next;

		first_word = (unsigned)(round * QUESTIONS);
		ended = false;
		take_room();
		number = dial_place(0);
		next = new_socket();
		leave_room();
		pthread_create(&reader, NULL, read_answers, NULL);
		pthread_create(&writer, NULL, write_questions, NULL);
		dawdle(&chance, MOST_DELAY);
		if (close(number))
			complain("close: %s", strerrorname_np(errno));
		if (connect_to(next, port))
			complain("connect: %s", strerrorname_np(errno));
		must_ask(next, &next_question);
		pthread_join(writer, NULL);
		wake_until_ended(reader);
		must_ask(next, &next_question);
		close(next);
	}
	last_visits();
	finish(before);
}

/* ---- one waiting in a read ---- */

static ssize_t by_read(void *data, size_t size)
{
	return read(number, data, size);
}

static ssize_t by_readv(void *data, size_t size)
{
	const struct iovec part = {.iov_base = data, .iov_len = size};

	return readv(number, &part, 1);
}

static ssize_t by_recvmsg(void *data, size_t size)
{
	struct iovec part = {.iov_base = data, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	return recvmsg(number, &message, 0);
}

static ssize_t by_peek(void *data, size_t size)
{
	return recv(number, data, size, MSG_PEEK);
}

static ssize_t (*const ways[])(void *, size_t) = {by_read, by_readv, by_recvmsg, by_peek};

static _Atomic pid_t reader_id;
static ssize_t (*way)(void *, size_t);
static atomic_bool taken_away;

/* All that it may get is the end, of whatever was put on the number. */
static void *wait_for_bytes(void *unused)
{
	char data[64];
	ssize_t got;

	(void)unused;
	reader_id = gettid();
	do
		got = way(data, sizeof(data));
	while (got < 0 && errno == EINTR && !taken_away);
	if (got > 0)
		complain("a waiting reader got %zd bytes: %.*s", got, (int)got, data);
	ended = true;
	return NULL;
}

/* Until it sleeps in a system call on the number. */
static void await_reader(void)
{
	char path[64], state[64];

	while (!reader_id)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", reader_id);
	for (;;) {
		int file = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = read(file, state, sizeof(state) - 1);
		const char *argument;

		close(file);
		state[length > 0 ? length : 0] = '\0';
		argument = strchr(state, ' ');
		if (argument && strtol(argument, NULL, 16) == number)
			return;
		sched_yield();
	}
}

static void begin_reader(pthread_t *reader, int round, bool asleep)
{
	const struct question question = question_of(0, 100);

	/* Once it was asked for, the connection is nobody else's. */
	snprintf(tag, sizeof(tag), "round%d", round);
	ended = taken_away = false;
	reader_id = 0;
	way = ways[(unsigned)round % COUNT(ways)];
	number = dial_place(0);
	must_ask(number, &question);
	pthread_create(reader, NULL, wait_for_bytes, NULL);
	if (asleep)
		await_reader();
	else
		dawdle(&chance, MOST_DELAY);
}

/* Asleep, it keeps the connection, and nobody else may have it. */
static void closed_under(void)
{
	struct descriptors before = count_descriptors();

	for (int round = 0; round < rounds; round++) {
		const struct question next_question = {"parent", "-", 0, (unsigned)round, 100};
		int next = new_socket();
		pthread_t reader;

		begin_reader(&reader, round, true);
		if (close(number))
			complain("close: %s", strerrorname_np(errno));
		if (connect_to(next, port))
			complain("connect: %s", strerrorname_np(errno));
		must_ask(next, &next_question);
		taken_away = true;
		wake_until_ended(reader);
		must_ask(next, &next_question);
		close(next);
	}
	last_visits();
	finish(before);
}

/* As java does: what ends is put in the connection's place, then the reader is woken. */
static void replaced_under(void)
{
	struct descriptors before;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	shutdown(ends[0], SHUT_RDWR);
	before = count_descriptors();
	for (int round = 0; round < rounds; round++) {
		const struct question next_question = {"parent", "-", 0, (unsigned)round, 100};
		pthread_t reader;
		int next;

		begin_reader(&reader, round, round % 2);
		if (dup2(ends[0], number) != number)
			complain("dup2: %s", strerrorname_np(errno));
		next = dial_place(0);
		must_ask(next, &next_question);
		wake_until_ended(reader);
		must_ask(next, &next_question);
		close(next);
		close(number);
	}
	last_visits();
	finish(before);
}

/* ---- many closing ---- */

static pthread_barrier_t together;
static atomic_int closed;

static void *close_together(void *unused)
{
	(void)unused;
	for (;;) {
		pthread_barrier_wait(&together);
		if (stop)
			return NULL;
		if (close(number) == 0)
			closed++;
		else if (errno != EBADF)
			complain("close: %s", strerrorname_np(errno));
		pthread_barrier_wait(&together);
	}
}

/* While they close, another is connected, whose number was made before. */
static void many_closers(void)
{
	struct descriptors before = count_descriptors();
	pthread_t closers[CLOSERS];

	pthread_barrier_init(&together, NULL, CLOSERS + 1);
	for (int i = 0; i < CLOSERS; i++)
		pthread_create(&closers[i], NULL, close_together, NULL);
	for (int round = 0; round < rounds; round++) {
		const struct question question = {"parent", "-", 0, (unsigned)round, 100};
		int next;

		take_room();
		number = dial_place(0);
		must_ask(number, &question);
		next = new_socket();
		leave_room();
		pthread_barrier_wait(&together);
		if (connect_to(next, port))
			complain("connect: %s", strerrorname_np(errno));
		must_ask(next, &question);
		pthread_barrier_wait(&together);
		must_ask(next, &question);
		close(next);
	}
	stop = true;
	pthread_barrier_wait(&together);
	for (int i = 0; i < CLOSERS; i++)
		pthread_join(closers[i], NULL);
	printf("%d closed\n", closed);
	last_visits();
	finish(before);
}

/* ---- ranges, while others open ---- */

static atomic_int opening;

static void *open_and_close(void *index)
{
	unsigned random = (unsigned)(intptr_t)index;

	for (unsigned i = 0; i < (unsigned)rounds; i++) {
		const struct question question = {"parent", "-", (int)random_below(&random, 2),
			i * OPENERS + (unsigned)(intptr_t)index, random_below(&random, 300)};

		must_visit(&question);
	}
	opening--;
	return NULL;
}

static void among_openers(void (*close_some)(int round))
{
	struct descriptors before = count_descriptors();
	pthread_t openers[OPENERS];

	opening = OPENERS;
	for (intptr_t i = 0; i < OPENERS; i++)
		pthread_create(&openers[i], NULL, open_and_close, (void *)i);
	for (int round = 0; opening; round++)
		close_some(round);
	for (int i = 0; i < OPENERS; i++)
		pthread_join(openers[i], NULL);
	last_visits();
	finish(before);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Connections of one thread, in ranges that have no number of the others'. */
static void close_run(int round)
{
	int run[RUN];

	for (int i = 0; i < RUN; i++) {
		const struct question question = {
			"parent", "-", i % 2, (unsigned)(1000000 + round * RUN + i), 50};

		run[i] = dial_place(i % 2);
		must_ask(run[i], &question);
	}
	qsort(run, RUN, sizeof(run[0]), by_number);
	for (int first = 0, last; first < RUN; first = last + 1) {
		last = first;
		while (last + 1 < RUN && run[last + 1] == run[last] + 1)
			last++;
		if (close_range((unsigned)run[first], (unsigned)run[last], 0))
			complain("close_range: %s", strerrorname_np(errno));
	}
}

/* Numbers that nobody has opened, as far as this program knows. What comes of it, if one could be
 * closed, is worth more words than that it could. */
static void close_nothing(int round)
{
	static bool told;

	switch (round % 3) {
	case 0:
		if (close_range(FIRST_HIGH, ~0U, 0))
			complain("close_range: %s", strerrorname_np(errno));
		break;
	case 1:
		closefrom(FIRST_HIGH);
		break;
	case 2:
		for (int fd = FIRST_HIGH; fd < FIRST_HIGH + 300; fd++)
			if ((close(fd) != -1 || errno != EBADF) && !told) {
				complain("%d could be closed", fd);
				told = true;
			}
	}
}

static void ranges(void)
{
	among_openers(close_run);
}

static void ranges_of_nothing(void)
{
	among_openers(close_nothing);
}

static const struct scenario scenarios[] = {
	{"one_each", one_each},
	{"closed_under", closed_under},
	{"replaced_under", replaced_under},
	{"many_closers", many_closers},
	{"ranges", ranges},
	{"ranges_of_nothing", ranges_of_nothing},
};

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = wake};

	sigaction(SIGUSR1, &action, NULL);
	return run_stress(argc, argv, scenarios, COUNT(scenarios));
}
