/* Lists the descriptors it was born with: what a parent let slip shows here. */
#include "client.h"
#include <dirent.h>
#include <sys/stat.h>

static const char *kind_of(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return "closed";
	return S_ISSOCK(status.st_mode) ? "socket" : "other";
}

int main(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	while ((entry = readdir(directory))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(directory))
			continue;
		printf("%d: %s\n", fd, kind_of(fd));
	}
	closedir(directory);
	return 0;
}
