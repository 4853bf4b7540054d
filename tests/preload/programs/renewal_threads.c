/* A reused connection dies while other threads, signal handlers and children are about: SCENARIO
 * PORT CONTROL-PORT TARGET [HOW [OTHER-PORT]].
 */
#include "onlooker.h"
#include "renewal.h"
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/wait.h>

static atomic_int fd = -1;
static int other_port;

/* ---- threads that wait for each other ---- */

struct thread {
	pthread_t id;
	_Atomic pid_t number;
	void (*body)(void);
};

static void *run_body(void *thread)
{
	struct thread *self = thread;

	self->number = gettid();
	self->body();
	return NULL;
}

static void start(struct thread *thread, void (*body)(void))
{
	thread->number = 0;
	thread->body = body;
	if (pthread_create(&thread->id, NULL, run_body, thread))
		die("pthread_create");
}

static void join(struct thread *thread)
{
	pthread_join(thread->id, NULL);
}

static bool is_asleep(pid_t number)
{
	char name[64], text[256] = "";
	FILE *file;

	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", number);
	file = fopen(name, "r");
	if (!file)
		return false;
	char *line = fgets(text, sizeof(text), file);
	fclose(file);
	return line && strrchr(text, ')') && strrchr(text, ')')[2] == 'S';
}

/* Until that thread waits for something. */
static void await_sleep_of(const _Atomic pid_t *number)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (*number && is_asleep(*number))
			return;
		poll(NULL, 0, 1);
	}
	printf("it does not wait\n");
}

/* Its body does nothing before that which would make it wait. */
static void await_sleep(const struct thread *thread)
{
	await_sleep_of(&thread->number);
}

/* The main thread is in the call that it is about. */
static void await_main(void)
{
	_Atomic pid_t main_number = getpid();

	await_sleep_of(&main_number);
}

/* ---- the main thread reads, another one does something meanwhile ---- */

static void nothing(void)
{
}

static void (*deed)(void) = nothing;

static void meanwhile_body(void)
{
	tell("/under-way");
	await_main();
	deed();
	tell("/let-go");
}

/* The socket, with the request sent; the deed is under way in another thread. */
static void begin(struct thread *meanwhile, void (*what)(void))
{
	prime();
	fd = dial();
	request(fd, "GET", target);
	deed = what;
	start(meanwhile, meanwhile_body);
}

static void read_meanwhile(void (*what)(void))
{
	struct thread meanwhile;

	begin(&meanwhile, what);
	show_answer(fd);
	join(&meanwhile);
}

static void blocking(void)
{
	read_meanwhile(nothing);
	close(fd);
}

static void nonblocking(void)
{
	struct thread meanwhile;

	begin(&meanwhile, nothing);
	set_blocking(fd, false);
	show_answer(fd);
	join(&meanwhile);
	close(fd);
}

/* A limit to send is none to receive. */
static void send_limit(void)
{
	const struct timeval limit = {.tv_usec = LIMIT_MS * 1000};
	struct thread meanwhile;

	begin(&meanwhile, nothing);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	show_answer(fd);
	join(&meanwhile);
	close(fd);
}

static int flags_were, option_was;

static void change_flags(void)
{
	const int on = 1;

	flags_were = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	option_was = setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void flags(void)
{
	int on = 0;
	socklen_t length = sizeof(on);

	read_meanwhile(change_flags);
	report("fcntl", flags_were);
	report("setsockopt", option_was);
	getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &length);
	printf("nonblocking: %d, keepalive: %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK), on);
	close(fd);
}

static void use_the_same(void)
{
	char byte;

	report("recv meanwhile", recv(fd, &byte, 1, MSG_DONTWAIT));
	report("peek meanwhile", recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK));
	report("poll meanwhile", await_events(fd, POLLIN, 0));
}

static void other_calls(void)
{
	read_meanwhile(use_the_same);
	close(fd);
}

/* ---- numbers ---- */

#define FIRST 3
#define LAST  1200 /* a few behind those that libraries like to have */

static int pair[2] = {-1, -1}, mine[LAST], n_mine;

/* Those that the program knows to be open. */
static bool is_own(int number)
{
	return number == fd || number == pair[0] || number == pair[1];
}

static void name_numbers(void)
{
	int count = 0;

	for (int number = FIRST; number < LAST; number++)
		count += !is_own(number) && fcntl(number, F_GETFD) >= 0;
	printf("others that are open: %d\n", count);
}

/* As daemons do. */
static void close_numbers(void)
{
	int count = 0;

	for (int number = FIRST; number < LAST; number++)
		count += !is_own(number) && close(number) == 0;
	printf("closed: %d\n", count);
}

static void close_ranges(void)
{
	int low = fd < pair[0] ? fd : pair[0];

	/* these are the three lowest */
	printf("closed: %d\n", close_range((unsigned)low + 3, ~0U, 0));
}

/* One end of a pair, at every number that is not another's. */
static void dup_over_numbers(void)
{
	for (int number = FIRST; number < LAST; number++) {
		if (!is_own(number) && dup2(pair[0], number) == number)
			mine[n_mine++] = number;
	}
}

static void check_numbers(void)
{
	char bytes[100];
	int open = 0;

	for (int i = 0; i < n_mine; i++)
		open += fcntl(mine[i], F_GETFD) >= 0;
	printf("still open: %d of %d\n", open, n_mine);
	report("came through the pair", recv(pair[1], bytes, sizeof(bytes), MSG_DONTWAIT));
	for (int i = 0; i < n_mine; i++)
		close(mine[i]);
}

static const struct {
	const char *name;
	void (*deed)(void);
} number_deeds[] = {
	{"named", name_numbers},
	{"closed", close_numbers},
	{"close_range", close_ranges},
	{"dup2", dup_over_numbers},
};

static void numbers(void)
{
	const struct rlimit limit = {4096, 4096};

	setrlimit(RLIMIT_NOFILE, &limit);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("socketpair");
	for (size_t i = 0; i < COUNT(number_deeds); i++) {
		if (!strcmp(number_deeds[i].name, how))
			read_meanwhile(number_deeds[i].deed);
	}
	check_numbers();
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

/* ---- others on the same socket ---- */

/* A thread is in a waiting call already when another one sends. */
static char polled[64];

static void poll_body(void)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	fd_set in;
	int count;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	if (!strcmp(how, "poll")) {
		count = poll(&one, 1, PATIENCE_MS);
		snprintf(polled, sizeof(polled), "%d, %x", count, (unsigned)one.revents);
	} else if (!strcmp(how, "select")) {
		count = select(
			fd + 1, &in, NULL, NULL, &(struct timeval){.tv_sec = PATIENCE_MS / 1000});
		snprintf(polled, sizeof(polled), "%d, %d", count, FD_ISSET(fd, &in) != 0);
	} else {
		struct epoll_event event = {.events = EPOLLIN};
		int set = epoll_create1(0);

		epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
		count = epoll_wait(set, &event, 1, PATIENCE_MS);
		snprintf(polled, sizeof(polled), "%d, %x", count, event.events);
		close(set);
	}
}

static void polled_elsewhere(void)
{
	struct thread poller;

	fd = dial();
	if (!request_of(fd, "GET", "/prime", "one"))
		report("request", -1);
	show_answer(fd);
	close(fd);
	fd = dial();
	start(&poller, poll_body);
	await_sleep(&poller);
	if (!request_of(fd, "GET", target, "other"))
		report("request", -1);
	join(&poller);
	printf("%s: %s\n", how, polled);
	show_answer(fd);
	close(fd);
}

static atomic_int data, ends, errors;

static void reader_body(void)
{
	char buffer[4096];
	ssize_t length = recv(fd, buffer, sizeof(buffer), 0);

	*(length > 0 ? &data : length == 0 ? &ends : &errors) += 1;
}

static void show_readers(void)
{
	printf("data: %d, ends: %d, errors: %d\n", data, ends, errors);
}

static void two_readers(void)
{
	struct thread readers[2];

	prime();
	fd = dial();
	for (int i = 0; i < 2; i++)
		start(&readers[i], reader_body);
	for (int i = 0; i < 2; i++)
		await_sleep(&readers[i]);
	request(fd, "GET", target);
	for (int i = 0; i < PATIENCE_MS && !data && !ends && !errors; i++)
		poll(NULL, 0, 1);
	/* the other one must go on waiting */
	poll(NULL, 0, MOMENT_MS);
	show_readers();
	shutdown(fd, SHUT_RDWR);
	for (int i = 0; i < 2; i++)
		join(&readers[i]);
	show_readers();
	close(fd);
}

/* A thread for each direction, as proxies have: the reader is there first, the request comes in
 * pieces. */
static void reader_first(void)
{
	struct thread reader;
	char text[200];
	int length =
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: loopback\r\n\r\n", target);

	prime();
	fd = dial();
	start(&reader, reader_body);
	await_sleep(&reader);
	for (int i = 0; i < length; i += 9) {
		if (!send_all(fd, text + i, (size_t)(length - i < 9 ? length - i : 9))) {
			report("send", -1);
			break;
		}
	}
	join(&reader);
	show_readers();
	close(fd);
}

/* The same with a server that is sound, often: the answer may be there before send() has returned.
 */
static void reader_first_often(void)
{
	struct thread reader;

	prime();
	for (int i = 0; i < 500; i++) {
		fd = dial();
		start(&reader, reader_body);
		if (i % 2)
			await_sleep(&reader);
		if (!request_of(fd, how, target, "loopback"))
			report("request", -1);
		join(&reader);
		close(fd);
	}
	show_readers();
}

/* ---- shutdown ---- */

static char stopped_buffer[4096];
static ssize_t stopped_length;

static void reads_until_stopped(void)
{
	stopped_length = recv(fd, stopped_buffer, sizeof(stopped_buffer) - 1, 0);
}

/* Another thread ends the waiting, and only then the server goes on. */
static void stopped_by_shutdown(void)
{
	struct thread reader;

	prime();
	fd = dial();
	request(fd, "GET", target);
	if (!strcmp(how, "half_first"))
		report("shutdown", shutdown(fd, SHUT_WR));
	start(&reader, reads_until_stopped);
	tell("/under-way");
	await_sleep(&reader);
	report("shutdown", shutdown(fd, SHUT_RDWR));
	join(&reader);
	show_bytes("recv", stopped_buffer, stopped_length);
	tell("/let-go");
	close(fd);
}

/* ---- signals ---- */

static pthread_t main_thread;
static volatile sig_atomic_t handled;
static sigjmp_buf out;

static void count_signal(int signal)
{
	(void)signal;
	handled++;
}

static void signal_main(void)
{
	pthread_kill(main_thread, SIGUSR1);
}

static void on_signal(void (*handler)(int), int action_flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = action_flags};

	main_thread = pthread_self();
	sigaction(SIGUSR1, &action, NULL);
}

/* The call is made again, as it must. */
static void interrupted(void)
{
	struct thread meanwhile;
	char buffer[4096] = "";
	ssize_t length;

	on_signal(count_signal, 0);
	begin(&meanwhile, signal_main);
	do
		length = read(fd, buffer, sizeof(buffer) - 1);
	while (length < 0 && errno == EINTR);
	show_bytes("read", buffer, length);
	join(&meanwhile);
	printf("signals: %d\n", handled);
	close(fd);
}

static void interrupt_until(void)
{
	tell("/under-way");
	await_main();
	signal_main();
}

/* Nothing comes before the call has failed. */
static void interrupted_first(void)
{
	struct thread meanwhile;
	char buffer[4096] = "";

	on_signal(count_signal, 0);
	prime();
	fd = dial();
	request(fd, "GET", target);
	start(&meanwhile, interrupt_until);
	report("read", read(fd, buffer, sizeof(buffer)));
	join(&meanwhile);
	tell("/let-go");
	show_answer(fd);
	close(fd);
}

/* The classic time limit. */
static void jump_out(int signal)
{
	(void)signal;
	siglongjmp(out, 1);
}

static void jumped(void)
{
	for (volatile int i = 0; i < 2; i++) {
		struct thread meanwhile;

		on_signal(jump_out, 0);
		prime();
		fd = dial();
		request(fd, "GET", i ? "/plain" : target);
		if (sigsetjmp(out, 1) == 0) {
			if (!i)
				start(&meanwhile, interrupt_until);
			show_answer(fd);
		} else {
			printf("out\n");
			join(&meanwhile);
		}
		close(fd);
		tell("/let-go");
	}
}

static char handler_said[4];

static void use_in_handler(int signal)
{
	int saved_errno = errno;
	char byte;

	(void)signal;
	handler_said[0] = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0 || errno == EAGAIN;
	handler_said[1] = fcntl(fd, F_GETFD) >= 0;
	errno = saved_errno;
}

static void handler_uses_it(void)
{
	on_signal(use_in_handler, SA_RESTART);
	read_meanwhile(signal_main);
	printf("in the handler: %d %d\n", handler_said[0], handler_said[1]);
	close(fd);
}

static void close_in_handler(int signal)
{
	(void)signal;
	handled += close(fd) == 0;
}

/* Signal handlers may close. */
static void handler_closes_it(void)
{
	struct thread meanwhile;
	char buffer[100];

	on_signal(close_in_handler, SA_RESTART);
	begin(&meanwhile, signal_main);
	/* what this gives is nobody's business */
	(void)!recv(fd, buffer, sizeof(buffer), 0);
	join(&meanwhile);
	printf("closed: %d\n", handled);
	fd = dial();
	request(fd, "GET", "/plain");
	show_answer(fd);
	close(fd);
}

/* ---- cancellation ---- */

static void read_and_return(void)
{
	char byte;

	(void)!read(fd, &byte, 1);
}

static void cancelled(void)
{
	struct thread reader;
	void *result;

	prime();
	fd = dial();
	request(fd, "GET", target);
	start(&reader, read_and_return);
	tell("/under-way");
	await_sleep(&reader);
	pthread_cancel(reader.id);
	pthread_join(reader.id, &result);
	printf("cancelled: %d\n", result == PTHREAD_CANCELED);
	report("close", close(fd));
	tell("/let-go");
	fd = dial();
	request(fd, "GET", "/plain");
	show_answer(fd);
	close(fd);
}

/* ---- the socket ends meanwhile ---- */

static void read_whatever(void)
{
	char buffer[100];

	(void)!recv(fd, buffer, sizeof(buffer), 0);
}

/* Another thread closes it and has new ones, to the other server, which nobody sends anything.
 * What the first one's call gives is nobody's business. */
static void closed_meanwhile(void)
{
	struct thread reader;
	int others[3];

	prime();
	fd = dial();
	request(fd, "GET", target);
	start(&reader, read_whatever);
	tell("/under-way");
	await_sleep(&reader);
	report("close", close(fd));
	for (size_t i = 0; i < COUNT(others); i++)
		others[i] = dial_port(other_port);
	tell("/let-go");
	for (size_t i = 0; i < COUNT(others); i++)
		report("shutdown", shutdown(others[i], SHUT_RDWR));
	join(&reader);
	for (size_t i = 0; i < COUNT(others); i++)
		report("close", close(others[i]));
	visit("/after");
	visit("/after");
}

/* The same without order, often. */
static void closed_at_random(void)
{
	unsigned seed = 1;

	for (int i = 0; i < 150; i++) {
		struct sockaddr_in address = loopback(port);
		struct thread reader;
		char buffer[200];
		int other;

		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (unsigned)i);
		for (int turn = 0; turn < 2; turn++) {
			fd = socket(AF_INET, SOCK_STREAM, 0);
			if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
				die("connect");
			request(fd, "GET", target);
			if (turn)
				break;
			if (recv(fd, buffer, sizeof(buffer), 0) <= 0)
				printf("no answer\n");
			close(fd);
		}
		start(&reader, read_whatever);
		for (volatile int k = rand_r(&seed) % 3000000; k > 0;)
			k--;
		close(fd);
		other = dial_port(other_port);
		shutdown(other, SHUT_RDWR);
		join(&reader);
		close(other);
	}
	printf("over\n");
}

/* The number is put over with another socket, while a call waits on it. */
static void replaced_meanwhile(void)
{
	struct thread reader;
	int other;

	prime();
	fd = dial();
	request(fd, "GET", target);
	start(&reader, read_whatever);
	tell("/under-way");
	await_sleep(&reader);
	other = dial_port(other_port);
	report("dup2", dup2(other, fd) == fd);
	report("close", close(other));
	tell("/let-go");
	shutdown(fd, SHUT_RDWR);
	join(&reader);
	close(fd);
	visit("/after");
}

/* A record that is used again knows nothing of its last life: the next connection dies, too. */
static void next_life(void)
{
	struct thread reader;
	struct timespec quarantine = {1, 50000000};

	prime();
	fd = dial();
	request(fd, "GET", target);
	start(&reader, read_whatever);
	tell("/under-way");
	await_sleep(&reader);
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	tell("/let-go");
	if (connect_to(fd, port))
		die("connect");
	join(&reader);
	request(fd, "GET", "/plain");
	show_answer(fd);
	close(fd);
	nanosleep(&quarantine, NULL);
	fd = dial();
	request(fd, "GET", "/fin/next");
	show_answer(fd);
	close(fd);
}

/* ---- children ---- */

static int child_may_end[2], child_counted[2];
static pid_t child;

static void live_on(void)
{
	char byte;

	close(child_may_end[1]);
	close(fd);
	printf("sockets of the child: %d\n", count_sockets());
	fflush(stdout);
	close(child_counted[1]);
	(void)!read(child_may_end[0], &byte, 1);
	_exit(0);
}

static void fork_meanwhile(void)
{
	char byte;

	fflush(stdout);
	child = fork();
	if (!child)
		live_on();
	close(child_counted[1]);
	(void)!read(child_counted[0], &byte, 1);
}

static void forked(void)
{
	if (pipe(child_may_end) || pipe(child_counted))
		die("pipe");
	read_meanwhile(fork_meanwhile);
	close(fd);
	close(child_may_end[1]);
	waitpid(child, NULL, 0);
	close(child_may_end[0]);
	close(child_counted[0]);
}

static const struct scenario scenarios[] = {
	{"blocking", blocking},
	{"cancelled", cancelled},
	{"closed_at_random", closed_at_random},
	{"closed_meanwhile", closed_meanwhile},
	{"flags", flags},
	{"forked", forked},
	{"handler_closes_it", handler_closes_it},
	{"handler_uses_it", handler_uses_it},
	{"interrupted", interrupted},
	{"interrupted_first", interrupted_first},
	{"jumped", jumped},
	{"next_life", next_life},
	{"nonblocking", nonblocking},
	{"numbers", numbers},
	{"other_calls", other_calls},
	{"polled_elsewhere", polled_elsewhere},
	{"reader_first", reader_first},
	{"reader_first_often", reader_first_often},
	{"replaced_meanwhile", replaced_meanwhile},
	{"send_limit", send_limit},
	{"stopped_by_shutdown", stopped_by_shutdown},
	{"two_readers", two_readers},
};

int main(int argc, char **argv)
{
	other_port = argc > 6 ? atoi(argv[6]) : 0;
	return main_of(argc, argv, scenarios, COUNT(scenarios));
}
