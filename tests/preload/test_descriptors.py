#!/usr/bin/python3
"""That hidden descriptors stay hidden, and survive programs that close whatever there is."""

import functools

from harness import claim, compare, expect, main, opened, program

# claim, scenario of closers, most connections with the library (None: does not matter)
CLOSERS = [
    ("close_range(3, ~0) leaves the pool alone", "range_all", 1),
    ("close_range() over a live connection closes it", "range_active", 2),
    ("close_range() that sets CLOEXEC does no more", "range_cloexec", 2),
    ("close_range() with wrong arguments", "range_bad", 1),
    ("closefrom(3) leaves the pool alone", "from", 2),
    ("closing every number up to a million", "loop", 2),
    ("closing what /proc/self/fd shows is EBADF", "loop_over_proc", 1),
    ("calls on impossible numbers", "impossible", 1),
    ("close() twice is EBADF", "twice", 1),
    ("close() of a hidden number is EBADF", "hidden_close", None),
    ("reading and writing a hidden number is EBADF", "hidden_io", None),
    ("fcntl, dup and shutdown of a hidden number are EBADF", "hidden_descriptor_calls", None),
    ("dup2() onto a hidden number gets that number", "onto_hidden", None),
    ("dup2(fd, fd) and dup3(fd, fd)", "dup_onto_itself", None),
    ("dup2() over a connection closes it", "dup_over_connection", None),
    ("a second number goes on with the connection alone", "dup_goes_on", None),
    ("a datagram socket on a number closed by the system call is one", "number_is_datagram", None),
    ("a hidden number closed by the system call is the program's to use", "hidden_taken", None),
]

# claim, scenario of forks
CHILDREN = [
    ("a forked child begins with an empty pool", "child_connects"),
    ("a forked child that closes everything", "child_closes_everything"),
    ("a forked child that exits takes nothing with it", "child_exits"),
    ("a child made by raw clone(2)", "raw_clone"),
    ("a vfork child that closes everything", "vfork_closes"),
    ("a vfork child that calls close_range()", "vfork_closes_range"),
    ("nothing hidden is inherited over fork and exec", "fork_exec"),
    ("nothing hidden is inherited over vfork and exec", "vfork_exec"),
    ("nothing hidden is inherited over posix_spawn", "spawn"),
    ("posix_spawn with closefrom", "spawn_closefrom"),
    ("nothing hidden is inherited by system()", "with_system"),
    ("nothing hidden is inherited by popen()", "with_popen"),
    ("nothing hidden is left after exec of oneself", "exec_self"),
    ("a program's own descriptors are inherited as it said", "exec_with_connection"),
    ("a descriptor table that comes apart", "unshared"),
    ("fifty children, one after the other", "many_children"),
]


def closer(scenario, connections):
    pair = compare([program("closers"), scenario, "{0}"])
    if connections is not None:
        opened(pair, pair[0].connections, connections)


def child(scenario):
    plain, pooled = compare([program("forks"), scenario, "{0}"])
    expect(plain.requests == pooled.requests, f"{plain.requests} requests, {pooled.requests} with")


for text, *row in CLOSERS:
    claim(text)(functools.partial(closer, *row))

for text, scenario in CHILDREN:
    claim(text)(functools.partial(child, scenario))


@claim("a vfork child that closes everything costs the parent nothing")
def vfork_keeps():
    _, pooled = compare([program("forks"), "vfork_closes", "{0}"])
    expect(pooled.connections == 2, f"{pooled.connections} connections, 2 expected")


@claim("a connection that a program started by vfork() holds is not handed out")
def vfork_keeps_socket():
    _, pooled = compare([program("forks"), "vfork_exec_keeps", "{0}"])
    kept = pooled.connection_of("/echo/kept")
    expect(kept != pooled.connection_of("/echo/next"), "the child's connection was handed on")


@claim("each descriptor that is passed on by dup has a connection of its own")
def dup_log():
    _, pooled = compare([program("closers"), "dup_goes_on", "{0}"])
    for connection in pooled.log:
        for way in range(5):
            mixed = {f"GET /echo/second{way}", f"GET /echo/next{way}"} <= set(connection.asked)
            expect(not mixed, f"connection {connection.id}: {connection.asked}")


if __name__ == "__main__":
    main()
