/* RESP, the protocol of redis (https://redis.io/docs/latest/develop/reference/protocol-spec/), in
 * its versions 2 and 3: exact framing of commands and replies, one of these for each of those, and
 * what the commands do to the connection. */
#pragma once

#include "pool/tracker.h"

extern const struct tracker resp_tracker;
