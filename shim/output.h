/* Writing to a descriptor of the program's, without any of the ways in which that can end it. */
#pragma once

#include <stddef.h>

/* Writes all of data, if the descriptor takes it. SIGPIPE and SIGXFSZ, which write(2) may raise, do
 * not reach the program. errno is left alone; safe in signal handlers. */
void output_write(int fd, const char *data, size_t len);
