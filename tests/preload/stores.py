"""What the tests with redis and memcached share: servers, testers, scripts, and what is compared.

A tester is a connection of the test's own to a server, by which it looks, and does what the
program under test must not do itself. It is open for as long as connections are counted.
"""

import contextlib
import functools
import os
import pathlib
import re
import socket
import tempfile
import threading
import time

import services
from harness import Failure, check_same, expect, program, run_alone

LONG = os.environ.get("SPPOOL_LONG") == "1"
PYTHON = "/usr/bin/python3"
PATIENCE = 10  # seconds; ends a wait for what does not come, decides nothing else
TIMEOUT = 4 * PATIENCE  # of a program


def await_true(condition, what):
    """what is a function, too: what is said is how it was in the end."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"not in {PATIENCE} s: {what()}")
        time.sleep(0.001)


class RedisError(str):
    """An error that the server answered."""


class Redis:
    """A tester of a redis server."""

    def __init__(self, port, password=None):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.stream = self.socket.makefile("rb")
        if password:
            self("AUTH", password)
        self("CLIENT", "SETNAME", "tester")

    def __call__(self, *words):
        self.socket.sendall(command(*words))
        return self.reply()

    def reply(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            return RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.stream.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == "-1" else [self.reply() for _ in range(int(rest))]
        return rest

    def accepted(self):
        """Connections that the server has accepted, ever."""
        return int(re.search(r"total_connections_received:(\d+)", self("INFO", "stats"))[1])

    def empty(self):
        self("FLUSHALL")

    def others(self):
        """What the server knows of each connection but this one, as {field: value}."""
        clients = [dict(field.split("=", 1) for field in line.split())
                   for line in self("CLIENT", "LIST").splitlines()]
        return [client for client in clients if client["name"] != "tester"]

    def settled(self):
        """Waits until each other connection is gone, or was reset and has been told so.

        For a use that leaves a state. Answers are written when all that came is carried out, in
        that order: the second question comes after the answers to what the first one saw.
        """
        def is_settled():
            return all(client["cmd"] == "reset" for client in self.others())

        await_true(is_settled, lambda: f"settled: {self.others()}")
        self("PING")
        return "settled"

    def clean(self):
        """Waits until no other connection is in a state that another client could see."""
        await_true(lambda: all(map(is_as_new, self.others())), lambda: f"clean: {self.others()}")
        self("PING")
        return "clean"

    def kill(self):
        """Ends all other connections; their ends have been sent when this returns."""
        for client in self.others():
            self("CLIENT", "KILL", "ID", client["id"])
        self("PING")
        return "killed"

    def close(self):
        self.stream.close()
        self.socket.close()


def is_as_new(client):
    """By what CLIENT LIST says of it."""
    new = {"name": "", "flags": "N", "db": "0", "sub": "0", "psub": "0", "ssub": "0",
           "multi": "-1", "resp": "2"}
    return all(client[field] == value for field, value in new.items())


class Memcached:
    """A tester of a memcached server."""

    def __init__(self, port, login=None):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.stream = self.socket.makefile("rb")
        if login:
            self(f"set login 0 0 {len(login)}\r\n{login}", "STORED")

    def __call__(self, words, *ends):
        """The lines of an answer, up to one of those that end it."""
        self.socket.sendall(words.encode() + b"\r\n")
        lines = []
        while not lines or lines[-1] not in (ends or ("END",)):
            line = self.stream.readline().decode()
            expect(line.endswith("\r\n"), f"{words!r} is answered {lines} {line!r}")
            lines.append(line[:-2])
        return lines

    def statistic(self, name):
        for line in self("stats"):
            if line.startswith(f"STAT {name} "):
                return int(line.rpartition(" ")[2])
        raise Failure(f"no such statistic: {name}")

    def accepted(self):
        return self.statistic("total_connections")

    def empty(self):
        self("flush_all", "OK")

    def close(self):
        self.stream.close()
        self.socket.close()


def command(*words):
    """As redis takes it."""
    text = b"*%d\r\n" % len(words)
    for word in words:
        word = str(word).encode()
        text += b"$%d\r\n%s\r\n" % (len(word), word)
    return text


# What the tests of one file share is started when it is first wanted, and ended by lasting().

_lasting = contextlib.ExitStack()


@contextlib.contextmanager
def lasting():
    with _lasting:
        yield


@functools.lru_cache
def lasting_port(service):
    return _lasting.enter_context(service())


def redis():
    """A tester for each claim: what one of them left half asked is nothing to the next."""
    return _lasting.enter_context(contextlib.closing(Redis(lasting_port(services.redis))))


def memcached():
    return _lasting.enter_context(contextlib.closing(Memcached(lasting_port(services.memcached))))


class Control:
    """Answers what programs/uses.c tells: actions are {word: function that returns a text}."""

    def __init__(self, actions):
        self.actions = actions
        self.failure = None
        self.directory = tempfile.TemporaryDirectory(prefix="sppool-control-")
        self.path = str(pathlib.Path(self.directory.name, "control"))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                word = connection.makefile().readline().strip()
                connection.sendall(str(self.answer(word)).encode())

    def answer(self, word):
        try:
            return self.actions[word]()
        except Exception as error:
            self.failure = self.failure or error
            return "failed"

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.directory.cleanup()


class Pair:
    """The same without and with the library: runs, and connections that the server accepted."""

    def __init__(self, runs, accepted):
        self.plain, self.pooled = runs
        self.without, self.with_library = accepted

    @property
    def stats(self):
        return self.pooled.stats

    def opened(self, without, at_most, at_least=1):
        expect(self.without == without,
               f"{self.without} connections without the library, {without} expected")
        expect(at_least <= self.with_library <= at_most,
               f"{self.with_library} connections with the library, {at_least} to {at_most} "
               f"expected\n{self.stats}")
        return self


def observe(argv, tester, preload, stdin=b"", actions=None, env=None, timeout=TIMEOUT, **options):
    """One run: what it showed, and how many connections the server accepted meanwhile."""
    tester.empty()
    before = tester.accepted()
    with Control(actions or {}) as control:
        words = [str(word).replace("{control}", control.path) for word in argv]
        result = run_alone(words, preload, env=env, stdin=stdin, timeout=timeout, **options)
        if control.failure:
            raise Failure(f"{control.failure}\n{result}") from control.failure
    return result, tester.accepted() - before if tester else 0


def compare(argv, tester, normalise=None, status=0, descriptors_vary="", **options):
    """tester: of the server whose port {port} in argv stands for; it is empty at each start."""
    argv = [str(word).replace("{port}", str(tester.port)) for word in argv]
    runs, accepted = zip(*(observe(argv, tester, preload, **options)
                           for preload in (False, True)))
    plain = runs[0]
    expect(plain.status == status, f"without the library: exit status {plain.status}\n{plain}")
    check_same(*runs, normalise, descriptors_vary=descriptors_vary)
    return Pair(runs, accepted)


def uses(tester, script, actions=None, **options):
    """programs/uses.c with a script, which is a list of steps, or of lists of them."""
    return compare([program("uses"), "{port}", "{control}"], tester,
                   stdin=text_of(script).encode("latin-1"), actions=actions, **options)


def concurrent(threads, n_uses):
    """programs/redis_threads.c; whoever runs it has lasting()."""
    pair = compare([program("redis_threads"), "{port}", str(threads), str(n_uses)], redis())
    expect(pair.plain.stdout == b"%d right, 0 wrong\n" % (threads * n_uses), f"{pair.plain}")
    return pair.opened(threads * n_uses + 1, threads * n_uses // 4)


def text_of(script):
    return "".join(step + "\n" if isinstance(step, str) else text_of(step) for step in script)


def escaped(data):
    """As the step send wants it."""
    data = data.encode() if isinstance(data, str) else data
    for byte, name in (b"\\", b"\\\\"), (b"\r", b"\\r"), (b"\n", b"\\n"), (b"\0", b"\\0"):
        data = data.replace(byte, name)
    return data.decode("latin-1")
