/* What descriptors a process has when it ends, and what a program that it starts would inherit.
 *
 * The harness preloads this into every run, without the pool's library and with it. There it comes
 * right after that one: destructors run in the order of LD_PRELOAD, so what is seen is what is
 * there when the library, too, is done. Processes that end by _exit() or a signal are not seen.
 *
 * Lines are appended to the file WITNESS_FILE, their fields separated by tabs: process, parent,
 * "own" or "inherited", RLIMIT_NOFILE at start and at end, program, descriptors. Where that cannot
 * be done, as in another root, nothing is written. In a sandbox that the program made for itself
 * only what files need is called, and nothing is started: a sandbox may kill.
 *
 * The kernel is asked directly: the library would deny its hidden descriptors. No number is taken
 * while numbers are listed but the one for the list, which is left out.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "shim/raw.h"

/* two variables of the environment, for the inheritor: the file's name and this library's */
static char file[4096] = "WITNESS_FILE=", library[4096] = "LD_PRELOAD=";
static bool wanted, is_inheritor, is_sandboxed;
static long pid_at_start;
static rlim_t limit_at_start;
static char sandbox_at_start[64];

static char line[1 << 18];
static size_t length;

static rlim_t limit(void)
{
	struct rlimit now = {.rlim_cur = 1024}; /* as the library believes, if refused */

	RAW4(prlimit64, 0, RLIMIT_NOFILE, NULL, &now);
	return now.rlim_cur;
}

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int added = vsnprintf(line + length, sizeof(line) - length, format, arguments);
	va_end(arguments);
	if (added > 0 && (size_t)added < sizeof(line) - length)
		length += (size_t)added;
}

static void read_file(const char *name, char *text, size_t size)
{
	int from = (int)RAW3(openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);

	text[0] = '\0';
	if (from < 0)
		return;
	long got = RAW3(read, from, text, size - 1);
	text[got > 0 ? got : 0] = '\0';
	RAW1(close, from);
}

/* Two lines of /proc/self/status: the mode, and how many filters. */
static void describe_sandbox(char description[64])
{
	static char text[8192];

	read_file("/proc/self/status", text, sizeof(text));
	const char *found = strstr(text, "Seccomp:");
	snprintf(description, 64, "%.40s", found ? found : "");
}

/* Opened with CLOEXEC? fcntl() is more often denied to a program than its files are. */
static bool closes_on_exec(int fd)
{
	char name[64], text[256];

	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	read_file(name, text, sizeof(text));
	char *flags = strstr(text, "flags:");
	return flags && strtoul(flags + 6, NULL, 8) & O_CLOEXEC;
}

/* A word for what it is: of a socket its protocol, as lsof asks for it. */
static void add_descriptor(int fd)
{
	char name[64], target[256] = "", protocol[32] = "";

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	RAW3(readlink, name, target, sizeof(target) - 1);
	if (target[0] == '/')
		strcpy(target, "file");
	else if (RAW4(getxattr, name, "system.sockprotoname", protocol, sizeof(protocol) - 1) > 0)
		strcpy(target, protocol);
	else if (strncmp(target, "anon_inode:", 11) != 0)
		target[strcspn(target, ":")] = '\0';
	add("%d=%s%s ", fd, target, closes_on_exec(fd) ? ",cloexec" : "");
}

static bool add_descriptors(void)
{
	static int numbers[65536];
	static char entries[32768] __attribute__((aligned(8)));
	size_t count = 0;
	long size;
	int list = (int)RAW3(openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (list < 0)
		return false;
	while ((size = RAW3(getdents64, list, entries, sizeof(entries))) > 0) {
		for (char *at = entries; at < entries + size;) {
			struct dirent64 *entry = (void *)at;

			at += entry->d_reclen;
			int fd = atoi(entry->d_name);
			if (entry->d_name[0] != '.' && fd != list &&
				count < sizeof(numbers) / sizeof(numbers[0]))
				numbers[count++] = fd;
		}
	}
	RAW1(close, list);
	for (size_t i = 0; i < count; i++)
		add_descriptor(numbers[i]);
	return size == 0;
}

static void write_line(void)
{
	const char *name = strchr(file, '=') + 1;
	int fd = (int)RAW3(openat, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return;
	RAW3(write, fd, line, length);
	RAW1(close, fd);
}

static void report(void)
{
	length = 0;
	add("%ld\t%ld\t%s\t%lu\t%lu\t%s\t", is_sandboxed ? pid_at_start : RAW0(getpid),
		is_sandboxed ? 0 : RAW0(getppid), is_inheritor ? "inherited" : "own",
		(unsigned long)limit_at_start,
		(unsigned long)(is_sandboxed ? limit_at_start : limit()),
		program_invocation_short_name);
	if (!add_descriptors())
		return;
	add("\n");
	write_line();
}

/* A program of no consequence, started as any other; with this library alone it says what it has.
 */
static void start_inheritor(void)
{
	static char name[] = "true", whose[] = "WITNESS_OF=inherited";
	char *argv[] = {name, NULL}, *environment[] = {file, library, whose, NULL};
	pid_t pid;

	if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment) != 0)
		return;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* The program must not hear of the child, nor of a file that may not grow. */
static void observe_unheard(void)
{
	const uint64_t unheard = 1ULL << (SIGCHLD - 1) | 1ULL << (SIGXFSZ - 1);
	const struct timespec at_once = {0};
	uint64_t blocked = 0, pending = 0;

	RAW4(rt_sigprocmask, SIG_BLOCK, &unheard, &blocked, sizeof(unheard));
	RAW2(rt_sigpending, &pending, sizeof(pending));
	report();
	if (!is_inheritor)
		start_inheritor();
	uint64_t ours = unheard & ~pending;
	while (RAW4(rt_sigtimedwait, &ours, NULL, &at_once, sizeof(ours)) > 0)
		;
	RAW4(rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(blocked));
}

static void observe(void)
{
	char sandbox[64];

	describe_sandbox(sandbox);
	is_sandboxed = strcmp(sandbox, sandbox_at_start) != 0;
	if (is_sandboxed)
		report();
	else
		observe_unheard();
}

static bool append(char variable[4096], const char *value)
{
	size_t name = strlen(variable);

	if (strlen(value) >= 4096 - name)
		return false;
	strcpy(variable + name, value);
	return true;
}

/* The program may change its environment, or overwrite it. */
__attribute__((constructor)) static void begin(void)
{
	int saved_errno = errno;
	const char *where = getenv("WITNESS_FILE"), *of = getenv("WITNESS_OF");
	Dl_info self;

	wanted = where && *where && dladdr(file, &self) && append(file, where) &&
		 append(library, self.dli_fname);
	is_inheritor = of != NULL;
	limit_at_start = limit();
	pid_at_start = RAW0(getpid);
	describe_sandbox(sandbox_at_start);
	errno = saved_errno;
}

__attribute__((destructor)) static void end(void)
{
	int saved_errno = errno;

	if (wanted)
		observe();
	errno = saved_errno;
}
