/* Runs files, and the files in directories, through a fuzz target: for compilers without libFuzzer,
 * and to keep what fuzzing found as a test. Fails if there was nothing to run. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static unsigned inputs;

static void run_file(const char *path, size_t size)
{
	/* Not a byte more, so that the address sanitizer sees what is read too far. */
	uint8_t *data = malloc(size);
	FILE *file = fopen(path, "rb");

	MUST(file && (data || !size));
	MUST(fread(data, 1, size, file) == size);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	inputs++;
}

static void run(const char *path)
{
	struct dirent **entries;
	struct stat status;

	MUST(stat(path, &status) == 0);
	if (!S_ISDIR(status.st_mode)) {
		run_file(path, status.st_size);
		return;
	}

	const int count = scandir(path, &entries, NULL, alphasort);

	MUST(count >= 0);
	for (int i = 0; i < count; i++) {
		char *child;

		if (entries[i]->d_name[0] != '.') {
			MUST(asprintf(&child, "%s/%s", path, entries[i]->d_name) > 0);
			run(child);
			free(child);
		}
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("%u inputs\n", inputs);
	return inputs ? 0 : 1;
}
