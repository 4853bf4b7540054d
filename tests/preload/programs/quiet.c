/* Says what it has to say by its exit status alone: PORT COUNT. */
#include "client.h"

int main(int argc, char **argv)
{
	if (argc != 3)
		return 3;
	port = atoi(argv[1]);
	for (int i = atoi(argv[2]); i > 0; i--) {
		int fd = dial();

		if (!request(fd, "GET", "/bytes/10") || receive(fd, true).length != 10)
			return 4;
		if (close(fd))
			return 5;
	}
	return 0;
}
