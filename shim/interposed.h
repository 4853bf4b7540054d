/* Declares, and so exports, the rows of interposed.inc: everything else in the library is hidden
 * (-fvisibility=hidden).
 */
#pragma once

#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#define EXPORTED __attribute__((visibility("default")))

/* Libc's headers attach things to some of these that a second declaration must not repeat. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#define INTERPOSED(returns, name, parameters) EXPORTED returns name parameters;
#include "shim/interposed.inc"
#undef INTERPOSED
#pragma GCC diagnostic pop
