/* A program whose process has descriptors that it did not open, and that are no sockets: SCENARIO
 * PORT CONTROL-PORT. It closes all, wants those numbers for itself, or names them.
 */
#include "client.h"
#include "onlooker.h"
#include "rawcall.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const kinds[] = {
	"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "/memfd:sppool"};

static int number_of(size_t kind)
{
	return find_link(200, kinds[kind]);
}

static void show_all(const char *when)
{
	printf("%s:", when);
	for (size_t i = 0; i < COUNT(kinds); i++)
		printf(" %s", number_of(i) >= 0 ? "there" : "gone");
	puts("");
}

static void close_all(void)
{
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
}

static void close_all_unseen(void)
{
	for (int fd = 3; fd < 4096; fd++)
		RAW_CALL(SYS_close, fd);
}

static void close_all_at_once(void)
{
	close_range(3, ~0U, 0);
	closefrom(3);
}

/* A set of the program's own, on the number that another set had, if there was one. */
static int own_set(int number)
{
	int low = epoll_create1(0);
	int set = number < 0 ? low : fcntl(low, F_DUPFD, number);

	if (set != low)
		close(low);
	return set;
}

/* proc(5): what is in it, a line for each */
static int count_watched(int set)
{
	char name[32], line[128];
	int count = 0;

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", set);
	FILE *info = fopen(name, "r");
	while (info && fgets(line, sizeof(line), info))
		count += !strncmp(line, "tfd:", 4);
	if (info)
		fclose(info);
	return count;
}

/* Nothing is in it that the program did not put there. */
static void own_set_is_empty(void (*close_them)(void))
{
	visit("/echo/once");
	int number = number_of(0);
	close_them();
	int set = own_set(number);
	visit("/echo/twice");
	printf("watched: %d\n", count_watched(set));
	report("close", close(set));
	visit("/echo/three");
}

static void own_set_after_close(void)
{
	own_set_is_empty(close_all);
}

static void own_set_after_close_range(void)
{
	own_set_is_empty(close_all_at_once);
}

static void own_set_after_unseen_close(void)
{
	own_set_is_empty(close_all_unseen);
}

/* Others that are on those numbers now are the program's, too. */
static void own_files_after_unseen_close(void)
{
	uint64_t value = 0;
	int numbers[COUNT(kinds)];

	visit("/echo/once");
	for (size_t i = 0; i < COUNT(kinds); i++)
		numbers[i] = number_of(i);
	close_all_unseen();
	for (size_t i = 0; i < COUNT(kinds); i++) {
		int low = (int)RAW_CALL(SYS_eventfd2, 7, 0);
		RAW_CALL(SYS_dup2, low, numbers[i] < 0 ? low + 100 : numbers[i]);
		int fd = numbers[i] < 0 ? low + 100 : numbers[i];
		RAW_CALL(SYS_close, low);
		report("read", read(fd, &value, sizeof(value)));
		printf("value: %d\n", (int)value);
		report("flags", fcntl(fd, F_GETFD));
	}
	visit("/echo/twice");
	pid_t pid = fork();
	for (size_t i = 0; !pid && i < COUNT(kinds); i++)
		if (numbers[i] >= 0 && RAW_CALL(SYS_fcntl, numbers[i], F_GETFD) < 0)
			_exit(1);
	if (!pid)
		_exit(0);
	int status = -1;
	waitpid(pid, &status, 0);
	report("child", status);
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (numbers[i] >= 0)
			report("close", close(numbers[i]));
}

static void goes_on_after(void (*close_them)(void))
{
	visit("/echo/once");
	show_all("before");
	close_them();
	show_all("after");
	visit("/echo/twice");
	show_all("again");
	release();
	await(1);
}

static void goes_on_after_close(void)
{
	goes_on_after(close_all);
}

static void goes_on_after_close_range(void)
{
	goes_on_after(close_all_at_once);
}

/* Whoever lost its numbers has others as soon as it can find out. */
static void goes_on_after_unseen_close(void)
{
	visit("/echo/once");
	show_all("before");
	close_all_unseen();
	show_all("after");
	for (int i = 0; i < MOST_LOOKS / 100 && number_of(0) < 0; i++) {
		close(socket(AF_INET, SOCK_STREAM, 0));
		poll(NULL, 0, 10);
	}
	show_all("again");
}

static void are_named(void)
{
	struct epoll_event event = {0};

	visit("/echo/once");
	for (size_t i = 0; i < COUNT(kinds); i++) {
		int fd = number_of(i);

		printf("%s\n", kinds[i]);
		report("close", close(fd));
		report("read", read(fd, &event, sizeof(event)));
		report("dup", dup(fd));
		report("dup2", dup2(fd, 100));
		report("fcntl", fcntl(fd, F_GETFD));
		report("syscall", syscall(SYS_close, fd));
	}
	show_all("after");
}

/* The program has them for the asking. */
static void are_wanted(void)
{
	visit("/echo/once");
	for (size_t i = 0; i < COUNT(kinds); i++) {
		struct stat null, found;
		int fd = number_of(i), file = open("/dev/null", O_RDONLY);

		printf("dup2: %d\n", dup2(file, fd) == fd);
		fstat(file, &null);
		fstat(fd, &found);
		printf("the same: %d\n", null.st_rdev == found.st_rdev && S_ISCHR(found.st_mode));
		report("close", close(fd));
		close(file);
		show_all("after");
	}
	release();
	await(1);
}

static const struct scenario scenarios[] = {
	{"own_set_after_close", own_set_after_close},
	{"own_set_after_close_range", own_set_after_close_range},
	{"own_set_after_unseen_close", own_set_after_unseen_close},
	{"own_files_after_unseen_close", own_files_after_unseen_close},
	{"goes_on_after_close", goes_on_after_close},
	{"goes_on_after_close_range", goes_on_after_close_range},
	{"goes_on_after_unseen_close", goes_on_after_unseen_close},
	{"are_named", are_named},
	{"are_wanted", are_wanted},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}
