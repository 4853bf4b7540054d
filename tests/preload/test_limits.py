#!/usr/bin/python3
"""That what is hidden is never in the way: few descriptors, very many, and a limit that changes."""

import functools
import os
import pathlib
import re
import resource

from harness import (
    Failure, claim, compare, execute, expect, main, need, need_plain_library, opened, program, run,
)

SMALL = 20
HIDDEN = 3  # of the last fifth of 20 a quarter stays free: README, and shim/os.c
MAKERS = """
open open64 openat openat64 creat creat64
__open __open64 __open_2 __open64_2 __openat_2 __openat64_2
socket socket_datagram socket_local accept accept4
pipe pipe2 __pipe socketpair eventfd epoll_create epoll_create1 timerfd_create signalfd
inotify_init inotify_init1 memfd_create
dup F_DUPFD F_DUPFD_CLOEXEC fcntl64
fopen fopen64 freopen freopen64 opendir tmpfile tmpfile64 popen
mkstemp mkstemp64 mkostemp mkostemp64 mkstemps mkstemps64 mkostemps mkostemps64
""".split()


def limited(number, scenario, *arguments):
    argv = [need("prlimit"), f"--nofile={number}:{number}", program("limits")]
    return [*argv, scenario, "{0}", *arguments]


def to_the_end(pair):
    """Both runs came to the limit, and the program was told so by the right name."""
    for result in pair:
        expect(b": -1 EMFILE" in result.stdout, f"never at the limit: {result}")


def without_numbers(output):
    return re.sub(rb": [\d ]+", b": made", output)


def room(function):
    """It meets the limit by what is hidden, and only by that: hidden ones make room."""
    argv = limited(SMALL, "room", function, str(HIDDEN))
    pair = compare(argv, normalise=without_numbers)
    if not function.startswith("freopen"):  # it makes none, though it needs one for a moment
        to_the_end(pair)
    stats = pair[1].stats
    expect(stats["parked"] >= HIDDEN, f"not what was to be shown: {stats}")
    expect(stats["discarded"].get("evicted"), f"nothing made room: {stats}")


def refused(function):
    to_the_end(compare(limited(SMALL, "refused", function)))


for function in MAKERS:
    claim(f"{function}: what is parked makes room")(functools.partial(room, function))
    claim(f"{function}: EMFILE where nothing is parked")(functools.partial(refused, function))


@claim("every function gives the lowest number, whatever is parked, up to the limit")
def lowest_numbers():
    different = []
    for function in MAKERS:
        try:
            compare(limited(SMALL, "numbers", function))
        except Failure as failure:
            different.append(f"{function}: {failure}")
    expect(not different, "\n".join([f"{len(different)} do not; the first:", *different[:1]]))


@claim("descriptors that recvmsg() brings find room")
def received():
    plain, _ = compare(limited(SMALL, "receives"))
    expect(b"6 descriptors, cut off: 0" in plain.stdout, f"{plain}")


@claim("the list of functions above is the program's")
def all_makers():
    stdout, _, _ = execute([program("limits")], dict(os.environ))
    expect(stdout.decode().split() == MAKERS, f"{stdout.decode().split()}")


# claim, scenario
NUMBERS = [
    ("a program that opens all it may gets every number, lowest first", "numbers_in_order"),
    ("the same where the one parked longest has not the lowest number", "numbers_out_of_order"),
    ("connections and files, up to the limit: lowest first", "numbers_among_connections"),
]


def numbers(scenario, limit):
    for result in compare(limited(limit, scenario, "{1}"), ["keepalive", "keepalive"]):
        expect(b"EMFILE" in result.stdout, f"never at the limit: {result}")


for text, scenario in NUMBERS:
    for limit in (16, SMALL):
        claim(f"{text} ({limit})")(functools.partial(numbers, scenario, limit))


@claim("a limit of 16: connections are opened and reused, at most 3 parked")
def sixteen():
    # 8 at once, then 10, one after the other
    opened(compare(limited(16, "at_most_a_fifth")), 18, 8)


@claim("a limit of 1000: at most 200 parked, whatever SP_MAX_PARKED says")
def thousand():
    pair = compare(limited(1000, "at_most_a_fifth"), env={"SP_MAX_PARKED": "10000"})
    opened(pair, 410, 400)
    expect(pair[1].stats["discarded"]["evicted"] >= 200, f"{pair[1].stats}")


HUGE = 10**9


def given(number):
    """Does this machine give so many: by the hard limit, or because we may raise it?"""
    argv = [need("prlimit"), f"--nofile={number}:{number}", "true"]
    return execute(argv, dict(os.environ))[2] == 0


def huge():
    """A limit of 1e9: set, where this machine gives it; else as getrlimit() would say it."""
    if given(HUGE):
        return limited(HUGE, "memory")
    need_plain_library()
    said = HUGE.to_bytes(8, "little").hex() * 2
    strace = [need("strace"), "-f", "-o", "/dev/null", "-e", "trace=prlimit64"]
    inject = ["-e", f"inject=prlimit64:poke_exit=@arg4={said}"]
    return [*strace, *inject, program("limits"), "memory", "{0}"]


def private_kib(result):
    return int(re.search(rb"private: (\d+) KiB", result.stdout)[1])


def without_memory(output):
    return re.sub(rb"private: \d+ KiB", b"", output)


@claim("a limit of 1000000000 costs no more memory than one of 1024")
def billion():
    plain, pooled = compare(huge(), normalise=without_memory)
    expect(f"limit: {HUGE}".encode() in plain.stdout, f"the limit is another: {plain}")
    opened((plain, pooled), 20, 10)
    common = compare(limited(1024, "memory"), normalise=without_memory)
    more = private_kib(pooled) - private_kib(common[1])
    expect(more <= 64, f"{more} KiB more than under a limit of 1024")
    more = private_kib(pooled) - private_kib(plain)
    expect(more <= 512, f"{more} KiB more than without the library")


@claim("the highest limit that this machine gives")
def highest():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(pathlib.Path("/proc/sys/fs/nr_open").read_text())
    limit = most if given(most) else hard
    pair = compare(limited(limit, "memory"), normalise=without_memory)
    opened(pair, 20, 10)


def changed(scenario):
    plain, pooled = compare(limited(1024, scenario))
    # two visits at the least under each of nine limits
    expect(pooled.stats["reused"] >= 18, f"{pooled.stats}")
    expect(plain.requests == pooled.requests, "requests differ")


for scenario in ("setrlimit", "setrlimit64", "prlimit", "prlimit64"):
    claim(f"a limit changed by {scenario}() in both directions")(
        functools.partial(changed, f"changed_by_{scenario}")
    )

claim("a limit changed unseen, in both directions")(
    lambda: compare(limited(1024, "changed_unseen"))
)
claim("a limit of nothing, and back")(lambda: compare(limited(1024, "to_nothing")))


def no_files(call, *filters, status):
    """The first such call of the program fails with ENFILE: once, so that a second try succeeds."""
    need_plain_library()
    strace = [need("strace"), "-f", "-o", "/dev/null", *filters, "-e", f"trace={call}"]
    argv = [*strace, "-e", f"inject={call}:error=ENFILE:when={status}"]
    argv += [program("limits"), "no_files", "{0}"]
    plain, pooled = run(argv, preload=False), run(argv)
    expect(plain.stdout.count(b": -1 ENFILE") == 1, f"not what was to be shown: {plain}")
    expect(b"ENFILE" not in pooled.stdout, f"nothing made room: {pooled}")
    expect(pooled.status == 0 and not pooled.stderr, f"{pooled}")
    expect(pooled.stats["discarded"].get("evicted") == 1, f"{pooled.stats}")


# system call, which of the program's is to fail
claim("ENFILE in socket(): what is parked makes room")(
    functools.partial(no_files, "socket", status=2)
)
claim("ENFILE in eventfd(): what is parked makes room")(
    functools.partial(no_files, "eventfd2", status=1)
)
claim("ENFILE in open(): what is parked makes room")(
    functools.partial(no_files, "openat", "-P", "/dev/null", status=1)
)


@claim("ENFILE where nothing is parked is the kernel's own")
def no_files_at_all():
    need_plain_library()
    strace = [need("strace"), "-f", "-o", "/dev/null", "-e", "trace=eventfd2"]
    argv = [*strace, "-e", "inject=eventfd2:error=ENFILE", program("limits"), "no_files", "{0}"]
    plain, _ = compare(argv)
    expect(b"eventfd: -1 ENFILE" in plain.stdout, f"{plain}")


if __name__ == "__main__":
    main()
