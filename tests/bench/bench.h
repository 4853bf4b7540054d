/* What the benchmarks share. */
#pragma once

#include <err.h>
#include <time.h>

#define REQUEST  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define RESPONSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static inline double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline void check(int failed, const char *what)
{
	if (failed)
		err(1, "%s", what);
}
