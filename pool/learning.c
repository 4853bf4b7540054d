#include "pool/learning.h"

#include <stddef.h>

void learning_death(struct learning *learning, uint32_t idle_ms, uint64_t now_ms)
{
	uint32_t keeps = (uint32_t)((uint64_t)idle_ms * 4 / 5);
	uint32_t known = learning_strict_ms(learning, now_ms);
	uint64_t last = atomic_load_explicit(&learning->died_ms, memory_order_relaxed);

	/* It is not 0, which would be unknown; and a connection that is parked and taken in the
	 * same millisecond is not too old. */
	if (keeps == 0)
		keeps = 1;
	if (known == 0)
		atomic_store_explicit(&learning->deaths, 0, memory_order_relaxed);
	if (known == 0 || now_ms >= last + LEARNING_MOMENT_MS) {
		atomic_store_explicit(&learning->died_ms, now_ms, memory_order_relaxed);
		atomic_fetch_add_explicit(&learning->deaths, 1, memory_order_relaxed);
	}
	if (known == 0 || keeps < known)
		atomic_store_explicit(&learning->keeps_ms, keeps, memory_order_relaxed);
	atomic_store_explicit(
		&learning->keeps_until_ms, now_ms + LEARNING_KEEPS_MS, memory_order_relaxed);
}

bool learning_failure(struct learning *learning, uint64_t now_ms)
{
	uint32_t length = atomic_load_explicit(&learning->quarantine_ms, memory_order_relaxed);

	/* Those that were under way when it began say nothing new. */
	if (learning_is_quarantined(learning, now_ms))
		return false;
	length = length < LEARNING_QUARANTINE_FIRST ? LEARNING_QUARANTINE_FIRST : length;
	atomic_store_explicit(
		&learning->quarantined_until_ms, now_ms + length, memory_order_relaxed);
	length =
		length * 2 > LEARNING_QUARANTINE_LONGEST ? LEARNING_QUARANTINE_LONGEST : length * 2;
	atomic_store_explicit(&learning->quarantine_ms, length, memory_order_relaxed);
	return true;
}

void learning_success(struct learning *learning, uint32_t idle_ms)
{
	uint32_t length = atomic_load_explicit(&learning->quarantine_ms, memory_order_relaxed);
	uint32_t keeps = atomic_load_explicit(&learning->keeps_ms, memory_order_relaxed);

	if ((uint64_t)idle_ms * 4 / 5 > keeps)
		atomic_store_explicit(&learning->deaths, 0, memory_order_relaxed);

	if (length > 0)
		atomic_store_explicit(&learning->quarantine_ms, length / 2, memory_order_relaxed);
}

uint32_t learning_strict_ms(const struct learning *learning, uint64_t now_ms)
{
	uint32_t keeps = atomic_load_explicit(&learning->keeps_ms, memory_order_relaxed);

	if (keeps == 0 ||
		now_ms >= atomic_load_explicit(&learning->keeps_until_ms, memory_order_relaxed))
		return 0;
	return keeps;
}

uint32_t learning_keeps_ms(const struct learning *learning, uint64_t now_ms)
{
	bool is_habit =
		atomic_load_explicit(&learning->deaths, memory_order_relaxed) >= LEARNING_DEATHS;

	return is_habit ? learning_strict_ms(learning, now_ms) : 0;
}

bool learning_is_quarantined(const struct learning *learning, uint64_t now_ms)
{
	return now_ms < atomic_load_explicit(&learning->quarantined_until_ms, memory_order_relaxed);
}

struct learned learning_learned(const struct learning *learning, uint64_t now_ms)
{
	return (struct learned){
		.keeps_ms = learning_strict_ms(learning, now_ms),
		.is_habit = learning_keeps_ms(learning, now_ms) > 0,
		.keeps_until_ms =
			atomic_load_explicit(&learning->keeps_until_ms, memory_order_relaxed),
		.quarantined_until_ms =
			atomic_load_explicit(&learning->quarantined_until_ms, memory_order_relaxed),
	};
}
