/* Whatever it is: the user has said in a rule that its connections have no state (proto=raw). */
#pragma once

#include "pool/tracker.h"

extern const struct tracker raw_tracker;
