/* A connection per request: METHOD PORT PATH COUNT. */
#include "client.h"

int main(int argc, char **argv)
{
	if (argc != 5)
		return 3;
	port = atoi(argv[2]);
	for (int i = 0; i < atoi(argv[4]); i++) {
		int fd = dial();

		if (!strcmp(argv[1], "POST"))
			send_text(fd, "POST /post HTTP/1.1\r\nHost: loopback\r\n"
				      "Content-Length: 7\r\n\r\npayload");
		else
			request(fd, argv[1], argv[3]);
		show(argv[1], receive(fd, strcmp(argv[1], "HEAD") != 0));
		report("close", close(fd));
	}
	return 0;
}
