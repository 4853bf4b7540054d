#!/usr/bin/python3
"""Every function of the library's table, called in every situation: what it gives, what it does to
errno, and whether it is a cancellation point. A function for which there is no call does not
compile (programs/calls.h)."""

import functools

from harness import claim, compare, expect, main, need_plain_library, program

# situation of calls.h, parked and reused at least
SITUATIONS = [
    ("untracked", 0, 0),
    ("untracked_beside_parked", 100, 90),
    ("tracked", 1, 1),
    ("tracked_beside_parked", 100, 90),
    ("reused", 200, 180),
    ("closed", 100, 90),
]


def walk(name, situation, parked, reused, *more, **options):
    if name == "cancel":
        need_plain_library()  # ASan's marks stay on the stack of a thread that is cancelled
    argv = [program(name), situation, "{0}", "{scratch}", *more]
    plain, pooled = compare(argv, **options)
    expect(plain.requests == pooled.requests, f"{plain.requests} requests, {pooled.requests} with")
    if parked:
        for verb, least in ("parked", parked), ("reused", reused):
            expect(pooled.stats[verb] >= least, f"{verb} {least} times at least: {pooled.stats}")


for situation, *counts in SITUATIONS:
    claim(f"every function's result and errno: {situation}")(
        functools.partial(walk, "errno", situation, *counts)
    )
    claim(f"every function with a cancellation pending: {situation}")(
        functools.partial(walk, "cancel", situation, *counts)
    )

for situation in "tracked", "reused":
    claim(f"what waits for bytes, cancelled while it does: {situation}")(
        functools.partial(walk, "cancel", situation, 0, 0, "while waiting")
    )

claim("every function before any constructor")(functools.partial(walk, "errno", "early", 0, 0))
claim("every function with the library off")(
    functools.partial(walk, "errno", "tracked", 0, 0, env={"SP_DISABLE": "1"})
)


if __name__ == "__main__":
    main()
