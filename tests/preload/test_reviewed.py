#!/usr/bin/python3
"""What a review of the library found, so that it does not come back: functions under libc's names,
rare children, and the last free numbers."""

import functools
import pathlib
import re
import shutil

from harness import (
    Skip, check_same, claim, compare, expect, library, main, need, need_plain_library, opened,
    program, run, scratch_directory,
)

# ---- a program's own functions under libc's names ----

# connections with the library at most; without it, a connection for each visit
OWN_FUNCTIONS = [("close", 5, 1), ("close_range", 6, 6), ("dup2", 3, 3), ("setsockopt", 3, 1),
                 ("shutdown", 3, 3)]


def own_function(name, without, at_most):
    plain, _ = opened(compare([program("own_functions"), name, "{0}"]), without, at_most)
    expect(b"own functions called: 0" not in plain.stdout, "libc has its own")


for row in OWN_FUNCTIONS:
    claim(f"a program with its own {row[0]}(), made of syscall()")(
        functools.partial(own_function, *row)
    )


# ---- children ----


def child(scenario, *prefix, **options):
    plain, pooled = compare([*prefix, program("odd_children"), scenario, "{0}"], **options)
    expect(plain.requests == pooled.requests, f"{plain.requests} requests, {pooled.requests} with")
    return plain, pooled


for call in "getpid", "gettid":
    claim(f"fork() in a sandbox that kills for {call}: parent and child live")(
        functools.partial(child, f"fork_without_{call}")
    )


@claim("children of the system call, whose threads make the first calls at once")
def first_calls():
    need_plain_library()
    child("first_calls_at_once")


claim("a child with memory of its own and our descriptors")(
    functools.partial(child, "same_descriptors")
)
claim("a thread that is made with descriptors of its own")(
    functools.partial(child, "thread_of_other_descriptors")
)


@claim("a child in our memory whose process id is ours, too: 1")
def first_of_its_namespace():
    prefix = [need("unshare"), "--pid", "--fork"]
    if run([*prefix, "true"], preload=False).status:
        raise Skip("no namespaces of processes here")
    plain, _ = child("first_of_its_namespace", *prefix)
    expect(plain.stdout.count(b"pid: 1\n") == 2, f"{plain}")


def growth(result):
    """From the first generation to the last, in KiB."""
    first, last = (int(re.search(rb"%s: (\d+) KiB" % which, result.stdout)[1])
                   for which in (b"first", b"last"))
    return last - first


@claim("fifty generations need no more memory than one")
def chain():
    need_plain_library()
    plain, pooled = child(
        "chain", normalise=lambda output: re.sub(rb": \d+ KiB", b": some", output)
    )
    more = growth(pooled) - growth(plain)
    expect(more <= 1024, f"{more} KiB more than without the library")


# ---- the last free numbers ----


def limited(number, scenario, *arguments):
    argv = [need("prlimit"), f"--nofile={number}:{number}", program("near_limit")]
    return [*argv, scenario, "{0}", *arguments]


def parked(pair, at_least):
    expect(pair[1].stats["parked"] >= at_least, f"not what was to be shown: {pair[1].stats}")


@claim("nothing is in the way of numbers for select()")
def for_select():
    pair = compare(limited(4096, "for_select"))
    expect(b"last: 1017\n" in pair[0].stdout, f"{pair[0]}")
    parked(pair, 64)


@claim("two threads and two free numbers: neither misses one")
def two_free_numbers():
    plain, _ = compare(limited(64, "two_free_numbers"))
    expect(b"failed: 0 opens, 0 visits" in plain.stdout, f"{plain}")


def many_come(n_open, n_passed):
    pair = compare(limited(1024, "many_come", n_open, n_passed))
    expect(b"came: %d, cut off: 0" % n_passed in pair[0].stdout, f"{pair[0]}")
    parked(pair, 64)


for n_open, n_passed in (760, 253), (800, 200):
    claim(f"{n_passed} descriptors come where {n_open} are open")(
        functools.partial(many_come, n_open, n_passed)
    )


@claim("errno stays where what is parked made room")
def errno_after_room():
    pair = compare(
        limited(64, "errno_after_room"),
        descriptors_vary="those that nobody saw opened find no room made",
    )
    expect(b"open: 1, errno: 0" in pair[0].stdout, f"{pair[0]}")
    expect(pair[1].stats["discarded"].get("evicted"), f"nothing made room: {pair[1].stats}")


# claim, scenario
NUMBERS = [
    ("openat() with a whole path, from any number", "openat_whole_path"),
    ("fcntl(F_DUPFD) gives the minimum it is told", "dup_from_minimum"),
]


def numbers(scenario, limit):
    parked(compare(limited(limit, scenario)), 5)


for text, scenario in NUMBERS:
    for limit in 1024, 4096:
        claim(f"{text} (limit {limit})")(functools.partial(numbers, scenario, limit))


@claim("malformed control data is the kernel's to refuse")
def malformed():
    plain, _ = compare([program("near_limit"), "malformed", "{0}"])
    expect(b"-1 EINVAL" in plain.stdout and b"-1 EFAULT" in plain.stdout, f"{plain}")


# ---- two copies of the library ----

TWICE = [("get", "GET", "{0}", "/bytes/100", "20"), ("closers", "dup_goes_on", "{0}"),
         ("own_functions", "dup2", "{0}")]


@claim("two copies of the library, from two places")
def two_copies():
    need_plain_library()
    with scratch_directory() as place:
        second = shutil.copy(library(), pathlib.Path(place, "second.so"))
        for name, *arguments in TWICE:
            argv = [program(name), *arguments]
            plain = run(argv, preload=False)
            twice = run(argv, env={"LD_PRELOAD": f"{{library}}:{second}"})
            check_same(plain, twice)
            expect(plain.status == 0, f"{plain}")
            expect(plain.requests == twice.requests,
                   f"{plain.requests} requests, {twice.requests} with")


if __name__ == "__main__":
    main()
