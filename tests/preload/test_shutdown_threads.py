#!/usr/bin/python3
"""That a connection which one thread shuts down is at its end for all the others, too."""

import functools

from harness import claim, compare, expect, main, program

JOBS = 8  # most claims wait


def threads(scenario, how, mode, *row):
    argv = [program("shutdown_threads"), scenario, "{0}", "{1}", how, *row]
    plain, pooled = compare(argv, [mode, "control"])
    expect(plain.connections == pooled.connections,
           f"{plain.connections} connections without, {pooled.connections} with\n{pooled.stats}")


# claim, scenario, how and what the server does
THREADS = [
    ("a thread that comes to look at it sees the end", "one_that_comes",
     [(how, "hold") for how in ("RD", "WR", "RDWR")]),
    ("a thread that comes to wait for a set is woken", "one_that_comes_to_a_set",
     [("RD", "hold"), ("RDWR", "hold"), ("WR", "keepalive")]),
    ("two threads shut one down: it is", "shut_down_by_both",
     [("RD", "hold"), ("RDWR", "hold")]),
]

# rows of programs/shutdown_threads.c: what a thread is in that waits for the connection
WAITING = ["in_recv", "in_recv_whole", "in_read", "in_readv", "in_recvfrom", "in_recvmsg",
           "in_read_syscall", "in_raw_read", "in_poll", "in_ppoll", "in_select", "in_pselect",
           "in_epoll_wait", "in_epoll_pwait", "in_epoll_pwait2", "in_epoll_syscall",
           "in_outer_epoll", "in_poll_of_epoll", "in_select_of_epoll", "in_splice", "in_fgetc"]

for row in WAITING:
    for how, mode in ("RD", "hold"), ("RDWR", "hold"), ("WR", "keepalive"):
        claim(f"a thread that waits for it is woken: {row} ({how})")(
            functools.partial(threads, "one_that_waits", how, mode, row))

for text, scenario, variants in THREADS:
    for how, mode in variants:
        claim(f"{text} ({how})")(functools.partial(threads, scenario, how, mode))


def race(scenario, how):
    """How many connections it takes is a matter of chance."""
    compare([program("shutdown_threads"), scenario, "{0}", "{1}", how], ["keepalive", "control"])


for how in "WR", "RDWR":
    claim(f"8 threads, and 2 that watch them by epoll: all answered ({how})")(
        functools.partial(race, "many", how))
    claim(f"one thread closes what another shuts down: the next ones are whole ({how})")(
        functools.partial(race, "closed_by_another", how))


if __name__ == "__main__":
    main(JOBS)
