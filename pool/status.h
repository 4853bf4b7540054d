/* What the pool shows of itself on its status page (pool/status_page.h), if it has one, and serving
 * what others ask for there. The page is memory that others can write to: see there.
 *
 * The functions whose names end in _locked are called with the pool's lock held.
 */
#pragma once

#include "pool/status_page.h"

struct pool;
struct service_point;

struct status {
	_Atomic(struct status_page *) page; /* NULL: there is none */
	_Atomic uint32_t served;            /* the number of the last request */
	uint32_t writes;                    /* of sequence numbers */
	uint64_t rows_taken[STATUS_ROWS / 64];
	struct service_point *changed; /* .next_changed */
};

/* The page begins to show the pool; its memory, zeroed and of at least sizeof(struct status_page),
 * is the pool's for as long as the process lives; a forked child has none. */
void status_open(struct pool *pool, struct status_page *page, uint32_t pid);

/* For who reads it: the pool is off for good. No system call. */
void status_show_off(struct pool *pool);

/* This service point has changed, or is about to: status_show_locked() will show it. */
void status_note_locked(struct pool *pool, struct service_point *point);
void status_show_locked(struct pool *pool);

/* It is about to be no more. */
void status_forget_locked(struct pool *pool, struct service_point *point);

/* A real connection has come to be, of the call's connection. */
struct call;
void status_opened(struct pool *pool, const struct call *call);

/* Serves the request that has come meanwhile, if one has. Without the lock. */
void status_serve(struct pool *pool);
