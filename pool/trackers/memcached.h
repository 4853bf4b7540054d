/* memcached: the text protocol with its meta commands, and the binary one
 * (https://github.com/memcached/memcached/blob/master/doc/protocol.txt and
 * https://github.com/memcached/memcached/wiki/BinaryProtocolRevamped). */
#pragma once

#include "pool/tracker.h"

extern const struct tracker memcached_tracker;
