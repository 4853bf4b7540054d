#!/usr/bin/python3
"""That threads, signals, cancellation and fork change nothing but the number of connections."""

import functools
import os

import stores
from harness import claim, compare, expect, main, opened, program


def threads(scenario, n_threads, n_requests, **options):
    argv = [program("threads"), scenario, "{0}", str(n_threads), str(n_requests)]
    return compare(argv, **options)


@claim("8 threads with 200 requests each open at most 8 connections")
def eight():
    opened(threads("plain", 8, 200), 1600, 8)


@claim("32 threads with 20 requests each open at most 32 connections")
def thirty_two():
    opened(threads("plain", 32, 20), 640, 32)


@claim("8 threads, while 4 others open and close files, reuse nearly always")
def among_files():
    # A file that takes a number in the instant between its close() and the table's forgetting it
    # costs that connection, never more.
    opened(threads("among_files", 8, 100), 800, 80)


@claim("50 forks while 8 threads hammer")
def forking():
    _, pooled = threads("forking", 8, 50)
    for connection in pooled.log:
        owners = {"99-" in asked for asked in connection.asked}
        expect(len(owners) <= 1, f"parent's and child's: {connection.asked}")


@claim("threads cancelled wherever they are leave no lock held")
def cancelled():
    threads("cancelled", 8, 20, descriptors_vary="a thread cancelled in between does not close")


@claim("8 threads close one number: one close() succeeds")
def closing_together():
    threads("closing_together", 8, 100)


@claim("8 threads that leave states on connections to redis: none sees another's, or its answers")
def states():
    stores.concurrent(8, 500)


# claim, scenario of races; each prints what went wrong, and without the library that is nothing
RACES = [
    ("two threads close one number, and one of them connects at once", "closed_by_two"),
    ("dup2() onto a number whose connect() is under way: it is that file", "dup2_over_connect"),
    ("a file opened on a number whose connect() is under way stays there",
     "close_range_over_connect"),
    ("a connection that a forked child holds is not handed out", "while_forking"),
    ("a connection that a spawned program holds is not handed out", "while_spawning"),
]


def race(scenario):
    compare([program("races"), scenario, "{0}"])


for text, scenario in RACES:
    claim(text)(functools.partial(race, scenario))


@claim("a number closed by a handler while close() is at work on it")
def closed_on_the_way():
    compare([program("closed_on_the_way"), "{0}"])


READERS = ("with_recv", "with_read", "with_recvmsg")


def reader(scenario):
    plain, pooled = compare([program("read_close"), scenario, "{0}"], timeout=20)
    first = pooled.connection_of("/bytes/100")
    expect(first != pooled.connection_of("/bytes/200"), "the reader's connection was handed on")
    expect(plain.requests == pooled.requests, "requests differ")


for scenario in READERS:
    claim(f"a thread waiting {scenario.replace('_', ' ')} keeps the connection closed under it")(
        functools.partial(reader, scenario)
    )


@claim("a signal handler that closes")
def handler_closes():
    opened(compare([program("signals"), "handler_closes", "{0}"]), 300, 1)


@claim("a signal handler that connects, anywhere in the program")
def handler_connects():
    compare([program("signals"), "handler_connects", "{0}"])


@claim("a signal handler that jumps out of any call")
def handler_jumps():
    compare([program("signals"), "handler_jumps", "{0}"],
            descriptors_vary="who jumps out of dial() does not know what to close")


@claim("a timer that jumps out of connect(), the exchange and close() loses no descriptor")
def jumps_leak_nothing():
    # Its runtime keeps a signal until the program, or the library, calls a function of libc, also
    # where the library has them blocked.
    late = os.environ.get("SPPOOL_SANITIZER") == "thread" and "signals come when none may"
    compare([program("signals"), "jumps_leak_nothing", "{0}"], descriptors_vary=late or None)


@claim("200000 jumps out of one connection's calls, and close() still closes")
def many_jumps():
    compare([program("signals"), "many_jumps", "{0}"])


if __name__ == "__main__":
    with stores.lasting():
        main()
