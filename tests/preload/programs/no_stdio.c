/* Started with 0, 1 and 2 closed, as some daemons are: PORT OUTPUT. */
#include "client.h"
#include <fcntl.h>

/* One connection on each of the three, so that whatever is written there is no part of it. */
static int visit_on_all(void)
{
	for (int number = 0; number < 3; number++) {
		if (dial() != number || !request(number, "GET", "/bytes/100"))
			return 4;
	}
	for (int number = 0; number < 3; number++) {
		if (receive(number, true).length != 100)
			return 5;
		if (close(number))
			return 6;
	}
	return 0;
}

int main(int argc, char **argv)
{
	FILE *output;

	if (argc != 3)
		return 3;
	port = atoi(argv[1]);
	for (int i = 0; i < 3; i++) {
		int problem = visit_on_all();

		if (problem)
			return problem;
	}
	output = fopen(argv[2], "a");
	if (!output)
		return 7;
	fprintf(output, "output is descriptor %d\n", fileno(output));
	fprintf(output, "1 closed: %d, 2 closed: %d\n", fcntl(1, F_GETFD), fcntl(2, F_GETFD));
	fflush(output);
	/* Whatever is written there by others would stand in the output. */
	if (open(argv[2], O_WRONLY | O_APPEND) != 1 || open(argv[2], O_WRONLY | O_APPEND) != 2)
		return 8;
	return 0;
}
