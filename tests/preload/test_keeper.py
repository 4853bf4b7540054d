#!/usr/bin/python3
"""The optional thread, and the descriptors beside connections, where a program could meet them."""

import os

from harness import Skip, claim, compare, expect, main, program, run

KEEPER = {"SP_KEEPER": "1"}
PAGE = {"SP_STATUS_DIR": "{scratch}"}
CLOSES = ("idle-close", "control")
SAME = "the keeper's are there, too"


def sanitized():
    return os.environ.get("SPPOOL_SANITIZER", "") not in ("", "undefined")


def is_the_same(name, scenario, modes=("keepalive",), **env):
    ports = ["{%d}" % number for number in range(len(modes))]
    return compare([program(name), scenario, *ports], modes, env={**KEEPER, **env},
                   descriptors_vary=SAME)


def watched(name, scenario, modes=CLOSES, **env):
    ports = ["{%d}" % number for number in range(len(modes))]
    result = run([program(name), scenario, *ports], modes, env={**KEEPER, **env})
    expect(result.status == 0, f"exit status {result.status}\n{result}")
    return result, result.stdout.decode().splitlines()


def of_bare_thread():
    if sanitized():
        raise Skip("with a sanitizer it is one of libc's, and its runtime has another")


@claim("a process ends with the program's last thread, whatever main() did")
def leaves_main():
    of_bare_thread()
    is_the_same("apart", "leaves_main")


@claim("a program that ends its thread by number has ended")
def exits_by_number():
    of_bare_thread()
    is_the_same("apart", "exits_by_number")


@claim("a signal handler that interrupts malloc() makes the first socket")
def socket_in_handler():
    of_bare_thread()
    is_the_same("apart", "socket_in_handler")


@claim("a sandbox for all threads finds only those of the program")
def kills_all():
    of_bare_thread()
    is_the_same("apart", "kills_all")


@claim("a program that opens all it may has every number, also those of the keeper and the page")
def opens_all():
    for limit in "16", "20":
        argv = ["prlimit", f"--nofile={limit}:{limit}", program("limits"),
                "numbers_among_connections", "{1}"]
        for result in compare(argv, ["keepalive"] * 2, env={**KEEPER, **PAGE},
                              descriptors_vary=SAME):
            expect(b"EMFILE" in result.stdout, f"never at the limit: {result}")


@claim("a sandbox made unseen, that refuses what the keeper needs")
def refuses():
    calls = ("rt_sigprocmask", "epoll_ctl", "futex", "sched_yield", "getpid", "gettid", "fstat")
    for call in calls:
        compare([program("sandbox"), "refuse", "{0}", "inline", call], env=KEEPER,
                descriptors_vary=SAME)


@claim("unshare() of what only a process of one thread may unshare")
def new_user_namespace():
    of_bare_thread()
    is_the_same("apart", "new_user_namespace")


@claim("setns() to what only a process of one thread may enter")
def enters_mount_namespace():
    of_bare_thread()
    is_the_same("apart", "enters_mount_namespace")


@claim("no thread has a right that the program has given up")
def changes_rights():
    of_bare_thread()
    plain, _ = is_the_same("apart", "changes_rights")
    expect(b"not all" not in plain.stdout, f"{plain}")


@claim("the keeper is there again after a call that failed")
def fails_to_change():
    of_bare_thread()
    _, lines = watched("apart", "fails_to_change")
    threads = [line for line in lines if line.startswith("threads")]
    expect(threads == ["threads: 2"] * 3, f"{lines}")
    expect(lines[-1] == "sockets: 1", f"{lines}")


@claim("what a forked child closes is not taken from the parent's keeper")
def forks_meanwhile():
    result, lines = watched("apart", "forks_meanwhile")
    expect(lines[-1] == "sockets: 1", f"{lines}")
    expect(result.stats["discarded"] == {"dead": 1}, f"{result.stats['discarded']}")


@claim("a socket in a child of vfork() leaves the parent its keeper")
def makes_socket_in_vfork():
    _, lines = watched("apart", "makes_socket_in_vfork")
    expect(lines[-1] == "sockets: 1", f"{lines}")


@claim("a number that was closed unseen, while another process has the socket, keeps nobody awake")
def closed_behind():
    _, lines = watched("apart", "closed_behind")
    expect("closed: 0" in lines and lines[-1] == "asleep: 1", f"{lines}")


def own_set(scenario):
    plain, _ = is_the_same("own_numbers", scenario, **PAGE)
    expect(b"watched: 0\n" in plain.stdout, f"{plain}")


@claim("an epoll set of the program's own stays empty after it closed all")
def own_set_after_close():
    own_set("own_set_after_close")


@claim("so it does after close_range() and closefrom()")
def own_set_after_close_range():
    own_set("own_set_after_close_range")


@claim("so it does where nobody saw the close, and it has the number of ours")
def own_set_after_unseen_close():
    own_set("own_set_after_unseen_close")


@claim("files that have numbers of ours, closed unseen, are the program's")
def own_files_after_unseen_close():
    result, lines = watched("own_numbers", "own_files_after_unseen_close", **PAGE)
    for line, count in ("read: 8", 3), ("value: 7", 3), ("flags: 0", 3), ("child: 0", 1):
        expect(lines.count(line) == count, f"{line}: not {count} times\n{result}")
    expect(lines[-3:] == ["close: 0"] * 3, f"{result}")


ALL = "there there there"


def goes_on(scenario, expected):
    _, lines = watched("own_numbers", scenario, **PAGE)
    shown = [line for line in lines if line.startswith(("before", "after", "again", "sockets"))]
    expect(shown == expected, f"{lines}")


@claim("who closes all leaves the keeper and the page at work")
def goes_on_after_close():
    expected = [f"before: {ALL}", f"after: {ALL}", f"again: {ALL}", "sockets: 1"]
    goes_on("goes_on_after_close", expected)
    goes_on("goes_on_after_close_range", expected)


@claim("where nobody saw it, the keeper has another set in the end")
def goes_on_after_unseen_close():
    goes_on("goes_on_after_unseen_close",
            [f"before: {ALL}", "after: gone gone gone", "again: there there gone"])


@claim("to name a descriptor of ours gives EBADF, and does nothing")
def are_named():
    _, lines = watched("own_numbers", "are_named", **PAGE)
    calls = "close", "read", "dup", "dup2", "fcntl", "syscall"
    for call in calls:
        expect(lines.count(f"{call}: -1 EBADF") == 3, f"{call}: {lines}")
    expect(lines[-1] == f"after: {ALL}", f"{lines}")


@claim("the program may have the number of one of ours, which goes elsewhere")
def are_wanted():
    _, lines = watched("own_numbers", "are_wanted", **PAGE)
    expect(lines.count("dup2: 1") == 3 and lines.count("the same: 1") == 3, f"{lines}")
    expect(lines.count(f"after: {ALL}") == 3, f"{lines}")
    expect(lines[-1] == "sockets: 1", f"{lines}")


if __name__ == "__main__":
    main()
