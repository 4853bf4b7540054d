/* dlopen(): plugins that would go past us.
 *
 * RTLD_DEEPBIND makes a plugin look for functions among its own libraries first, of which libc is
 * one, so what it connects is not seen. SP_SEE_PLUGINS=1 takes that flag away. It is no default, as
 * the flag is there to keep the symbols of a plugin apart from those of its host, and only the
 * user can know that they do not meet.
 */

#include "shim/plugins.h"
#include "shim/libc.h"
#include "shim/tail_call.h"

static _Atomic long mode_mask = -1;

void plugins_see(void)
{
	atomic_store(&mode_mask, ~(long)RTLD_DEEPBIND);
}

TAIL_CALL_HOOK(before_dlopen)
{
	registers[1] &= atomic_load_explicit(&mode_mask, memory_order_relaxed);
	return (void *)libc()->dlopen;
}

TAIL_CALL_HOOK(before_dlmopen)
{
	registers[2] &= atomic_load_explicit(&mode_mask, memory_order_relaxed);
	return (void *)libc()->dlmopen;
}
