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

from harness import claim, compare, expect, main, program  # noqa: E402  (through the line above)

LONG = os.environ.get("SPPOOL_LONG") == "1"
FIRST_SEED = int(os.environ.get("SPPOOL_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + (30 if LONG else 3))
STEPS = 5000 if LONG else 1500
HIDDEN = re.compile(rb"hidden: (\d+)\n")


def without_hidden(output):
    return HIDDEN.sub(b"", output)


def check_users(servers):
    """What one user connected, or parked, is never given to another."""
    for server in servers:
        for connection in server.log:
            users = {re.match(r"GET /echo/(\d+)-", asked)[1] for asked in connection.asked}
            expect(len(users) <= 1, f"of several users: {connection.asked}")


def check_hidden(kind, pooled):
    """What is hidden at the end is what the library says is parked: nothing was lost."""
    hidden = int(HIDDEN.search(pooled.stdout)[1])
    parked = sum(point["parked"] for point in pooled.stats["service_points"])
    # what was closed unseen has not been found out yet
    same = hidden <= parked if kind == "invisible" else hidden == parked
    expect(same, f"{hidden} hidden, {parked} parked")


def walk_once(kind, seed):
    argv = [program("../stress/stress-walk"), kind, str(seed), str(STEPS), "{0}", "{1}"]
    # with few parked, those that are not there any more are met sooner
    env = {"SP_MAX_PARKED": "3"} if seed % 2 else {}
    servers = ["keepalive", "keepalive"]
    _, pooled = compare(argv, servers, normalise=without_hidden, env=env)
    check_users(pooled.servers)
    if pooled.stats is None:  # written as a user who may not
        return 0
    check_hidden(kind, pooled)
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
