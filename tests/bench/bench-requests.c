/* Makes HTTP requests as the simplest of programs do, a connection for each, or, with --keep, as
 * the same program does when it has been rewritten to keep one for each of its threads. Blocking
 * sockets, one send() for a request, recv() until the response is there in full.
 *
 * Prints what came of it, a name and a number on each line:
 *
 *      requests        answered in full, those of --warm not counted
 *      seconds         from when all threads were ready until the last one ended
 *      microseconds    of a request, the median
 *      cpu             microseconds of processor time that this process took for a request
 *      connects        calls of connect()
 *      no-port         requests that failed because connect() said EADDRNOTAVAIL
 *      failed          requests that failed for another reason
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define SAMPLES 65536 /* of each thread; the latest */
#define BUFFER  65536

enum framing { FRAMED_BY_LENGTH, CHUNKED };
enum chunk { SIZE, SIZE_LINE_END, DATA, DATA_END, LAST_LINE };

struct client {
	pthread_t thread;
	int fd; /* -1 if there is none */
	long requests, failed, no_port, connects;
	float *microseconds; /* SAMPLES of them */
	char buffer[BUFFER];
};

/* Where in a chunked body (RFC 9112, 7.1) the reader is. Trailers are not understood. */
struct body {
	enum framing framing;
	enum chunk at;
	long left; /* bytes of the body, or of the chunk */
	int done;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static char request[512];
static int keep;
static long threads = 1, requests = -1, warm;
static double seconds = 1e9;
static pthread_barrier_t ready;

/* ---- the response ---- */

static int value_of(char digit)
{
	return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
}

static void chunk_byte(struct body *body, char byte)
{
	switch (body->at) {
	case SIZE:
		if (byte != '\r')
			body->left = body->left * 16 + value_of(byte);
		else
			body->at = SIZE_LINE_END;
		break;
	case SIZE_LINE_END:
		body->at = body->left ? DATA : LAST_LINE;
		break;
	case DATA_END:
		if (byte == '\n')
			body->at = SIZE;
		break;
	case LAST_LINE:
		body->done = byte == '\n';
		break;
	case DATA:
		break;
	}
}

static void feed(struct body *body, const char *data, long size)
{
	while (size > 0) {
		long step = 1;
		if (body->framing == FRAMED_BY_LENGTH || body->at == DATA) {
			step = size < body->left ? size : body->left;
			body->left -= step;
			if (body->framing == CHUNKED && body->left == 0)
				body->at = DATA_END;
		} else {
			chunk_byte(body, *data);
		}
		data += step;
		size -= step;
	}
	if (body->framing == FRAMED_BY_LENGTH)
		body->done = body->left == 0;
}

/* Returns the bytes up to the end of the head, 0 if it is not there yet. */
static long read_head(char *buffer, long size, struct body *body)
{
	buffer[size] = '\0';
	char *end = strstr(buffer, "\r\n\r\n");
	if (!end)
		return 0;
	end[2] = '\0';
	const char *length = strcasestr(buffer, "\r\nContent-Length: ");
	*body = (struct body){.framing = length ? FRAMED_BY_LENGTH : CHUNKED,
		.left = length ? atol(length + strlen("\r\nContent-Length: ")) : 0};
	if (strncmp(buffer, "HTTP/1.1 200 ", 13) != 0)
		errx(1, "not the response that was asked for: %.60s", buffer);
	if (!length && !strcasestr(buffer, "\r\nTransfer-Encoding: chunked"))
		errx(1, "a response without an end");
	return end + 4 - buffer;
}

/* Returns 0, or -1 if the connection ended before the response did. */
static int read_response(struct client *client)
{
	struct body body = {0};
	long have = 0, head = 0;

	while (!head) {
		ssize_t got = recv(client->fd, client->buffer + have, BUFFER - 1 - (size_t)have, 0);
		if (got <= 0)
			return -1;
		have += got;
		head = read_head(client->buffer, have, &body);
	}
	feed(&body, client->buffer + head, have - head);
	while (!body.done && !(body.framing == FRAMED_BY_LENGTH && body.left == 0)) {
		ssize_t got = recv(client->fd, client->buffer, BUFFER, 0);
		if (got <= 0)
			return -1;
		feed(&body, client->buffer, got);
	}
	return 0;
}

/* ---- the request ---- */

static int open_connection(struct client *client)
{
	client->fd = socket(AF_INET, SOCK_STREAM, 0);
	check(client->fd < 0, "socket");
	client->connects++;
	return connect(client->fd, (struct sockaddr *)&server, sizeof(server));
}

static void close_connection(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static int make_request(struct client *client)
{
	size_t size = strlen(request);
	int result = client->fd < 0 ? open_connection(client) : 0;

	if (result == 0)
		result = send(client->fd, request, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
	if (result == 0)
		result = read_response(client);
	int reason = errno;
	if (!keep || result < 0)
		close_connection(client);
	errno = reason;
	return result;
}

static void count(struct client *client, int result, double taken_ns)
{
	if (result == 0)
		client->microseconds[client->requests++ % SAMPLES] = (float)(taken_ns / 1000);
	else if (errno == EADDRNOTAVAIL)
		client->no_port++;
	else
		client->failed++;
}

static void *make_requests(void *argument)
{
	struct client *client = argument;

	for (long number = 0; number < warm; number++)
		check(make_request(client) < 0, "the first request");
	client->connects = 0;
	pthread_barrier_wait(&ready);
	double start = now_ns(), before = start, after;
	for (long number = 0; number != requests / threads; number++) {
		errno = 0;
		int result = make_request(client);
		after = now_ns();
		count(client, result, after - before);
		if (after - start >= seconds * 1e9)
			break;
		before = after;
	}
	close_connection(client);
	return NULL;
}

/* ---- all of them ---- */

static double processor_us(void)
{
	struct rusage usage;

	check(getrusage(RUSAGE_SELF, &usage) < 0, "getrusage");
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int compare(const void *one, const void *other)
{
	float left = *(const float *)one, right = *(const float *)other;

	return left < right ? -1 : left > right;
}

static double median_of(const struct client *clients)
{
	float *all = malloc(sizeof(float) * SAMPLES * (size_t)threads);
	size_t size = 0;

	check(!all, "malloc");
	for (const struct client *client = clients; client < clients + threads; client++) {
		size_t have = client->requests < SAMPLES ? (size_t)client->requests : SAMPLES;
		memcpy(all + size, client->microseconds, have * sizeof(float));
		size += have;
	}
	qsort(all, size, sizeof(float), compare);
	double median = size ? all[size / 2] : 0;
	free(all);
	return median;
}

static void print(const struct client *clients, double took_ns, double took_cpu)
{
	struct client sum = {0};

	for (const struct client *client = clients; client < clients + threads; client++) {
		sum.requests += client->requests;
		sum.connects += client->connects;
		sum.no_port += client->no_port;
		sum.failed += client->failed;
	}
	printf("requests %ld\nseconds %.6f\nmicroseconds %.2f\ncpu %.2f\n", sum.requests,
		took_ns / 1e9, median_of(clients),
		took_cpu / (double)(sum.requests ? sum.requests : 1));
	printf("connects %ld\nno-port %ld\nfailed %ld\n", sum.connects, sum.no_port, sum.failed);
}

static void run(void)
{
	struct client *clients = calloc((size_t)threads, sizeof(*clients));

	check(!clients, "calloc");
	check(pthread_barrier_init(&ready, NULL, (unsigned)threads + 1) != 0,
		"pthread_barrier_init");
	for (struct client *client = clients; client < clients + threads; client++) {
		client->fd = -1;
		client->microseconds = malloc(sizeof(float) * SAMPLES);
		check(!client->microseconds, "malloc");
		check(pthread_create(&client->thread, NULL, make_requests, client) != 0,
			"pthread_create");
	}
	pthread_barrier_wait(&ready);
	double start = now_ns(), cpu = processor_us();
	for (struct client *client = clients; client < clients + threads; client++)
		pthread_join(client->thread, NULL);
	print(clients, now_ns() - start, processor_us() - cpu);
}

static const char usage[] =
	"usage: bench-requests [--keep] [--threads N] [--requests N] [--seconds S] [--warm N]\n"
	"                      ADDRESS PORT PATH\n"
	"--warm: so many requests of each thread before it is measured\n";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"keep", no_argument, &keep, 1},
		{"threads", required_argument, NULL, 't'},
		{"requests", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},
		{"warm", required_argument, NULL, 'w'},
		{0},
	};

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case 't':
			threads = atol(optarg);
			break;
		case 'r':
			requests = atol(optarg);
			break;
		case 's':
			seconds = atof(optarg);
			break;
		case 'w':
			warm = atol(optarg);
			break;
		case 0:
			break;
		default:
			errx(2, "%s", usage);
		}
	}
	if (argc - optind != 3 || threads < 1 || !inet_aton(argv[optind], &server.sin_addr))
		errx(2, "%s", usage);
	if (requests < 0)
		requests = -threads; /* never reached */
	server.sin_port = htons((uint16_t)atoi(argv[optind + 1]));
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[optind + 2],
		argv[optind]);
	run();
	return 0;
}
