#include "shim/bare_thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pool/layout.h"
#include "shim/libc.h"
#include "shim/raw.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define STACK_SIZE 65536

/* SIGCANCEL and SIGSETXID: setuid() waits until each of libc's threads has had the second one. */
#define SIGNALS_OF_LIBC (UINT64_C(3) << 31)

#if SANITIZED

static void *enter(void *argument)
{
	struct bare_thread *thread = argument;

	atomic_store(&thread->id, (uint32_t)RAW0(gettid));
	thread->run();
	atomic_store(&thread->id, 0);
	RAW3(futex, &thread->id, FUTEX_WAKE, 1);
	return NULL;
}

static bool start(struct bare_thread *thread)
{
	pthread_attr_t attributes;
	pthread_t made;

	if (pthread_attr_init(&attributes))
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	atomic_store(&thread->id, UINT32_MAX);
	bool started = pthread_create(&made, &attributes, enter, thread) == 0;
	if (!started)
		atomic_store(&thread->id, 0);
	pthread_attr_destroy(&attributes);
	return started;
}

#else

/* Guard page, stack, thread-local variables, and above them what libc keeps of a thread: struct
 * pthread, of which the first words are here and the rest zeros. */
#define PAGE         4096
#define CONTROL_SIZE (2 * PAGE)

/* What there may be below the lowest thread-local variable that is known. */
#define BELOW_SIZE   65536
#define BELOW_MOST   (1 << 26)

/* The first words of tcbhead_t, glibc's sysdeps/x86_64/nptl/tls.h. Those that are the same for all
 * threads are compiled into programs: the guards of stacks and of pointers. */
struct control {
	void *self;
	void *dynamic_variables;
	void *descriptor;
	uint64_t flags;
	uint64_t system_call;
	uint64_t stack_guard;
	uint64_t pointer_guard;
};

static _Thread_local char own_variable;

static const char *thread_pointer(void)
{
	const char *self;

	/* System V ABI for x86-64, section 3.4.6: its own address is there. */
	__asm__("movq %%fs:0, %0" : "=r"(self));
	return self;
}

/* Variables lie as far below the thread pointer in all threads: the program's, then those of the
 * libraries that came with it, libc among the last. 0 if this thread is an odd one itself. */
static size_t size_of_variables(void)
{
	const char *self = thread_pointer(), *libcs = (const char *)&errno;
	const char *lowest = libcs < &own_variable ? libcs : &own_variable;
	size_t size = (size_t)(self - lowest);

	return size < BELOW_MOST ? (size + BELOW_SIZE + PAGE - 1) / PAGE * PAGE : 0;
}

static void unmap(struct bare_thread *thread)
{
	if (thread->memory)
		RAW2(munmap, thread->memory, thread->size);
	thread->memory = NULL;
}

/* All of it new, as the variables are to be zeros. */
static bool map(struct bare_thread *thread, size_t variables)
{
	unmap(thread);
	thread->size = PAGE + STACK_SIZE + variables + CONTROL_SIZE;
	long memory = RAW6(mmap, NULL, thread->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (memory < 0)
		return false;
	thread->memory = (char *)memory;
	RAW3(mprotect, memory, PAGE, PROT_NONE);
	return true;
}

static struct control *make_control(struct bare_thread *thread)
{
	struct control *control =
		(struct control *)(void *)(thread->memory + thread->size - CONTROL_SIZE);

	memcpy(control, thread_pointer(), sizeof(*control));
	control->self = control->descriptor = control;
	control->dynamic_variables = NULL;
	return control;
}

static int enter(void *argument)
{
	const struct bare_thread *thread = argument;

	thread->run();
	/* Not by way of libc, which may do more than that. */
	RAW1(exit, 0);
	return 0;
}

static bool start(struct bare_thread *thread)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	size_t variables = size_of_variables();

	if (variables == 0 || !map(thread, variables))
		return false;
	return libc()->clone(enter, thread->memory + PAGE + STACK_SIZE, flags, thread, &thread->id,
		       make_control(thread), &thread->id) > 0;
}

#endif

bool bare_thread_start(struct bare_thread *thread, void (*run)(void))
{
	/* It inherits them: no handler of the program's ever runs in it. */
	const uint64_t all = ~(SANITIZED ? SIGNALS_OF_LIBC : 0);
	uint64_t before = 0;
	int saved_errno = errno;

	thread->run = run;
	RAW4(rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	bool started = start(thread);
	RAW4(rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	errno = saved_errno;
	return started;
}

/* How often to look again, with the processor given up in between. */
#define PATIENCE 10000

/* The kernel takes it off the list of threads a little after it has said that it is over:
 * mm_release() and exit_notify() in do_exit(). */
static bool is_off_the_list(uint32_t id)
{
	int pid = (int)RAW0(getpid);

	for (int tries = 0; tries < PATIENCE; tries++) {
		if (RAW3(tgkill, pid, id, 0) == -ESRCH)
			return true;
		RAW0(sched_yield);
	}
	return false;
}

bool bare_thread_has_ended(struct bare_thread *thread)
{
	const struct timespec soon = {.tv_nsec = 5000000};
	uint32_t id = atomic_load(&thread->id);

	if (id == 0)
		return true;
	/* Not FUTEX_WAIT_PRIVATE: CLONE_CHILD_CLEARTID wakes as for memory that is shared. */
	RAW4(futex, &thread->id, FUTEX_WAIT, id, &soon);
	return atomic_load(&thread->id) != id && (SANITIZED || is_off_the_list(id));
}

HOT void bare_thread_after_fork_in_child(struct bare_thread *thread)
{
	atomic_store(&thread->id, 0);
#if !SANITIZED
	unmap(thread);
#endif
}
