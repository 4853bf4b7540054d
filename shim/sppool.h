/* sppool.h: for programs that do want to talk to libsppool, where it is.
 *
 * The library is preloaded, never linked, and may be absent. So these functions are weak: where
 * there is no library they are NULL, and sppool_is_present() says so before they are called.
 *
 *      if (sppool_is_present())
 *              sppool_set("www.contoso.com", 80, SPPOOL_CONNECTION_LIMIT, 4);
 *
 * (The linker must leave the question open until the program starts. It does in position
 * independent code, which is what compilers make today; with -no-pie use dlsym(RTLD_DEFAULT,
 * "sppool_set").)
 *
 * After System.Net.ServicePointManager. A service point is one host and port. The host is the name
 * that the program gives to getaddrinfo(3), in upper or lower case, or, where it connects to an
 * address without asking for a name, that address ("192.0.2.1", "2001:db8::1"). What is set for a
 * service point is kept for as long as the process lives, also where the service point itself is
 * recycled meanwhile. A forked child has what its parent had set, and no service points.
 *
 * Every function returns 0 or more, or an error as -errno: -EINVAL for a host, port, setting or
 * value that is not allowed, and nothing is changed then; -ENOMEM; -EAGAIN where the pool could not
 * be locked, as in a signal handler that interrupted it; -ENOSYS where the pool is off in this
 * process. errno is left alone. All are thread-safe and safe in signal handlers.
 */
#ifndef SPPOOL_H
#define SPPOOL_H

#ifdef __cplusplus
extern "C" {
#endif

#ifndef SPPOOL_API
#define SPPOOL_API __attribute__((weak))
#endif

/* Milliseconds, or numbers. */
enum sppool_setting {
	SPPOOL_CONNECTION_LIMIT,   /* 1 to 2147483647, which is no limit */
	SPPOOL_MAX_IDLE_TIME,      /* -1: never expire; 0: never reuse */
	SPPOOL_LEASE_TIMEOUT,      /* -1: no limit; 0: one use each */
	SPPOOL_MAX_USES,           /* 0: no limit */
	SPPOOL_LIMIT_WAIT_TIMEOUT, /* then a connect() that waits fails with ETIMEDOUT */
	SPPOOL_MAX_SERVICE_POINTS, /* 0: no cap; of the manager only */
	SPPOOL_SETTING_COUNT
};

struct sppool_service_point {
	unsigned size; /* sizeof(struct sppool_service_point), from the caller */
	int connection_limit;
	int max_idle_time, lease_timeout, limit_wait_timeout; /* milliseconds */
	int max_uses;
	unsigned current_connections; /* in use and parked */
	unsigned parked, waiting;
	unsigned long long opened, reused;
	/* When it was in use last, in milliseconds of CLOCK_BOOTTIME; 0: it is in use now. */
	unsigned long long idle_since;
};

/* FindServicePoint(): the service point of this host and port, made if there is none. -ENOMEM:
 * there are SP_MAX_SERVICE_POINTS, and all of them are in use. */
SPPOOL_API int sppool_find(const char *host, int port, struct sppool_service_point *point);

/* Sets one of its settings, and finds it first. A lower limit closes idle connections beyond it at
 * once, and those in use when they are released; a shorter idle time counts the time that
 * connections have been idle already. */
SPPOOL_API int sppool_set(const char *host, int port, enum sppool_setting setting, int value);

/* CloseConnectionGroup(): idle connections are closed at once, those in use when they are released.
 * 1: there was such a service point; 0: there was none. */
SPPOOL_API int sppool_close(const char *host, int port);

/* ServicePointManager.DefaultConnectionLimit and the like, for service points that are made later,
 * and SPPOOL_MAX_SERVICE_POINTS. */
SPPOOL_API int sppool_set_default(enum sppool_setting setting, int value);
SPPOOL_API int sppool_get_default(enum sppool_setting setting, int *value);

/* "0.1.0", of the library. */
SPPOOL_API const char *sppool_version(void);

static inline int sppool_is_present(void)
{
	int (*volatile set)(const char *, int, enum sppool_setting, int) = sppool_set;

	return set != 0;
}

#ifdef __cplusplus
}
#endif

#endif
