/* For those who exec it: exit status 0 if none of the descriptors it was born with is a socket. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

int main(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	int sockets = 0;

	while (directory && (entry = readdir(directory))) {
		int fd = atoi(entry->d_name);
		struct stat status;

		sockets += fd > 2 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
	}
	return directory && !sockets ? 0 : 1;
}
