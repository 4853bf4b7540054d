/* Requests: what an operator asks of a pool while it is in use, as one line of text.
 *
 *      set www.contoso.com:80 limit=4 idle=5000      service points that there are
 *      default limit=4                               those that are still to come
 *      cap 100                                       SP_MAX_SERVICE_POINTS
 *      flush www.contoso.com:80                      closes idle ones, busy ones at release
 *
 * Patterns, keys and values are those of rules (pool/rules.h). What is set for a pattern holds for
 * service points that are made later, too, if there was one that it was set for.
 */
#pragma once

#include <stddef.h>

struct pool;

#define REQUEST_PROBLEM_SIZE 192

/* Does what the text asks for. The result is how many service points (cap, flush: connections that
 * were closed) it was about, or -errno: then *problem, of REQUEST_PROBLEM_SIZE bytes, is a sentence
 * of printable ASCII, terminated. The text need not end with a 0, and may be anything. */
long request_serve(struct pool *pool, const char *text, size_t len, char *problem);
