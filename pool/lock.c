#include "pool/lock.h"

#include "pool/layout.h"

#define WAITED_FOR (1U << 31)

#define SPINS       100
#define WAIT_MS     100
#define PATIENCE_MS 1000

static bool try_acquire(struct lock *lock, uint32_t value)
{
	uint32_t nobody = 0;

	return atomic_compare_exchange_strong_explicit(
		&lock->word, &nobody, value, memory_order_acquire, memory_order_relaxed);
}

static bool wait_for(struct lock *lock, const struct pool_os *os, uint32_t self)
{
	uint64_t deadline = os->now_ms() + PATIENCE_MS;

	do {
		/* Taken with the mark kept, as others may still wait: at worst one wake too many.
		 */
		if (try_acquire(lock, self | WAITED_FOR))
			return true;
		uint32_t holder = atomic_load_explicit(&lock->word, memory_order_relaxed);
		if (holder == 0)
			continue;
		if (holder & WAITED_FOR ||
			atomic_compare_exchange_strong_explicit(&lock->word, &holder,
				holder | WAITED_FOR, memory_order_relaxed, memory_order_relaxed))
			os->wait(&lock->word, holder | WAITED_FOR, WAIT_MS);
	} while (os->now_ms() < deadline);
	/* One wait may have taken longer than all of them were to take. */
	if (try_acquire(lock, self | WAITED_FOR))
		return true;
	atomic_store_explicit(&lock->stuck, true, memory_order_relaxed);
	return false;
}

LOCK_ATTRIBUTE(no_thread_safety_analysis)
HOT bool lock_acquire(struct lock *lock, const struct pool_os *os)
{
	uint32_t self = os->thread_id();

	if (atomic_load_explicit(&lock->broken, memory_order_relaxed))
		return false;
	for (int spins = 0; spins < SPINS; spins++) {
		if (try_acquire(lock, self))
			return true;
		uint32_t holder = atomic_load_explicit(&lock->word, memory_order_relaxed);
		if ((holder & ~WAITED_FOR) == self)
			return false;
	}
	if (atomic_load_explicit(&lock->stuck, memory_order_relaxed))
		return false;
	return wait_for(lock, os, self);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis)
HOT void lock_release(struct lock *lock, const struct pool_os *os)
{
	if (atomic_load_explicit(&lock->stuck, memory_order_relaxed))
		atomic_store_explicit(&lock->stuck, false, memory_order_relaxed);
	uint32_t was = atomic_exchange_explicit(&lock->word, 0, memory_order_release);

	if (was & WAITED_FOR)
		os->wake(&lock->word);
}

HOT void lock_reset(struct lock *lock)
{
	atomic_store(&lock->word, 0);
	atomic_store(&lock->broken, false);
	atomic_store(&lock->stuck, false);
}

void lock_break(struct lock *lock)
{
	atomic_store_explicit(&lock->broken, true, memory_order_relaxed);
}
