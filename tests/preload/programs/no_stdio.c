/* Started with 0, 1 and 2 closed, as some daemons are: PORT OUTPUT. */
#include "client.h"
#include <fcntl.h>

int main(int argc, char **argv)
{
	FILE *output;

	if (argc != 3)
		return 3;
	port = atoi(argv[1]);
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		if (fd != 0)
			return 4;
		request(fd, "GET", "/bytes/100");
		if (receive(fd, true).length != 100)
			return 5;
		if (close(fd))
			return 6;
	}
	output = fopen(argv[2], "w");
	if (!output)
		return 7;
	fprintf(output, "output is descriptor %d\n", fileno(output));
	fprintf(output, "1 closed: %d, 2 closed: %d\n", fcntl(1, F_GETFD), fcntl(2, F_GETFD));
	return fclose(output);
}
