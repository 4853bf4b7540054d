/* SP_STATS: what the pool did, as one line of JSON, when the program ends. */
#pragma once

#include <stdbool.h>

/* Remembers where to: a file's name, in which %p stands for the process id, or "-" for standard
 * output. Called once, at start; false if the name is too long. */
bool statistics_open(const char *where);

/* Writes them. A process that called no connect() writes only into a file in which nothing was
 * written before: it may be the shell that runs the program that matters, or a helper of it. */
void statistics_write(void);
