/* Which descriptor numbers are open that this program did not open: those that a library hides. */
#ifndef NUMBERS_H
#define NUMBERS_H

#include <dirent.h>
#include <stdlib.h>

#define MAX_HIDDEN 4096

/* The open numbers from first on, in no order; the one that reads the directory is not counted. */
static inline size_t open_numbers(int first, int *found)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t n = 0;

	if (!directory)
		return 0;
	while ((entry = readdir(directory))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd >= first && fd != dirfd(directory) &&
			n < MAX_HIDDEN)
			found[n++] = fd;
	}
	closedir(directory);
	return n;
}

#endif
