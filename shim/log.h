/* Lines on standard error: `sppool[pid]: ...`. Nothing is ever written that was not asked for,
 * save that a setting has a bad value.
 *
 * Written in one write(2), without stdio; and only while descriptor 2 is still the file that it was
 * at start: a program may have closed it, and have a socket or a database there now.
 */
#pragma once

#include <stdbool.h>

/* Are lines of this level asked for? */
bool log_wants(int level);

/* At start, once. */
void log_open(int level);

/* A line of up to 240 bytes, put together from strings up to a NULL, if level is asked for. errno
 * is left alone; safe in signal handlers. */
void log_line(int level, ...) __attribute__((sentinel));

/* The same, asked for or not. */
void log_always(const char *first, ...) __attribute__((sentinel));
