/* A fake system for the pool: descriptors, sockets, epoll sets and a clock that the test sets. Each
 * call is counted, can be told to fail, and can have something happen just before or after it, as
 * if another thread did that. A call that is made while the pool's lock is held fails the test.
 *
 * Criterion runs every test in a process of its own, so each finds the fake system as new.
 */
#pragma once

#include <linux/tcp.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/os.h"
#include "pool/pool.h"

#define FAKE_DESCRIPTORS   256
#define FAKE_HIDDEN_FIRST  128 /* hidden numbers are from here on */
#define FAKE_REGISTRATIONS 16
#define FAKE_OPTIONS       16
#define FAKE_SENT_MOST     (256 * 1024)

/* What an option is that nobody set; no option is like that by accident. */
#define FAKE_DEFAULT 4711

#define FAKE_ESTABLISHED 1
#define FAKE_SYN_SENT    2
#define FAKE_FIN_WAIT    4
#define FAKE_CLOSE       7
#define FAKE_CLOSE_WAIT  8

enum fake_call {
	FAKE_NOW_MS,
	FAKE_MAP,
	FAKE_THREAD_ID,
	FAKE_WAIT,
	FAKE_WAKE,
	FAKE_GET_OPTION,
	FAKE_SET_OPTION,
	FAKE_GET_STATUS_FLAGS,
	FAKE_SET_STATUS_FLAGS,
	FAKE_GET_DESCRIPTOR_FLAGS,
	FAKE_WATCH,
	FAKE_PEEK,
	FAKE_HIDE,
	FAKE_REVEAL,
	FAKE_EXCHANGE,
	FAKE_DISCARD,
	FAKE_LOSE,
	FAKE_FORGET,
	FAKE_CLOSE_NUMBER,
	FAKE_OPEN_HIDDEN,
	FAKE_BIND,
	FAKE_CONNECT,
	FAKE_AWAIT_CONNECTION,
	FAKE_CONNECT_PATIENTLY,
	FAKE_SEND,
	FAKE_HALF_CLOSE,
	FAKE_SHUT_DOWN,
	FAKE_LOOK_AHEAD,
	FAKE_RECEIVE,
	FAKE_YIELD,
	FAKE_WAKE_ALL,
	FAKE_RESTORE_SIGNALS, /* when a handler can run */
	FAKE_CALL_COUNT,
};

struct fake_option {
	int level, name;
	socklen_t size;
	uint8_t value[OPTION_VALUE_MAX];
};

/* An open file, with as many descriptors as there are references. */
struct fake_socket {
	unsigned references;
	uint64_t cookie;
	int status_flags;
	int family;          /* 0: of fake_socket() */
	int peek;            /* what peek() says, where nothing has come */
	socklen_t info_size; /* how much of info this kernel knows */
	struct tcp_info info;
	unsigned option_count;
	struct fake_option options[FAKE_OPTIONS];
	struct endpoint local, peer; /* of bind() and connect() */
	bool half_closed, shut_down; /* SHUT_WR, SHUT_RDWR */
	bool deaf;                   /* SHUT_RD, and SHUT_RDWR, too */
	int send_error;              /* what a call of the program's that sends gets; 0: it sends */
	const char *coming;          /* what has come, and nobody has read */
	size_t coming_len;
	size_t sent_len;
	uint8_t sent[FAKE_SENT_MOST]; /* all that was ever sent on it */
};

struct fake_descriptor {
	struct fake_socket *socket;    /* NULL: the number is free */
	int flags;                     /* FD_CLOEXEC */
	struct connection *connection; /* what the descriptor table says */
};

/* epoll(7), question 6: keyed by number and open file. */
struct fake_registration {
	int epfd, fd;
	struct fake_socket *socket; /* NULL: an unused entry */
	struct epoll_event event;
};

struct fake {
	struct fake_descriptor descriptors[FAKE_DESCRIPTORS];
	struct fake_registration registrations[FAKE_REGISTRATIONS];
	uint64_t now_ms;
	uint64_t last_cookie;
	_Atomic uint32_t *last_woken; /* that wake_all() was called with */
	size_t send_most;             /* that send() takes at once; 0: all */
	bool interrupts;              /* a signal handler runs in await_connection() */
	long awaited_ms;              /* what await_connection() was given last */
	unsigned signals_blocked;     /* calls of block_signals() without their other half */
	uint32_t thread_id;
	const struct pool *pool; /* whose lock is not to be held */
	bool shares_memory;      /* with the process that it is a child of */
	const char *event, *why; /* of the last note() */

	unsigned calls[FAKE_CALL_COUNT];
	int error[FAKE_CALL_COUNT];     /* -errno that the call returns, or non-zero: no memory */
	unsigned skip[FAKE_CALL_COUNT]; /* that many calls succeed before it does */
	void (*before[FAKE_CALL_COUNT])(void); /* happens once */
	void (*after[FAKE_CALL_COUNT])(void);
	void (*cancelled)(void); /* the end of a thread that is cancelled in connect_patiently(): it
				  * jumps away */
	unsigned waited_ms;      /* by how much wait() moves the clock; 0: by its whole timeout */
};

extern struct fake fake;
extern const struct pool_os fake_os;

/* For a test that wants several worlds, one after the other. */
void fake_reset(void);

/* The lowest free number, for a new socket: not connected, quiet, with default options. */
int fake_socket(void);

/* Puts another socket on a number, as if somebody had closed it and opened one there. */
void fake_replace(int fd);

void fake_close(int fd);

/* What the program's own calls do with the socket on fd: send(2), which waits for the connection
 * where it may; recv(2), which never waits for what has not come. */
long fake_send(int fd, const void *data, size_t len, bool not_to_wait);
long fake_receive(int fd, void *data, size_t len);

/* The peer says this, which has come. If something is unread, text is what comes after that in the
 * same memory. */
void fake_say(int fd, const char *text, size_t len);

static inline struct fake_socket *fake_socket_on(int fd)
{
	return fake.descriptors[fd].socket;
}

static inline bool fake_is_open(int fd)
{
	return fake_socket_on(fd) != NULL;
}

/* Another thread of the program's, which runs only when it is let, and until it hands back or ends.
 * One at a time. */
void other_thread(void (*run)(void));
void let_other_run(void);
void hand_back(void);

/* The lock, without clang's check of who holds it: in tests it is others who do. */
bool fake_acquire(struct lock *lock);
void fake_release(struct lock *lock);

/* The value of an option that is an int. */
int fake_option(int fd, int level, int name);

/* How many registrations there are for this socket, on whatever number. */
unsigned fake_registered(const struct fake_socket *socket);

/* How many hidden numbers are open. */
unsigned fake_hidden_count(void);
