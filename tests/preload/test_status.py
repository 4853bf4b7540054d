#!/usr/bin/python3
"""A running program as an operator sees and changes it: sppool ps, top, set, flush, explain and
metrics on the library's own pages, and the connections counted at the server.

What these commands make of broken pages is in tests/structure/test_status.py.
"""

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import processes
from harness import (
    ROOT, TIMEOUT, Failure, Server, claim, environment, expect, library, main, need_plain_library,
    program, run, scratch_directory,
)

sys.path.insert(0, str(ROOT))
from command import page  # noqa: E402  (found through the line above)

SPPOOL = str(ROOT / "scripts" / "sppool")
PROGRAM = str(ROOT / "tests" / "preload" / "lives" / "watched.py")


class Watched:
    """lives/watched.py under the library, and the directory in which its page is found."""

    def __init__(self, servers, scratch, env):
        self.directory = os.path.join(scratch, "status")
        self.stats = pathlib.Path(scratch, "stats.json")
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        extra = {"SP_STATUS_DIR": self.directory, **env}
        extra = {name: value for name, value in extra.items() if value is not None}
        self.process = subprocess.Popen(
            ["/usr/bin/python3", PROGRAM, *(str(server.port) for server in servers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(True, extra, str(self.stats)),
        )
        self.pid = self.process.pid
        self.servers = servers
        expect(self.process.stdout.readline() == "ready\n", "the program does not start")

    def tell(self, word, number=1):
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()

    def do(self, word, number=1):
        """Tells it, and waits until it is done."""
        self.tell(word, number)
        answer = self.process.stdout.readline()
        expect(re.fullmatch(r"done \d+ \n", answer), f"{word}: {answer!r}")
        return int(answer.split()[1])

    def end(self):
        """By its own will; what it said on stderr."""
        self.tell("end")
        expect(self.process.wait(TIMEOUT) == 0, f"exit status {self.process.returncode}")
        return self.process.stderr.read()

    @property
    def target(self):
        return f"127.0.0.1:{self.servers[0].port}"

    def entries(self):
        return sorted(os.listdir(self.directory))

    def sppool(self, *arguments, status=0):
        output, said, result = self.run(arguments)
        expect(result == status, f"sppool {arguments}: {result}, {output}{said}")
        return output + said if status else output

    def run(self, arguments):
        result = subprocess.run(self.command(arguments), capture_output=True, text=True,
                                env=self.environment(), timeout=TIMEOUT)
        return result.stdout, result.stderr, result.returncode

    def command(self, arguments):
        return [SPPOOL, *map(str, arguments)]

    def environment(self):
        return {**os.environ, "SP_STATUS_DIR": self.directory}

    def processes(self):
        return json.loads(self.sppool("ps", "--json"))

    def points(self, pid=None):
        """{port: what top says of it}"""
        found = json.loads(self.sppool("top", "--json", pid or self.pid))["service_points"]
        return {point["port"]: point for point in found}

    @property
    def point(self):
        return self.points()[self.servers[0].port]

    def ask(self, *arguments, nudge=("second", 1)):
        """A request that is carried out, as the program makes connections meanwhile."""
        asking = subprocess.Popen(self.command([*arguments, f"--wait={TIMEOUT}"]), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=self.environment())
        while nudge and asking.poll() is None:
            self.do(*nudge)
        output, _ = asking.communicate(timeout=TIMEOUT)
        return output, asking.returncode

    def asks(self, *arguments, **options):
        output, status = self.ask(*arguments, **options)
        expect(status == 0, f"{arguments}: {status}, {output}")
        return output


@contextlib.contextmanager
def watched(env=None, modes=("keepalive", "keepalive")):
    need_plain_library()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(mode)) for mode in modes]
        program = Watched(servers, stack.enter_context(scratch_directory()), env or {})
        try:
            yield program
        finally:
            program.process.kill()
            program.process.wait()
            for stream in program.process.stdin, program.process.stdout, program.process.stderr:
                stream.close()


def until(true, what):
    """Looks again and again; who waits in there makes no sound when it begins to."""
    end = time.monotonic() + TIMEOUT
    while not true():
        if time.monotonic() > end:
            raise Failure(f"never: {what}")
        time.sleep(0.01)


@claim("ps, top, explain and metrics show what a program does")
def shown():
    with watched() as program:
        expect(program.processes() == [] and program.entries() == [], "a page before connect()")
        program.do("fetch", 5)
        program.do("hold")
        process, = program.processes()
        counters = process["counters"]
        expect(process["pid"] == program.pid and not process["off"], f"{process}")
        expect((counters["connects"], counters["opened"], counters["reused"]) == (6, 1, 5),
               f"{counters}")
        point = program.point
        seen = {key: point[key] for key in ("host", "protocol", "in_use", "parked", "opened",
                                            "reused", "waiting", "idle_since")}
        expect(seen == {"host": "127.0.0.1", "protocol": "http", "in_use": 1, "parked": 0,
                        "opened": 1, "reused": 5, "waiting": 0, "idle_since": 0}, f"{seen}")
        program.do("release")
        point = program.point
        expect((point["in_use"], point["parked"]) == (0, 1), f"{point}")
        expect(abs(point["idle_since"] - time.time()) < TIMEOUT, f"{point}")
        text = program.sppool("top")
        expect(re.search(rf"^ *{program.pid} {program.target} +http +0 +1 +0 +1 +5 +83 %", text,
                         re.MULTILINE), text)
        text = program.sppool("explain", f"--pid={program.pid}")
        expect("6 connections, 5 of them from the pool (83 %)" in text, text)
        text = program.sppool("metrics")
        expect(f'sppool_reused_total{{pid="{program.pid}",program="python3"}} 5\n' in text, text)
        expect(f'host="127.0.0.1",port="{program.servers[0].port}",protocol="http"}} 5\n' in text,
               text)


@claim("refusals and discards are shown where they happened")
def reasons():
    with watched(modes=("close", "keepalive")) as program:
        program.do("fetch", 3)
        program.do("second", 2)
        points = program.points()
        expect(points[program.servers[0].port]["refused"] == {"asked_to_close": 3}, f"{points}")
        expect(points[program.servers[1].port]["refused"] == {}, f"{points}")
        program.asks("flush", program.pid, f"*:{program.servers[1].port}", nudge=("fetch", 1))
        point = program.points()[program.servers[1].port]
        expect(point["discarded"] == {"flushed": 1}, f"{point}")


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def quarantined_until(program):
    """Of its first service point, as its page has it: what is left of it may be nothing by now."""
    with page.open_one(program.directory, program.pid) as opened:
        row = opened.read(opened.head.rows_offset, opened.row_end)
        return page.LEARNED.unpack_from(row, opened.learned_at)[1]


@claim("until when nothing is reused, as its server has spoken unasked, is shown")
def quarantined():
    with watched(modes=("extra",)) as program:
        program.do("fetch")
        expect(quarantined_until(program) == 0, "before anything has failed")
        program.servers[0].gate.open()
        before = boot_ms()
        program.do("fetch")
        until_ms = quarantined_until(program)
        expect(before + 1000 <= until_ms <= boot_ms() + 1000, f"{until_ms - before} ms")
        expect(program.processes()[0]["counters"]["quarantined"] == 1, f"{program.processes()}")
        expect(0 <= program.point["quarantined_ms"] <= 1000, f"{program.point}")
        text = program.sppool("explain", f"--pid={program.pid}")
        expect("1 time that a service point's connections were not reused" in text, text)


@claim("for how long a server keeps idle connections is shown, and in the statistics, too")
def kept():
    with watched(modes=("idle-close", "keepalive")) as program:
        program.do("fetch")
        program.do("second")
        expect(program.processes()[0]["learned"] == [], "before anything was closed")
        program.servers[0].gate.open()
        program.do("fetch")
        points = program.points()
        point, other = (points[server.port] for server in program.servers)
        expect(point["discarded"] == {"dead": 1} and point["keeps_ms"] > 0, f"{point}")
        expect(not point["habit"] and other["keeps_ms"] == 0, f"{points}")
        seen, = program.processes()[0]["learned"]
        expect((seen["port"], seen["keeps_ms"]) == (point["port"], point["keeps_ms"]), f"{seen}")
        text = program.sppool("metrics")
        expect(re.search(r'keeps_seconds\{.*,port="%d",.*\} [0-9.]+\n' % point["port"], text), text)
        text = program.sppool("explain", f"--pid={program.pid}")
        expect(re.search(rf"1  may_keep: (.*\n)+ +{program.target} [0-9.]+s$", text, re.MULTILINE),
               text)
        program.end()
        points = json.loads(program.stats.read_text())["service_points"]
        stats = {each["port"]: each for each in points}
        expect(stats[point["port"]]["keeps_ms"] == point["keeps_ms"], f"{stats}")
        expect(stats[other["port"]]["keeps_ms"] == 0, f"{stats}")
        expect(stats[point["port"]]["habit"] is False, f"{stats}")


@claim("set changes a service point that there is, from its next connection on")
def set_point():
    with watched() as program:
        program.do("fetch", 5)
        expect(program.servers[0].connections == 1, "not what was to be shown")
        said = program.asks("set", program.pid, program.target, "idle=0")
        expect(said == f"{program.pid}: {program.target}: idle=0, for 1 service point\n", said)
        expect(program.point["settings"]["idle"] == 0, f"{program.point}")
        before = program.servers[0].connections
        program.do("fetch", 5)
        expect(program.servers[0].connections == before + 5, f"{program.servers[0].connections}")


@claim("set default changes those that are still to come, and none that there is")
def set_default():
    with watched() as program:
        program.do("fetch", 1)
        program.asks("set", program.pid, "default", "idle=0", nudge=("fetch", 1))
        program.do("fetch", 5)
        program.do("second", 5)
        counts = [server.connections for server in program.servers]
        expect(counts == [1, 5], f"{counts} connections")
        expect(program.processes()[0]["defaults"]["idle"] == 0, f"{program.processes()}")


@claim("set max-service-points recycles the least recently used at once")
def set_cap():
    with watched() as program:
        program.do("fetch", 1)
        program.do("second", 1)
        said = program.asks("set", program.pid, "max-service-points=1")
        expect(said == f"{program.pid}: max-service-points=1: 1 service point gone\n", said)
        expect(list(program.points()) == [program.servers[1].port], f"{program.points()}")
        expect(program.processes()[0]["max_service_points"] == 1, f"{program.processes()}")


@claim("flush closes what is parked now, and what is in use when it is closed")
def flush():
    with watched() as program:
        program.do("hold", 1)
        program.do("fetch", 3)
        expect(program.servers[0].connections == 2, "not what was to be shown")
        said = program.asks("flush", program.pid, program.target)
        expect(said == f"{program.pid}: 1 parked connection closed\n", said)
        expect(program.point["parked"] == 0, f"{program.point}")
        program.do("release")
        expect(program.point["parked"] == 0, f"{program.point}")
        expect(program.point["discarded"] == {"flushed": 2}, f"{program.point}")
        program.do("fetch", 3)
        expect(program.servers[0].connections == 3, f"{program.servers[0].connections}")


@claim("what the library refuses is said in its words")
def refused():
    with watched() as program:
        program.do("second", 1)
        for words, said in (
                (("set", program.pid, "127.0.0.1:1", "limit=4"), "there is no such service point"),
                (("set", program.pid, "*:*", "limit=x"), "limit=x is not allowed: 0 to 2147483647"),
                (("set", program.pid, "*:*", "what=1"), "what"),
                (("set", program.pid, "max-service-points=9999999"), "0 to 1000000"),
                (("flush", program.pid, "127.0.0.1"), "127.0.0.1")):
            output, status = program.ask(*words)
            expect(status == 1 and output.startswith(f"sppool: {program.pid}: "), f"{output}")
            expect(said in output and output.count("\n") == 1, output)


@claim("a request waits for the program's next connect(), and is said to wait")
def waits():
    with watched() as program:
        program.do("fetch", 1)
        said = program.sppool("set", program.pid, program.target, "idle=0", "--wait=0.1", status=3)
        expect("not carried out yet" in said and "SP_KEEPER=1" in said, said)
        expect(program.point["settings"]["idle"] == 100000, f"{program.point}")
        program.do("second", 1)
        expect(program.point["settings"]["idle"] == 0, f"{program.point}")


@claim("with SP_KEEPER=1 a request is carried out while the program does nothing")
def keeper():
    with watched(env={"SP_KEEPER": "1"}) as program:
        program.do("fetch", 1)
        program.asks("flush", program.pid, nudge=None)
        expect(program.point["discarded"] == {"flushed": 1}, f"{program.point}")


@claim("16 threads at a limit of 2, which is changed to 4 while they wait")
def limit():
    env = {"SP_KEEPER": "1", "SP_CONNECTION_LIMIT": "2"}
    with watched(env=env, modes=("silent", "keepalive")) as program:
        server = program.servers[0]

        def occupied(in_use, waiting):
            points = program.points() if program.processes() else {}
            point = points.get(server.port, {"in_use": 0, "waiting": 0})
            return (point["in_use"], point["waiting"]) == (in_use, waiting)

        program.do("threads", 16)
        until(lambda: occupied(2, 14), "two in use, and 14 wait")
        until(lambda: server.requests == 2, "two requests at the server")
        expect(server.connections == 2, f"{server.connections} connections")
        program.asks("set", program.pid, program.target, "limit=4", nudge=None)
        until(lambda: occupied(4, 12), "four in use, and 12 wait")
        until(lambda: server.requests == 4, "four requests at the server")
        server.gate.open()
        expect(program.do("join") == 16, "not all were answered")
        expect(server.connections == 4 and server.requests == 16,
               f"{server.connections} connections, {server.requests} requests")


@claim("a forked child has a page of its own, for as long as it lives")
def forked():
    with watched() as program:
        program.do("fetch", 4)
        program.tell("fork", 2)
        word, child = program.process.stdout.readline().split()
        expect(word == "child", word)
        expect(program.process.stdout.readline().startswith("done"), "the child does not go on")
        reused = {process["pid"]: process["counters"]["reused"] for process in program.processes()}
        expect(reused == {program.pid: 3, int(child): 1}, f"{reused}")
        expect(program.entries() == sorted([str(program.pid), child]), f"{program.entries()}")
        program.tell("end")  # the child, which reads first
        expect(program.process.stdout.readline().startswith("done"), "the parent does not go on")
        expect(program.entries() == [str(program.pid)], f"{program.entries()}")
        program.do("fetch")
        process, = program.processes()
        expect(process["pid"] == program.pid, f"{process}")


@claim("a page is the process's after execve(), too, and another one")
def executed():
    with watched() as program:
        program.do("fetch", 4)
        program.tell("exec")
        expect(program.process.stdout.readline() == "ready\n", "it does not begin anew")
        expect(program.processes() == [] and program.entries() == [], "the old page is still there")
        program.do("fetch", 2)
        process, = program.processes()
        expect(process["counters"]["connects"] == 2, f"{process}")


@claim("the entry of a process that ends is gone, one of a process that was killed is removed")
def ended():
    with watched() as program:
        program.do("fetch")
        expect(program.entries() == [str(program.pid)], f"{program.entries()}")
        expect(program.end() == "", "not silent")
        expect(program.entries() == [], f"{program.entries()}")
    with watched() as program:
        program.do("fetch")
        program.process.kill()
        program.process.wait()
        expect(program.entries() == [str(program.pid)], f"{program.entries()}")
        expect(program.processes() == [] and program.entries() == [], "the leftover is still there")


@claim("a pool that has turned itself off is shown to be off")
def off():
    with watched() as program:
        program.do("fetch", 2)
        program.do("off")
        process, = program.processes()
        expect(process["off"], f"{process}")
        said = program.sppool("flush", program.pid, status=1)
        expect("turned its pool off" in said, said)


@claim("without SP_STATUS_DIR there is no descriptor, file or memory of it")
def without():
    numbers = []
    for directory in {}, {"SP_STATUS_DIR": None}, {"SP_STATUS_DIR": ""}:
        with watched(env=directory) as program:
            program.do("fetch", 2)
            names = [os.readlink(f"/proc/{program.pid}/fd/{number}")
                     for number in processes.hidden_descriptors(program.pid)]
            maps = pathlib.Path(f"/proc/{program.pid}/maps").read_text()
            found = "memfd:sppool" in "".join(names) + maps
            expect(found == (directory == {}) == bool(program.entries()), f"{directory}: {names}")
            numbers.append((len(names), processes.own_descriptors(program.pid)))
            expect(program.servers[0].connections == 1, f"{directory}: not pooled")
    with_page, *plain = numbers
    expect(plain[0] == plain[1] == (with_page[0] - 1, with_page[1]), f"{numbers}")


def in_a_bad_directory(make, said):
    """The program runs as ever, has no page, and what is wrong is logged, or said where it is a
    wrong value."""
    with scratch_directory() as scratch:
        env = {"SP_STATUS_DIR": make(scratch), "SP_LOG": "1"}
        with watched(env=env) as program:
            program.do("fetch", 5)
            expect(program.servers[0].connections == 1, "not pooled")
            expect(os.listdir(scratch) == ["there"] or not os.listdir(f"{scratch}/there"), "a file")
            log = program.end()
            expect(log.count("\n") == 1 and said in log, log)


def made(name, mode=0o700):
    def make(scratch):
        os.mkdir(f"{scratch}/there")
        os.chmod(f"{scratch}/there", mode)
        os.symlink("there", f"{scratch}/link")
        return f"{scratch}/{name}"

    return make


# claim, the directory, what is said
BAD = [
    ("a symbolic link", made("link"), "cannot be used"),
    ("what is not there", made("none"), "cannot be used"),
    ("a directory that others may write to", made("there", 0o770), "must belong to this user"),
    ("a name that is relative", lambda scratch: made("there")(scratch)[1:], "not allowed"),
]

for text, make, said in BAD:
    claim(f"SP_STATUS_DIR does not take {text}")(
        functools.partial(in_a_bad_directory, make, said))


@claim("a process that may write no large files goes without a page, and lives")
def small_files():
    env = {"SP_STATUS_DIR": "{scratch}", "SP_STATS": ""}
    argv = ["prlimit", "--fsize=1000", program("get"), "GET", "{0}", "/echo/x", "3"]
    plain, pooled = run(argv, preload=False, env=env), run(argv, env=env)
    expect(pooled.status == plain.status == 0, f"exit status {pooled.status}\n{pooled}")
    expect(pooled.stdout == plain.stdout, f"{pooled}")
    expect(pooled.connections == 1, f"{pooled.connections} connections")


@claim("sppool run makes the directory, and the other commands find the program there")
def run_and_watch():
    need_plain_library()
    with scratch_directory() as scratch, Server("keepalive") as server:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SP_")}
        env.update(XDG_RUNTIME_DIR=scratch, SPPOOL_LIBRARY=library())
        with subprocess.Popen([SPPOOL, "run", "--", "/usr/bin/python3", PROGRAM, str(server.port)],
                              env=env, text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as program:
            program.stdin.write("fetch 3\n")
            program.stdin.flush()
            expect([program.stdout.readline() for _ in range(2)] == ["ready\n", "done 3 \n"], "no")
            shown = subprocess.run([SPPOOL, "ps"], env=env, capture_output=True, text=True)
            expect(re.search(rf"^ *{program.pid}  python3 .* 66 %  on$", shown.stdout,
                             re.MULTILINE), f"{shown}")
            program.stdin.close()
        expect(server.connections == 1 and program.returncode == 0, f"{server.connections}")
        expect(os.listdir(f"{scratch}/sppool") == [], "something is left")


if __name__ == "__main__":
    main()
