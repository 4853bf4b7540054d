#!/usr/bin/python3
"""That reuse never costs a request, whatever the server does: a claim for each of its faults.

A little of what scripts/test --faults N does a lot of; SPPOOL_LONG=1 makes it more.
"""

import concurrent.futures
import functools
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "preload"))
sys.path.insert(0, str(ROOT / "tests" / "faults"))

import matrix  # noqa: E402  (found through the lines above)
from harness import Failure, claim, expect, library, main  # noqa: E402

LONG = os.environ.get("SPPOOL_LONG") == "1"
REQUESTS = 3600 if LONG else 160
DEMONSTRATED = 20000 if LONG else 2000
SEED = int(os.environ.get("SPPOOL_SEED", "1"))
KINDS = {mode.word: mode.kind for mode in matrix.modes()}


def try_mode(place, mode, chosen, requests):
    matrix.LIBRARY = library()
    with concurrent.futures.ThreadPoolExecutor(matrix.JOBS) as executor:
        return matrix.try_mode(place, mode, chosen, requests, SEED, KINDS, executor)


def check(verdict):
    if verdict.bad:
        raise Failure("\n".join([matrix.heading(), matrix.row("", verdict), *verdict.complaints]))


def mode_costs_nothing(place, mode):
    check(try_mode(place, mode, matrix.variants(), REQUESTS))


for number, one in enumerate(matrix.modes()):
    claim(f"{one.word}: {one.what}")(functools.partial(mode_costs_nothing, number, one))


@claim("a server that closes idle connections at random moments within 30 ms: the demonstration")
def demonstration():
    mode = next(mode for mode in matrix.modes() if mode.word == "idle_close")
    chosen = [variant for variant in matrix.variants() if variant.threads == 8]
    verdict = try_mode(0, mode, chosen, DEMONSTRATED)
    print("# {requests} requests: {errors_without} errors without the library, {above} with it, "
          "and {lost} that may not be repeated were under way; {connections_without} connections "
          "without, {connections_with} with; {replayed} replays, {slipped_in} connections slipped "
          "in".format_map(verdict))
    check(verdict)
    expect(verdict["errors_without"] == 0, "errors without the library")
    expect(verdict["connections_with"] < verdict["connections_without"] / 2, "hardly any reuse")


if __name__ == "__main__":
    main()
