/* The model of a random walk over descriptors: what each number of this program's must be.
 *
 * A slot is a number that is open; an object is what is open on it, and several slots may hold one.
 * After each step the model is compared with what the kernel says. Slots are chosen by their place
 * in the table and never by their number, so that a walk goes the same way whatever the numbers.
 */
#ifndef WALK_H
#define WALK_H

#include "client.h"
#include "rawcall.h"
#include <fcntl.h>
#include <sys/stat.h>

#define MAX_SLOTS   40
#define MAX_OBJECTS 64
#define MAX_PENDING 4
#define HIGHEST     1100 /* numbers above are never used */

enum kind {
	NOTHING,
	SOCKET,     /* TCP, not connected */
	CONNECTION, /* to one of the two servers */
	FINISHED,   /* a connection that was shut down: it can only be closed */
	BYTES,      /* a file in memory with one word in it */
	ZERO,       /* /dev/zero */
	PIPE_END,   /* where words come out */
	PIPE_START, /* where they go in */
	WATCHER,    /* an epoll set */
};

struct object {
	enum kind kind;
	int holders;
	unsigned id;
	unsigned long identity; /* device and inode */
	unsigned user;          /* of how many that this process was, when it was connected */
	unsigned pending[MAX_PENDING]; /* what was asked for and has not been read */
	int n_pending;
	unsigned word;       /* of BYTES */
	struct object *peer; /* of a pipe's end, as long as anybody holds it */
};

struct slot {
	struct object *object; /* NULL: free */
	int fd;
	FILE *stream;
};

static struct slot slots[MAX_SLOTS];
static struct object objects[MAX_OBJECTS];
static unsigned last_id;
static unsigned step;
static unsigned n_users;

/* ---- chance ---- */

static uint64_t chance;

/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
static unsigned below(unsigned limit)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (unsigned)(chance >> 33) % limit;
}

/* ---- saying what happened ---- */

static void broken(const char *what, int fd)
{
	printf("%u: BROKEN: %s (%d)\n", step, what, fd);
	fflush(stdout);
	_exit(4);
}

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%u %s: %s\n", step, what, strerrorname_np(errno));
	else
		printf("%u %s: %ld\n", step, what, result);
}

/* a result that is a number of a descriptor */
static void say_number(const char *what, int fd)
{
	if (fd < 0)
		say(what, fd);
	else
		printf("%u %s: on %d\n", step, what, fd);
}

/* ---- objects and slots ---- */

static struct object *new_object(enum kind kind)
{
	for (size_t i = 0; i < MAX_OBJECTS; i++) {
		if (objects[i].holders)
			continue;
		objects[i] = (struct object){.kind = kind, .id = ++last_id};
		return &objects[i];
	}
	broken("more objects than slots", 0);
	return NULL;
}

static void let_go(struct object *object)
{
	if (--object->holders)
		return;
	if (object->peer)
		object->peer->peer = NULL;
}

static struct slot *slot_of(int fd)
{
	for (size_t i = 0; i < MAX_SLOTS; i++) {
		if (slots[i].object && slots[i].fd == fd)
			return &slots[i];
	}
	return NULL;
}

static struct slot *free_slot(void)
{
	for (size_t i = 0; i < MAX_SLOTS; i++) {
		if (!slots[i].object)
			return &slots[i];
	}
	return NULL;
}

static bool has_room(int wanted)
{
	for (size_t i = 0; i < MAX_SLOTS; i++)
		wanted -= !slots[i].object;
	return wanted <= 0;
}

static unsigned long identity_of(int fd)
{
	struct stat status;

	if (fstat(fd, &status))
		return 0;
	return status.st_ino * 31 + status.st_dev;
}

static void hold(struct slot *slot, int fd, struct object *object)
{
	*slot = (struct slot){.object = object, .fd = fd};
	object->holders++;
	if (!object->identity)
		object->identity = identity_of(fd);
}

/* A new number; the kernel never gives one that is open. */
static void opened(int fd, struct object *object)
{
	if (fd < 0)
		return;
	if (slot_of(fd))
		broken("a number that is open was given again", fd);
	hold(free_slot(), fd, object);
}

static void closed(struct slot *slot)
{
	let_go(slot->object);
	*slot = (struct slot){0};
}

/* A slot that is of one of these kinds, by chance; NULL if there is none. */
static struct slot *any(unsigned kinds)
{
	unsigned start = below(MAX_SLOTS);

	for (unsigned i = 0; i < MAX_SLOTS; i++) {
		struct slot *slot = &slots[(start + i) % MAX_SLOTS];

		if (slot->object && !slot->stream && kinds & 1U << slot->object->kind)
			return slot;
	}
	return NULL;
}

static struct slot *any_stream(void)
{
	unsigned start = below(MAX_SLOTS);

	for (unsigned i = 0; i < MAX_SLOTS; i++) {
		struct slot *slot = &slots[(start + i) % MAX_SLOTS];

		if (slot->object && slot->stream)
			return slot;
	}
	return NULL;
}

#define OF(kind) (1U << (kind))
#define ANYTHING (~0U)

/* ---- the comparison ---- */

static bool is_hidden_kind(int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return RAW_CALL(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       type == SOCK_STREAM && RAW_CALL(SYS_fcntl, fd, F_GETFD) == FD_CLOEXEC;
}

/* The open numbers that are not in the model: only a library's, which are connections. */
static int count_hidden(void)
{
	int n = 0;

	for (int fd = 3; fd <= HIGHEST; fd++) {
		if (RAW_CALL(SYS_fcntl, fd, F_GETFD) < 0 || slot_of(fd))
			continue;
		if (!is_hidden_kind(fd))
			broken("a number is open that was closed", fd);
		n++;
	}
	return n;
}

static void compare_with_kernel(void)
{
	int saved_errno = errno;

	for (size_t i = 0; i < MAX_SLOTS; i++) {
		if (slots[i].object && identity_of(slots[i].fd) != slots[i].object->identity)
			broken("a number is another file, or closed", slots[i].fd);
	}
	if (step % 8 == 0)
		count_hidden();
	errno = saved_errno;
}

#endif
