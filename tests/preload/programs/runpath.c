/* Whose RUNPATH, and whose $ORIGIN, counts for dlopen(): OUTER, a library that loads others. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*outer_open)(const char *name, int flags, int apart);

/* Messages name files in full; only the part that is the same everywhere is printed. */
static void show(const char *who, const char *name, void *opened)
{
	int (*inner)(void) = opened ? (int (*)(void))dlsym(opened, "inner") : NULL;
	const char *error = opened ? NULL : dlerror();
	const char *reason = error ? strchr(error, ':') : NULL;

	printf("%s, %s: %d%s\n", who, name, inner ? inner() : -1, reason ? reason : "");
}

static void try(const char *name, int flags)
{
	void *opened = outer_open(name, flags, 0);

	show("the library", name, opened);
	if (opened)
		dlclose(opened);
	opened = dlopen(name, flags);
	show("the program", name, opened);
	if (opened)
		dlclose(opened);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"libinner.so", "$ORIGIN/sub/libinner.so",
		"${ORIGIN}/sub/libinner.so", "libnone.so"};
	static const int flags[] = {RTLD_NOW, RTLD_LAZY, RTLD_NOW | RTLD_DEEPBIND,
		RTLD_LAZY | RTLD_DEEPBIND | RTLD_LOCAL, RTLD_NOW | RTLD_DEEPBIND | RTLD_NOLOAD};
	void *outer = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND) : NULL;
	void *opened;

	if (!outer) {
		printf("%s\n", dlerror());
		return 1;
	}
	outer_open = (void *(*)(const char *, int, int))dlsym(outer, "outer_open");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t j = 0; j < sizeof(flags) / sizeof(flags[0]); j++)
			try(names[i], flags[j]);
	}
	show("apart", "libinner.so", outer_open("libinner.so", RTLD_NOW, 1));
	show("apart, deep", "libinner.so", outer_open("libinner.so", RTLD_NOW | RTLD_DEEPBIND, 1));
	printf("the program itself: %d\n", dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND) != NULL);
	opened = outer_open("libinner.so", 0, 0);
	show("no such flag", "libinner.so", opened);
	return 0;
}
