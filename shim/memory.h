/* The program's memory, of which nothing is known. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* May these bytes be read? The kernel says EFAULT of memory that is not there, and so must we. */
bool memory_is_readable(const void *memory, size_t len);
