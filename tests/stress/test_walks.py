#!/usr/bin/python3
"""Random walks over descriptors, limits, unseen calls, stdio and users: see stress-walk.c.

A walk says itself what is wrong with its numbers and bytes; here it is compared with the same walk
without the library, and what is left hidden at its end with what the library says is parked.
SPPOOL_LONG=1 takes more walks, and SPPOOL_SEED=N others than the usual ones.
"""

import functools
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "preload"))

from harness import ROOT, claim, compare, expect, main, program  # noqa: E402  (as above)

os.environ.setdefault("SPPOOL_PROGRAMS", str(ROOT / "build" / "tests" / "stress"))

LONG = os.environ.get("SPPOOL_LONG") == "1"
FIRST_SEED = int(os.environ.get("SPPOOL_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + (100 if LONG else 3))
STEPS = 5000 if LONG else 1500
HIDDEN = re.compile(rb"hidden: (\d+)\n")


def without_hidden(output):
    return HIDDEN.sub(b"", output)


def walk_once(kind, seed):
    argv = [program("stress-walk"), kind, str(seed), str(STEPS), "{0}", "{1}"]
    _, pooled = compare(argv, ["keepalive", "keepalive"], normalise=without_hidden)
    if pooled.stats is None:  # written as a user who may not, or under a limit that is too low
        return 0
    hidden = int(HIDDEN.search(pooled.stdout)[1])
    parked = sum(point["parked"] for point in pooled.stats["service_points"])
    expect(hidden <= parked, f"seed {seed}: {hidden} hidden, {parked} parked: some are lost")
    return pooled.stats["reused"]


def walk(kind):
    reused = 0
    for seed in SEEDS:
        try:
            reused += walk_once(kind, seed)
        except Exception as problem:
            problem.args = (f"{kind}, seed {seed}, {STEPS} steps: {problem}",)
            raise
    expect(reused > 10 * len(SEEDS), f"only {reused} connections were reused in all")


for kind in ("descriptors", "limits", "invisible", "stdio", "environment"):
    claim(f"{len(SEEDS)} walks: {kind}")(functools.partial(walk, kind))


if __name__ == "__main__":
    main()
