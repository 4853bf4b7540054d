/* Several connections, each with several requests: PORT CONNECTIONS REQUESTS. */
#include "client.h"

int main(int argc, char **argv)
{
	if (argc != 4)
		return 3;
	port = atoi(argv[1]);
	for (int i = 0; i < atoi(argv[2]); i++) {
		int fd = dial();

		for (int j = 0; j < atoi(argv[3]); j++)
			fetch(fd, j % 2 ? "/chunked/2500" : "/bytes/1000");
		report("close", close(fd));
	}
	return 0;
}
