/* Declares, and so exports, the rows of interposed.inc: everything else in the library is hidden
 * (-fvisibility=hidden).
 */
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* May run before a sanitizer's runtime, in which its own start calls us. */
#define EARLY __attribute__((no_sanitize("address")))

/* Libc's headers attach things to some of these that a second declaration must not repeat. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#define INTERPOSED(returns, name, parameters) EXPORTED returns name parameters;
#include "shim/interposed.inc"
#undef INTERPOSED
#pragma GCC diagnostic pop

/* Defines an alias of the table, beside its function. */
#define INTERPOSED_AS(function, name)                                                              \
	EXPORTED extern __typeof__(function) name __attribute__((alias(#function)))
