/* What the stress programs share: questions whose answers nobody else can have, and descriptors.
 *
 *      PROGRAM SCENARIO PORT PORT ROUNDS
 *
 * The ports are those of one echo-server. None of this knows of any pool. Standard output has only
 * what is the same in every run; standard error has what went wrong, and how many descriptors more
 * with high numbers there are at the end, which these programs never open.
 */
#ifndef STRESS_H
#define STRESS_H

#include "../preload/programs/client.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>

#define FIRST_HIGH 800
#define LAST_PLACE 2
#define MOST_TEXT  160
#define MOST_HEAD  64
#define MOST_TOLD  20

static int last_port;

/* process and tag say whose the connection is: see echo-server.c */
struct question {
	const char *process, *tag;
	int place; /* which of the ports */
	unsigned word;
	size_t size; /* of the answer's body */
};

/* every byte of the answer, to be compared as they come */
struct answer {
	char head[MOST_HEAD], text[MOST_TEXT];
	size_t head_length, period, total;
};

enum outcome {
	RIGHT,
	CUT, /* an error, in errno, or the end of the file */
	WRONG,
};

static int rounds __attribute__((unused));
static atomic_int wrong;

/* Set by a signal handler that meddles with what its thread is doing: an answer is not to be waited
 * for any more. */
static _Thread_local volatile sig_atomic_t disturbed __attribute__((unused));

/* The first few are told. For signal handlers and children, too. */
__attribute__((format(printf, 1, 2))) static inline void complain(const char *format, ...)
{
	char text[512];
	va_list arguments;

	if (++wrong > MOST_TOLD)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "%s\n", text);
}

static inline unsigned random_below(unsigned *state, unsigned limit)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % limit;
}

/* a different moment each time */
static inline void dawdle(unsigned *state, unsigned turns)
{
	for (volatile unsigned i = random_below(state, turns); i; i--)
		;
}

/* ---- a question and its answer ---- */

static inline int port_of(int place)
{
	return place == LAST_PLACE ? last_port : place ? control_port : port;
}

static inline int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static inline int dial_place(int place)
{
	int fd = new_socket();

	if (connect_to(fd, port_of(place)))
		die("connect");
	return fd;
}

static inline bool put_question(int fd, const struct question *question)
{
	char text[MOST_TEXT];
	int length =
		snprintf(text, sizeof(text), "GET /%s/%s/%u/%zu HTTP/1.1\r\nHost: stress\r\n\r\n",
			question->process, question->tag, question->word, question->size);

	return send_all(fd, text, (size_t)length);
}

static inline struct answer answer_to(const struct question *question)
{
	struct answer answer;

	answer.head_length = (size_t)snprintf(answer.head, sizeof(answer.head),
		"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", question->size);
	answer.period = (size_t)snprintf(answer.text, sizeof(answer.text), "%d /%s/%s/%u/%zu ",
		question->place, question->process, question->tag, question->word, question->size);
	answer.total = answer.head_length + question->size;
	return answer;
}

/* Are these bytes those that the answer has at this place? */
static inline bool is_part(const struct answer *answer, size_t at, const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++, at++) {
		char expected = at < answer->head_length
					? answer->head[at]
					: answer->text[(at - answer->head_length) % answer->period];
		if (at >= answer->total || data[i] != expected)
			return false;
	}
	return true;
}

/* Exactly the answer, not a byte more. */
static inline enum outcome get_answer(int fd, const struct question *question)
{
	struct answer answer = answer_to(question);
	char data[4096];

	for (size_t at = 0; at < answer.total;) {
		size_t left = answer.total - at;
		ssize_t got = recv(fd, data, left < sizeof(data) ? left : sizeof(data), 0);

		if (disturbed)
			return CUT;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return CUT;
		if (!is_part(&answer, at, data, (size_t)got)) {
			complain("instead of %s: %.*s", answer.text, (int)got, data);
			return WRONG;
		}
		at += (size_t)got;
	}
	return RIGHT;
}

static inline enum outcome ask(int fd, const struct question *question)
{
	return put_question(fd, question) ? get_answer(fd, question) : CUT;
}

/* where nothing may come between */
static inline void must_ask(int fd, const struct question *question)
{
	if (ask(fd, question) == CUT)
		complain("no answer to /%s/%s/%u: %s", question->process, question->tag,
			question->word, strerrorname_np(errno));
}

/* connect, one exchange, close */
static inline void must_visit(const struct question *question)
{
	int fd = dial_place(question->place);

	must_ask(fd, question);
	if (close(fd))
		complain("close: %s", strerrorname_np(errno));
}

/* What is parked after all this is good for another use: the server lists these connections. They
 * are to a port of their own, as what went out of order before may have made the library wary of
 * the others. */
static inline void last_visits(void)
{
	for (unsigned i = 0; i < 3; i++)
		must_visit(&(struct question){"parent", "last", LAST_PLACE, i, 10});
}

/* ---- descriptors ---- */

struct descriptors {
	int low, high;
};

/* as the kernel says, since the number itself may be kept from this program */
static inline void check_high(int fd)
{
	char path[64];
	unsigned flags = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "r");
	if (!file || fscanf(file, "pos: %*d flags: %o", &flags) != 1)
		complain("%s cannot be read", path);
	else if (!(flags & O_CLOEXEC))
		complain("descriptor %d would be inherited", fd);
	if (file)
		fclose(file);
}

static inline struct descriptors count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct descriptors count = {0, 0};
	struct dirent *entry;

	if (!directory)
		die("/proc/self/fd");
	while ((entry = readdir(directory))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(directory))
			continue;
		if (fd < FIRST_HIGH) {
			count.low++;
			continue;
		}
		count.high++;
		check_high(fd);
	}
	closedir(directory);
	return count;
}

/* A stress program's last words, and its exit status. */
static inline void finish(struct descriptors before)
{
	struct descriptors after = count_descriptors();

	if (after.low != before.low)
		complain("%d descriptors, %d at the beginning", after.low, before.low);
	fprintf(stderr, "high descriptors: %d\n", after.high - before.high);
	printf("%d wrong\n", wrong);
	exit(wrong ? 1 : 0);
}

/* a program in the directory of this one */
static inline void find_beside(const char *name, char path[4096])
{
	ssize_t length = readlink("/proc/self/exe", path, 4000);

	if (length < 0)
		die("readlink");
	path[length] = '\0';
	strcpy(strrchr(path, '/') + 1, name);
}

static inline int run_stress(
	int argc, char **argv, const struct scenario *scenarios, size_t n_scenarios)
{
	if (argc != 6)
		return 3;
	last_port = atoi(argv[4]);
	rounds = atoi(argv[5]);
	return run_scenario(argc, argv, scenarios, n_scenarios);
}

#endif
