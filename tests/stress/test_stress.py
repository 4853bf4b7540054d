#!/usr/bin/python3
"""That nothing but the number of connections changes, however hard a program is to itself.

Each program hammers one echo-server, which is never run under the library and sees whether two
users had one connection; each counts its own descriptors and compares every byte. A claim's rounds
are those of scripts/test; SPPOOL_LONG=1 makes them many, a sanitizer (SPPOOL_SANITIZER) few.
"""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "preload"))
os.environ.setdefault("SPPOOL_PROGRAMS", str(ROOT / "build" / "tests" / "stress"))

from harness import (  # noqa: E402  (found through the lines above)
    Failure,
    check_same,
    claim,
    expect,
    library,
    main,
    need,
    program,
    run_alone,
)

LONG = os.environ.get("SPPOOL_LONG") == "1"
SANITIZER = os.environ.get("SPPOOL_SANITIZER", "")
COMPILER = os.environ.get("SPPOOL_COMPILER", "gcc")
TIMEOUT = 900 if LONG else 120  # seconds; ends a hung program, decides nothing else
HIGH = re.compile(r"^high descriptors: (\d+)\n", re.MULTILINE)


class EchoServer:
    """tests/stress/echo-server.c; what it saw is there once it has stopped."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [program("echo-server"), "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.ports = self._process.stdout.readline().split()
        return self

    def __exit__(self, *_):
        stdout, self.complaints = self._process.communicate()
        saw = json.loads(stdout)
        self.connections = saw["connections"]
        self.requests = saw["requests"]
        self.mixed = saw["mixed"]
        self.malformed = saw["malformed"]
        self.last = saw["last"]  # the connections of the last requests


def run(argv, rounds, preload):
    # Without the harness's witness: these programs count for themselves, and some exec thousands
    # of others.
    alone = {"LD_PRELOAD": library() if preload else ""}
    with EchoServer() as server:
        run = run_alone([*argv, *server.ports, str(rounds)], preload, alone, timeout=TIMEOUT)
    run.servers = [server]
    return run


def take_high(run):
    """How many descriptors with high numbers the program had at the end; not to be compared."""
    found = HIGH.search(run.stderr)
    expect(found, f"the program did not come to its end\n{run}")
    run.stderr = HIGH.sub("", run.stderr)
    return int(found[1])


def check_alone(run, who):
    """What must hold for each run by itself."""
    server = run.servers[0]
    expect(run.status == 0 and not run.stderr, f"{who}: exit status {run.status}\n{run}")
    expect(
        server.mixed == server.malformed == 0,
        f"{who}: {server.mixed} requests on another's connection, {server.malformed} malformed"
        f"\n{server.complaints}",
    )


def stress(name, scenario, rounds, before=()):
    argv = [*before, program(f"stress-{name}"), scenario]
    plain, pooled = run(argv, rounds, False), run(argv, rounds, True)
    high = take_high(plain), take_high(pooled)
    check_alone(plain, "without the library")
    check_alone(pooled, "with the library")
    check_same(plain, pooled)
    expect(high[0] == 0, f"without the library: {high[0]} descriptors with high numbers")
    parked = sum(point["parked"] for point in pooled.stats["service_points"])
    expect(high[1] == parked, f"{high[1]} hidden descriptors, but {parked} parked\n{pooled.stats}")
    expect(len(set(plain.servers[0].last)) == 3, "without the library connections are reused")
    expect(
        len(set(pooled.servers[0].last)) == 1,
        f"what is left of the pool reuses nothing\n{pooled.stats}",
    )


# claim, program, scenario, rounds: of scripts/test, of its long form, under a sanitizer
CLAIMS = [
    ("children of every kind, while 8 threads hammer", "fork", "storm", 10000, 60000, 300),
    ("handlers that live on connections of their own", "signals", "own", 3000, 60000, 2000),
    ("handlers that meddle with the connection in use", "signals", "shared", 3000, 60000, 2000),
    ("handlers that take the number in use", "signals", "closed", 4000, 60000, 2000),
    ("threads cancelled one at a time", "cancel", "alone", 1000, 20000, 300),
    ("threads cancelled in a storm", "cancel", "storm", 1000, 20000, 300),
    ("one thread reads, one writes, one closes", "numbers", "one_each", 2000, 40000, 500),
    ("a number closed under a thread that waits", "numbers", "closed_under", 500, 10000, 300),
    ("a number replaced under a thread that waits", "numbers", "replaced_under", 500, 10000, 300),
    ("many threads close one number", "numbers", "many_closers", 2000, 40000, 500),
    ("ranges closed while others open", "numbers", "ranges", 2000, 30000, 500),
    ("unused numbers closed while others open", "numbers", "ranges_of_nothing", 2000, 40000, 500),
    ("what a parent and its child share is nobody else's", "shared", "in_turns", 420, 8400, 42),
]

for text, name, scenario, short, long, sanitized in CLAIMS:
    rounds = (sanitized * 5 if LONG else sanitized) if SANITIZER else long if LONG else short
    claim(text)(functools.partial(stress, name, scenario, rounds))


# Valgrind 3.19 gives up on what clang 14 says to debuggers, and runs nothing that is sanitized.
if COMPILER == "gcc" and not SANITIZER:

    # Whether the program's memory is there is asked of whole words, whatever is beside its bytes.
    PROBES = """{
        shim/memory.c
        Memcheck:Param
        rt_sigprocmask(set)
        ...
        obj:*/libsppool.so
    }
    """

    @claim("what a parent and its child share, under valgrind")
    def valgrind():
        with tempfile.NamedTemporaryFile("r", prefix="sppool-test-") as log, \
                tempfile.NamedTemporaryFile("w", prefix="sppool-test-") as suppressions:
            suppressions.write(PROBES)
            suppressions.flush()
            # What it says does not go where the program's own words go.
            tool = [need("valgrind"), "-q", "--error-exitcode=99", f"--log-file={log.name}",
                    f"--suppressions={suppressions.name}"]
            try:
                stress("shared", "in_turns", 21, before=tool)
            except Failure as failure:
                raise Failure(f"{failure}\nvalgrind: {log.read()}") from None


if __name__ == "__main__":
    main()
