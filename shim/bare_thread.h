/* A thread that libc knows nothing of: made by clone(2), on memory of its own. So nothing is
 * allocated for it, and it may be made in a signal handler; a program ends with its own last
 * thread, as it would without it; and the kernel says when it has ended.
 *
 * What runs in it may use the kernel (raw.h) and our own thread-local variables, which begin as
 * zeros; and nothing of libc that needs to know its thread.
 *
 * The sanitizers' runtimes know of no thread that libc does not know of. With them it is one of
 * libc's, and of all that is said above only this holds: that one can wait for its end.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bare_thread {
	_Atomic uint32_t id; /* 0: there is none; or it has ended, and left the memory */
	void (*run)(void);
	char *memory; /* of the last one that was started */
	size_t size;
};

/* In the thread all signals are blocked, also those that cannot be by other means. Only when there
 * is none, and by one thread at a time. */
bool bare_thread_start(struct bare_thread *thread, void (*run)(void));

/* Waits for its end, a few milliseconds at most: then it is none of the process's threads any more.
 * It is somebody else's business to see to it that it ends. */
bool bare_thread_has_ended(struct bare_thread *thread);

/* In a forked child, where there is no such thread. */
void bare_thread_after_fork_in_child(struct bare_thread *thread);
