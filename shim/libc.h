/* The real functions, behind those that this library answers: libc()->close(fd). The next library
 * in the order of look-up, to be exact: another preloaded one may come before libc.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "shim/interposed.h"

struct libc {
#define INTERPOSED(returns, name, parameters) returns(*name) parameters;
#include "shim/interposed.inc"
#undef INTERPOSED
};

extern struct libc libc_functions;
extern _Atomic bool libc_is_loaded;

/* Looks all of them up. Idempotent; several threads may do it at a time. */
void libc_load(void);

/* Other libraries' constructors run before ours, so any call may be the first. */
EARLY static inline const struct libc *libc(void)
{
	if (__builtin_expect(!atomic_load_explicit(&libc_is_loaded, memory_order_acquire), 0))
		libc_load();
	return &libc_functions;
}
