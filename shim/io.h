/* The calls that move bytes. */
#pragma once

#include <sys/socket.h>

/* What a message passes to another process has a second holder: unix(7), SCM_RIGHTS. The caller
 * knows that all of the message can be read. */
void io_note_passed_descriptors(const struct msghdr *message);
