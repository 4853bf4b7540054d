/* A library with a RUNPATH of $ORIGIN/sub, where it finds what nobody else would. */
#include <dlfcn.h>
#include <stddef.h>

__attribute__((visibility("default"))) void *outer_open(const char *name, int flags, int apart);

void *outer_open(const char *name, int flags, int apart)
{
	/* Not as the last act: the loader must see that this library is the caller. */
	void *volatile opened = apart ? dlmopen(LM_ID_NEWLM, name, flags) : dlopen(name, flags);

	return opened;
}
