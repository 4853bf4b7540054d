/* Threads that leave states on their connections to redis: PORT THREADS USES.
 *
 * Each use looks first whether its connection is as a new one is. What it asks then only it asks:
 * an answer to another's, or from another's database, shows.
 */
#include "client.h"
#include <pthread.h>
#include <stdatomic.h>

#define DATABASES   16
#define MAX_THREADS 15

static int n_threads, n_uses;
static atomic_int right, wrong;

/* words in a line, as redis takes them */
static size_t encode(char *to, size_t size, const char *words)
{
	int count = 1;
	char word[128];
	size_t length;

	for (const char *at = words; *at; at++)
		count += *at == ' ';
	length = (size_t)snprintf(to, size, "*%d\r\n", count);
	for (const char *at = words; count--; at += strlen(word) + 1) {
		snprintf(word, sizeof(word), "%s", at);
		word[strcspn(word, " ")] = '\0';
		length += (size_t)snprintf(
			to + length, size - length, "$%zu\r\n%s\r\n", strlen(word), word);
	}
	return length;
}

/* whether exactly this is answered, which is read to the byte, and nothing before it is wrong */
static bool ask(int fd, const char *words, const char *expected)
{
	char question[256], answer[256];
	size_t left = strlen(expected), got = 0;

	if (!send_all(fd, question, encode(question, sizeof(question), words)))
		return false;
	while (got < left) {
		ssize_t received = recv(fd, answer + got, left - got, 0);

		if (received <= 0)
			return false;
		got += (size_t)received;
		if (memcmp(answer, expected, got) != 0)
			return false;
	}
	return true;
}

static const char *bulk(char *to, size_t size, const char *text)
{
	snprintf(to, size, "$%zu\r\n%s\r\n", strlen(text), text);
	return to;
}

static bool is_as_new(int fd)
{
	return ask(fd, "GET who", "$1\r\n0\r\n") && ask(fd, "CLIENT GETNAME", "$-1\r\n");
}

static bool in_database(int fd, int thread, int turn)
{
	char words[32], name[16], expected[32];

	(void)turn;
	snprintf(name, sizeof(name), "%d", thread + 1);
	snprintf(words, sizeof(words), "SELECT %d", thread + 1);
	return ask(fd, words, "+OK\r\n") &&
	       ask(fd, "GET who", bulk(expected, sizeof(expected), name));
}

static bool by_name(int fd, int thread, int turn)
{
	char words[64], name[32], expected[64];

	snprintf(name, sizeof(name), "thread-%d-use-%d", thread, turn);
	snprintf(words, sizeof(words), "CLIENT SETNAME %s", name);
	return ask(fd, words, "+OK\r\n") &&
	       ask(fd, "CLIENT GETNAME", bulk(expected, sizeof(expected), name));
}

/* every other one is left open, and must not count */
static bool in_transaction(int fd, int thread, int turn)
{
	char words[32], expected[32];

	snprintf(words, sizeof(words), "INCR counter-%d", thread);
	snprintf(expected, sizeof(expected), "*1\r\n:%d\r\n", turn / 8 + 1);
	if (!ask(fd, "MULTI", "+OK\r\n") || !ask(fd, words, "+QUEUED\r\n"))
		return false;
	return turn % 8 >= 4 || ask(fd, "EXEC", expected);
}

static bool echoed(int fd, int thread, int turn)
{
	char words[64], name[32], expected[64];

	snprintf(name, sizeof(name), "%d-says-%d", thread, turn);
	snprintf(words, sizeof(words), "ECHO %s", name);
	return ask(fd, words, bulk(expected, sizeof(expected), name));
}

static bool (*const kinds[])(int fd, int thread, int turn) = {
	in_database,
	by_name,
	in_transaction,
	echoed,
};

static void *use_all(void *number)
{
	int thread = (int)(intptr_t)number;

	for (int turn = 0; turn < n_uses; turn++) {
		int fd = dial();

		if (is_as_new(fd) && kinds[turn % COUNT(kinds)](fd, thread, turn))
			right++;
		else
			wrong++;
		close(fd);
	}
	return NULL;
}

static void prepare(void)
{
	char words[32];
	int fd = dial();

	for (int i = 0; i < DATABASES; i++) {
		snprintf(words, sizeof(words), "SELECT %d", i);
		if (!ask(fd, words, "+OK\r\n"))
			die("SELECT");
		snprintf(words, sizeof(words), "SET who %d", i);
		if (!ask(fd, words, "+OK\r\n"))
			die("SET");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];

	if (argc != 4)
		return 3;
	port = atoi(argv[1]);
	n_threads = atoi(argv[2]) < MAX_THREADS ? atoi(argv[2]) : MAX_THREADS;
	n_uses = atoi(argv[3]);
	prepare();
	for (int i = 0; i < n_threads; i++) {
		if (pthread_create(&threads[i], NULL, use_all, (void *)(intptr_t)i))
			die("pthread_create");
	}
	for (int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	printf("%d right, %d wrong\n", right, wrong);
	return 0;
}
