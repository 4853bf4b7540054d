/* Wrappers that are gone before the real function runs: tail_call.S.
 *
 * Each calls a hook with the six registers that hold the first arguments, puts them back as the
 * hook left them, and jumps to the function that the hook returned. So the real one sees the
 * caller's stack, return address and further arguments: dlopen() looks for its caller's RUNPATH,
 * execl() reads a list of any length, and the child of a vfork() returns where its parent will
 * return later. A hook must leave errno alone, and cannot answer the call itself.
 */
#pragma once

#define TAIL_CALL_HOOK(name) void *name(long *registers)

TAIL_CALL_HOOK(before_vfork);
TAIL_CALL_HOOK(before_execl);
TAIL_CALL_HOOK(before_execlp);
TAIL_CALL_HOOK(before_execle);
TAIL_CALL_HOOK(before_syscall);
TAIL_CALL_HOOK(before_dlopen);
TAIL_CALL_HOOK(before_dlmopen);

/* Of all in blockers.inc: registers[0] says which. */
TAIL_CALL_HOOK(blockers_before);
