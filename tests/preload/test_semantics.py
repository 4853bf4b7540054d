#!/usr/bin/python3
"""That nothing a program can observe is different: flags, options, errno, names, bad input."""

import functools
import glob
import re
import resource

from harness import (
    Skip, claim, compare, expect, main, need_plain_library, opened, program, run,
)

# claim, program and arguments, servers
SAME = [
    ("CLOEXEC and NONBLOCK, every combination after every other", "flags of_socket {0}",
     "keepalive"),
    ("flags set by fcntl and ioctl", "flags of_fcntl {0}", "keepalive"),
    ("O_ASYNC and its owner do not outlive their descriptor", "flags of_async {0}", "keepalive"),
    ("errno is untouched by success, and 0 at main", "flags of_errno {0}", "keepalive"),
    ("getpeername and getsockname", "flags of_names {0}", "keepalive"),
    ("descriptor numbers are the lowest free ones", "flags of_numbers {0}", "keepalive"),
    ("options set before connect() do not leak into the next life",
     "options left_before_connect {0}", "keepalive"),
    ("options set after connect() do not leak into the next life",
     "options left_after_connect {0}", "keepalive"),
    ("options set before connect() hold on a reused connection", "options own_before_connect {0}",
     "keepalive"),
    ("the same options in every life are seen in every life", "options same_every_time {0}",
     "keepalive"),
    ("setsockopt() refuses what the kernel refuses", "options refused_by_kernel {0}", "keepalive"),
    ("connect() with wrong arguments answers as the kernel does", "bad_connect {0}", "keepalive"),
    ("a blocking connect() after a life that was non-blocking", "nonblocking blocking_next {0}",
     "keepalive"),
    ("options' values are read no further than the kernel does", "options value_at_page_end {0}",
     "keepalive"),
    ("non-blocking connect() and poll", "nonblocking poll {0}", "keepalive"),
    ("non-blocking connect() and select", "nonblocking select {0}", "keepalive"),
    ("a second connect() is 0, a third is EISCONN", "nonblocking second_connect {0}", "keepalive"),
    ("SO_ERROR before connect() and twice after it", "nonblocking so_error_before {0}",
     "keepalive"),
    ("non-blocking for connect() only", "nonblocking toggles {0}", "keepalive"),
    ("nothing to read on a new connection", "nonblocking early_read {0}", "keepalive"),
    ("a refused non-blocking connect()", "nonblocking refused {0}", "keepalive"),
    ("epoll after connect(), level-triggered", "nonblocking epoll_after_level {0}", "keepalive"),
    ("epoll after connect(), edge-triggered", "nonblocking epoll_after_edge {0}", "keepalive"),
    ("shutdown(SHUT_RDWR) and close", "endings shutdown_both {0}", "keepalive"),
    ("shutdown(SHUT_WR) and close", "endings shutdown_write {0}", "keepalive"),
    ("left open at exit", "endings left_open {0}", "keepalive"),
        ("an atexit handler that connects and closes", "endings in_atexit {0}", "keepalive"),
    ("stdio on a socket", "stdio_client with_fclose {0}", "keepalive"),
    ("the number that fclose() freed is something else", "stdio_client number_again {0}",
     "keepalive"),
    ("two streams on one connection", "stdio_client two_streams {0}", "keepalive"),
    ("close() before fclose()", "stdio_client close_before_fclose {0}", "keepalive"),
    ("a file on the number of a socket that was closed unseen", "stdio_client closed_unseen {0}",
     "keepalive"),
    ("a connection on the number of one that was closed unseen",
     "stdio_client replaced_unseen {0}", "keepalive"),
    ("two ports", "places two_ports {0} {1}", "keepalive keepalive"),
    ("IPv6", "places six {0}", "keepalive@::1"),
    ("IPv4-mapped IPv6 and IPv4", "places mapped_and_plain {0}", "keepalive"),
]

for call in ("write sendto writev sendmsg sendmmsg send_more sendfile_head sendfile_body "
             "splice_out splice_in read checked_read checked_recv recvfrom readv recvmsg recvmmsg "
             "waitall peek single_bytes truncation bad_buffers readv_over_vector "
             "recvmsg_over_vector urgent").split():
    SAME.append((f"bytes moved by {call}", f"transfer with_{call} {{0}}", "keepalive"))

# every way of ending, against servers that keep to the protocol and servers that do not
for mode in ("keepalive", "close", "http10", "goodbye", "hold"):
    for ending in ("each_time", "client_says_close", "half_a_request", "half_a_body", "in_atexit"):
        SAME.append((f"{ending} against {mode}", f"endings {ending} {{0}}", mode))


def same(line, modes):
    name, *arguments = line.split()
    compare([program(name), *arguments], modes.split())


for text, *row in SAME:
    claim(text)(functools.partial(same, *row))


@claim("a library that connects before main() and after it, either side of ours")
def early():
    need_plain_library()
    beside = program("libearly.so")
    argv = [program("get"), "GET", "{0}", "/bytes/100", "3"]
    for order in (f"{{library}}:{beside}", f"{beside}:{{library}}"):
        compare(argv, env={"LD_PRELOAD": order, "EARLY_PORT": "{0}"})


# other preloaded libraries: the package that has it, and where it is
STACKED = [
    ("libjemalloc2", "/usr/lib/*/libjemalloc.so.2"),
    ("libtcmalloc-minimal4", "/usr/lib/*/libtcmalloc_minimal.so.4"),
    ("faketime", "/usr/lib/*/faketime/libfaketime.so.1"),
    ("libfakeroot", "/usr/lib/*/libfakeroot/libfakeroot-sysv.so"),
    ("libeatmydata1", "/usr/lib/*/libeatmydata.so"),
]


def stacked(package, where):
    need_plain_library()
    found = glob.glob(where)
    if not found:
        raise Skip(f"{package} is not installed")
    argv = [program("get"), "GET", "{0}", "/bytes/100", "20"]
    for order in (f"{{library}}:{found[0]}", f"{found[0]}:{{library}}"):
        opened(compare(argv, env={"LD_PRELOAD": order}), 20, 1)


for package, where in STACKED:
    claim(f"together with {package}, in either order")(functools.partial(stacked, package, where))


@claim("_exit() with a status")
def exit_status():
    compare([program("endings"), "quick_exit_open", "{0}"], status=7)


@claim("standard input, output and error closed at the start")
def no_stdio():
    launcher = ["/bin/sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']
    argv = [*launcher, program("no_stdio"), "{0}", "{scratch}/output"]
    for env in ({}, {"SP_LOG": "3"}, {"SP_STATS": "-"}, {"SP_STATS": "-", "SP_LOG": "3"}):
        plain, pooled = opened(compare(argv, env=env), 9, 3)
        expect(b"output is descriptor" in plain.stdout, "the program did not run")


@claim("a limit of 16 descriptors, and of as many as there may be")
def limits():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in (16, most):
        argv = ["prlimit", f"--nofile={number}:{number}", program("get")]
        compare([*argv, "GET", "{0}", "/bytes/100", "20"])


# name, value, what the line must say beside both
BAD_SETTINGS = [
    ("SP_MAX_SERVICE_POINTS", "many"),
    ("SP_MAX_SERVICE_POINTS", "-5"),
    ("SP_MAX_IDLE_MS", "10s"),
    ("SP_MAX_IDLE_MS", "-2"),
    ("SP_MAX_PARKED", "99999999999999999999"),
    ("SP_LEASE_MS", "1 2"),
    ("SP_MAX_USES", "0x10"),
    ("SP_LOG", "9"),
    ("SP_DISABLE", "maybe"),
    ("SP_MAX_USES", "12\n34"),
    ("SP_MAX_PARKED", "9" * 300),
]


def bad_setting(name, value):
    argv = [program("get"), "GET", "{0}", "/bytes/100", "5"]
    plain = run(argv, preload=False)
    pooled = run(argv, env={name: value})
    lines = pooled.stderr.splitlines()
    expect(plain.stdout == pooled.stdout and pooled.status == 0, "the program was disturbed")
    expect(len(lines) == 1, f"{len(lines)} lines on stderr: {pooled.stderr!r}")
    shown = value.replace("\n", "?")[:60]
    expect(f"{name}={shown}" in lines[0], f"names both: {lines[0]!r}")
    expect(re.search(r"from -?\d+ to \d+; using -?\d+$", lines[0]), f"what may be: {lines[0]!r}")
    expect(pooled.connections == 1, f"{pooled.connections}: the default does not apply")


for name, value in BAD_SETTINGS:
    claim(f'a bad value is one line on stderr: {name}={value[:25]!r}')(
        functools.partial(bad_setting, name, value)
    )


@claim("a setting that is not one of ours is none of our business")
def foreign_setting():
    compare([program("get"), "GET", "{0}", "/bytes/100", "2"], env={"SP_UNHEARD_OF": "1"})


@claim("SP_STATS names a file that cannot be written: the program runs all the same")
def stats_nowhere():
    argv = [program("get"), "GET", "{0}", "/bytes/100", "5"]
    plain = run(argv, preload=False)
    pooled = run(argv, env={"SP_STATS": "/nonexistent/stats.json"})
    expect(plain.stdout == pooled.stdout and pooled.status == 0, f"disturbed: {pooled.stderr}")


# Runs a program with a standard output and error that nobody reads.
UNREAD = """
import os, signal, sys
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.dup2(writer, 2)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def unread(**env):
    argv = ["/usr/bin/python3", "-c", UNREAD, program("quiet"), "{0}", "3"]
    opened(compare(argv, env=env), 3, 1)


claim("SP_STATS=- into a pipe that nobody reads")(functools.partial(unread, SP_STATS="-"))
claim("SP_LOG=2 into a pipe that nobody reads")(functools.partial(unread, SP_LOG="2"))


@claim("SP_STATS names a FIFO that nobody reads: the program ends all the same")
def stats_fifo():
    made = 'mkfifo "$0" && exec "$@"'
    argv = ["/bin/sh", "-c", made, "{scratch}/fifo", program("get"), "GET", "{0}", "/bytes/1", "2"]
    compare(argv, env={"SP_STATS": "{scratch}/fifo"}, timeout=20)


@claim("SP_STATS where no file may grow")
def stats_limited():
    argv = ["prlimit", "--fsize=0:0", program("get"), "GET", "{0}", "/bytes/1", "2"]
    compare(argv, env={"SP_STATS": "{scratch}/limited"})


@claim("SP_STATS is JSON whatever the program is called")
def stats_strange_name():
    linked = 'ln -s "$0" "$1/a\\"b\\\\c" && exec "$1/a\\"b\\\\c" GET "$2" /bytes/1 2'
    pooled = run(["/bin/sh", "-c", linked, program("get"), "{scratch}", "{0}"])
    expect(pooled.status == 0, f"did not run: {pooled.stderr}")
    expect(pooled.stats and pooled.stats["connects"] == 2, f"SP_STATS: {pooled.stats}")


if __name__ == "__main__":
    main()
