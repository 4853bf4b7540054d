#!/usr/bin/python3
"""Programs with complicated lives: they fork, spawn, start threads, are debugged, and connect.

The scripts are in lives/. Each request asks for what no other asks for, with the id of its process
behind a "~", so that a mixed-up answer shows in the output, and a connection that two processes
used shows in the server's log.
"""

import functools
import os
import pathlib
import re
import subprocess
import tempfile

from harness import (
    ROOT, TIMEOUT, Run, Skip, check_same, claim, compare, environment, expect, main, need, opened,
    read_stats, read_witnessed, run_alone, scratch_directory,
)
from server import Server

PYTHON = "/usr/bin/python3"
LIVES = ROOT / "tests" / "preload" / "lives"
LONG = os.environ.get("SPPOOL_LONG") == "1"


def one_owner_each(result):
    """No connection carried requests of two processes, but where one was passed on purpose."""
    for connection in result.log:
        owners = {asked.rpartition("~")[2] for asked in connection.asked if "~" in asked}
        expect(len(owners) <= 1, f"connection {connection.id}: {connection.asked}")


def live(argv, without=None, at_most=None, descriptors_vary="", **options):
    """One life, without and with the library, and how many connections it took, if that matters."""
    argv = [need(argv[0]), *argv[1:]]
    for _ in range(10 if LONG else 1):
        plain, pooled = pair = compare(argv, descriptors_vary=descriptors_vary, **options)
        if without is not None:
            opened(pair, without, at_most)
        expect(plain.requests == pooled.requests, f"{plain.requests}, {pooled.requests} with")
        for result in pair:
            one_owner_each(result)


def script(name, *arguments):
    return [str(LIVES / name), "{0}", *arguments]


@claim("python multiprocessing, forked, spawned, and from a fork server: a process, a pool each")
def multiprocessing():
    for method in ("fork", "spawn", "forkserver"):
        live([PYTHON, *script("multiprocesses.py", method)], 67, 8,
             descriptors_vary="its helpers end by themselves or by a signal, and then unseen")


# claim, command, connections without and at most with the library, why descriptors may differ
PROGRAMS = [
    ("python asyncio: streams, subprocesses and an executor's threads",
     [PYTHON, *script("asynchronous.py")], 82, 81),
    ("python: every way to start a program, beside a parked and a live connection",
     [PYTHON, *script("subprocesses.py")], 38, 15),
    ("python threads that make requests, and threads that start programs",
     [PYTHON, *script("threads_and_programs.py")], 402, 401),
    ("python as a daemon: two forks, and every descriptor closed",
     [PYTHON, *script("daemon.py")], 15, 2),
    ("node: exec, spawn, fork, threads, and a socket passed to a child",
     ["node", *script("children.js")], 95, 20,
     "a thread that begins opens files, which a program started meanwhile inherits"),
    ("perl: forks, pipes and programs", ["perl", *script("children.pl")], 27, 12),
    ("ruby: forks, programs and threads", ["ruby", *script("children.rb")], 79, 40),
    ("php: forks and programs", ["php", *script("children.php")], 22, 6),
    ("bash: /dev/tcp, a coprocess that goes on with a connection, subshells",
     ["bash", *script("children.sh")], 23, 23),
    ("php, curl extension, not seen: 40 connections", ["php", *script("curl.php")], 40, 40),
]

for text, *row in PROGRAMS:
    claim(text)(functools.partial(live, *row))


@claim("php, curl extension, SP_SEE_PLUGINS=1: 40 -> 1")
def php_curl():
    live(["php", *script("curl.php")], 40, 1, env={"SP_SEE_PLUGINS": "1"})


@claim("java: programs started while connected, sockets closed under their readers")
def java():
    with tempfile.TemporaryDirectory(prefix="sppool-java-") as directory:
        subprocess.run([need("javac"), "-d", directory, str(LIVES / "Children.java")], check=True)
        live(["java", "-cp", directory, "Children", "{0}"],
             descriptors_vary="HttpURLConnection keeps connections, more or fewer")


# gdb


def need_attach():
    scope = pathlib.Path("/proc/sys/kernel/yama/ptrace_scope")
    allowed = os.getuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"
    if not allowed:
        raise Skip("only root may attach to a running program here (kernel.yama.ptrace_scope)")


GDB = ["-nx", "-batch", "-iex", "set debuginfod enabled off"]


def attach_to(pid, preload):
    argv = [need("gdb"), *GDB, "-p", str(pid), "-ex", "thread apply all backtrace", "-ex", "detach"]
    seen = run_alone(argv, preload)
    expect(
        seen.status == 0 and b"\n#0 " in seen.stdout and b"detached" in seen.stdout,
        f"gdb could not attach: {seen}",
    )


def attached(preload):
    """gdb comes and goes while the program waits, and while it works."""
    pipe = subprocess.PIPE
    with Server() as server, scratch_directory() as scratch:
        stats_file = pathlib.Path(scratch, "stats.json")
        child = subprocess.Popen(
            [PYTHON, str(LIVES / "stepwise.py"), str(server.port)],
            stdin=pipe, stdout=pipe, stderr=pipe, env=environment(preload, {}, str(stats_file)),
        )
        try:
            child.stdin.write(b"begin\n")
            child.stdin.flush()
            start = b""
            while b"waiting" not in start:
                line = child.stdout.readline()
                expect(line, "the program ended early")
                start += line
            for _ in range(20 if LONG else 4):
                attach_to(child.pid, preload)
                child.stdin.write(b"work\n" * 5)
                child.stdin.flush()
            stdout, stderr = child.communicate(timeout=TIMEOUT)
        finally:
            child.kill()
            child.wait()
        return Run(start + stdout, stderr.decode(), child.returncode, [server],
                   read_stats(stats_file), read_witnessed(scratch))


@claim("gdb attaches to a program that has a pool, at rest and at work: it goes on")
def gdb_attach():
    need_attach()
    plain, pooled = (attached(preload) for preload in (False, True))
    expect(plain.status == 0, f"without the library: {plain}")
    check_same(plain, pooled)
    opened((plain, pooled), plain.connections, plain.connections / 5)
    one_owner_each(pooled)


@claim("gdb runs a program that has a pool, and stops it at each connect() and close()")
def gdb_run():
    with tempfile.NamedTemporaryFile() as told:
        told.write(b"one\ntwo\n")
        told.flush()
        commands = [
            "set breakpoint pending on",
            'dprintf connect, "connects\\n"',
            'dprintf close, "closes\\n"',
            f"set args {LIVES}/stepwise.py {{0}} <{told.name} >{{scratch}}/output",
            "run",
        ]
        argv = [need("gdb"), *GDB]
        for command in commands:
            argv += ["-ex", command]
        # what gdb says comes first: it shows a process id, and how often it stopped
        said = re.compile(rb".*exited normally\]\n", re.S)
        pair = compare([*argv, PYTHON], normalise=lambda output: said.sub(b"", output))
        opened(pair, 84, 20)
        for result in pair:
            expect(result.stdout.count(b"connects\n") >= 84, f"not stopped: {result}")
            one_owner_each(result)


if __name__ == "__main__":
    main()
