#include "shim/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "pool/proof.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/raw.h"
#include "shim/statistics.h"

struct pool process_pool;

static _Atomic bool on;
static _Atomic int pid;

bool process_may_pool(void)
{
	return atomic_load_explicit(&on, memory_order_acquire) &&
	       RAW0(getpid) == atomic_load_explicit(&pid, memory_order_relaxed);
}

int process_bad_descriptor(void)
{
	errno = EBADF;
	return -1;
}

void process_displace(int fd, struct connection *connection)
{
	struct connection *old = fdtable_replace(fd, connection);

	/* A parked one, whose hidden number was closed behind our back, is the pool's: it will find
	 * that out before it uses the number. */
	if (old && !connection_hides(old, fd) && connection_displaced(old, fd))
		pool_release(&process_pool, old);
}

void process_end(int fd, struct call call)
{
	if (fdtable_change(fd, call.connection, NULL) && connection_lost_number(call))
		pool_release(&process_pool, call.connection);
}

void process_forget(int fd)
{
	if (fdtable_get(fd) && process_may_pool())
		process_displace(fd, NULL);
}

void process_track(int fd, int family, uint32_t epoch)
{
	if (fd >= FDTABLE_SIZE || !process_may_pool())
		return;
	struct connection *connection = pool_adopt(&process_pool, family, epoch);
	if (connection) {
		atomic_store_explicit(&connection->fd, fd, memory_order_relaxed);
		connection->cookie = proof_cookie(&real_os, fd);
	}
	if (connection || fdtable_get(fd))
		process_displace(fd, connection);
}

void process_turn_off(const char *why)
{
	if (!atomic_exchange(&on, false))
		return;
	log_line(1, "the pool is off: ", why, NULL);
	pool_drop(&process_pool);
}

/* ---- fork ---- */

static void prepare_fork(void)
{
	pool_prepare_fork(&process_pool);
}

static void after_fork_in_parent(void)
{
	pool_after_fork_in_parent(&process_pool);
}

static void after_fork_in_child(void)
{
	os_after_fork_in_child();
	atomic_store(&pid, (int)RAW0(getpid));
	pool_after_fork_in_child(&process_pool);
}

/* ---- start ---- */

static void complain(const struct setting *setting, const char *value)
{
	char data[64], shown[64];
	struct text range = {.data = data, .size = sizeof(data) - 1};
	struct text start = {.data = shown, .size = sizeof(shown) - 1};

	text_add_number(&range, setting->least);
	text_add(&range, " to ");
	text_add_number(&range, setting->most);
	text_add(&range, "; using ");
	text_add_number(&range, setting->default_value);
	data[range.len] = '\0';
	for (const char *c = value; *c && !start.cut; c++)
		text_add_bytes(&start, *c < ' ' || *c == 0x7f ? "?" : c, 1);
	shown[start.len] = '\0';
	log_always(setting->variable, "=", shown, start.cut ? "..." : "",
		" is not allowed: a whole number from ", data, NULL);
}

static struct settings read_environment(void)
{
	struct settings settings = settings_default();

	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];
		const char *value = secure_getenv(setting->variable);
		/* VARIABLE= is how a shell user says "not set". */
		if (value && *value && !setting_parse(&settings, setting, value))
			complain(setting, value);
	}
	return settings;
}

static void open_statistics(void)
{
	const char *where = secure_getenv("SP_STATS");

	if (!where || !*where)
		return;
	if (!statistics_open(where))
		log_always(
			"SP_STATS is longer than a file's name can be; nothing is written", NULL);
	else
		atexit(statistics_write);
}

__attribute__((constructor)) static void start(void)
{
	int saved_errno = errno;

	libc_load();
	/* A program with more rights than its user takes no orders from that user's environment. */
	if (getauxval(AT_SECURE))
		return;
	log_open(1);
	struct settings settings = read_environment();
	log_open((int)settings.log);
	struct descriptor_room room = os_measure_room();
	if (settings.max_parked > room.parked_most)
		settings.max_parked = room.parked_most;
	pool_init(&process_pool, &real_os, &settings);
	if (!settings.disable &&
		pthread_atfork(prepare_fork, after_fork_in_parent, after_fork_in_child) == 0) {
		atomic_store(&pid, (int)RAW0(getpid));
		atomic_store_explicit(&on, true, memory_order_release);
		open_statistics();
	}
	errno = saved_errno;
}
