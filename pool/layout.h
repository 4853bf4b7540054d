/* Where a function lies in the library's file: shim/layout.ld. Every process has the library, few
 * have sockets; so what every process runs lies together, and the rest where it is not even mapped
 * until it is called.
 */
#pragma once

/* Run by processes without sockets, in a file that is for the others. */
#define HOT __attribute__((hot))

/* Run only for a tracked descriptor, or by a setting or a mishap, in a file of those that every
 * process runs. Not inlined, as it would then lie where its caller does. */
#define COLD __attribute__((cold, noinline))
