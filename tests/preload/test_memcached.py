#!/usr/bin/python3
"""Clients of memcached that connect for each operation: fewer connections, and nothing of one use
in the next: no value, no late answer, no login."""

import contextlib
import functools
import os
import re
import socket
import struct
import tempfile
import threading
from pathlib import Path

import services
import stores
from harness import claim, expect, main, need, program
from stores import LONG, PYTHON, Memcached, compare, escaped, uses

N = 50  # operations of a client


# ---- real clients ----

PYTHON_MEMCACHE = """
import sys, memcache
for i in range(50):
    client = memcache.Client(["127.0.0.1:" + sys.argv[1]])
    print(client.set("k%d" % i, i), client.incr("k%d" % i), client.get("k%d" % i),
          client.get_multi(["k%d" % i, "none", "k0"]), client.delete("none"))
    client.disconnect_all()
"""

PYLIBMC = """
import sys, pylibmc
for i in range(50):
    client = pylibmc.Client(["127.0.0.1:" + sys.argv[1]], OPTIONS)
    print(client.set("k%d" % i, i), client.incr("k%d" % i), client.get("k%d" % i),
          client.get_multi(["k%d" % i, "none", "k0"]), client.get("none"))
    client.disconnect_all()
"""

PHP = """
for ($i = 0; $i < 50; $i++) {
    $client = new Memcached();
    OPTIONS
    $client->addServer("127.0.0.1", (int)$argv[1]);
    var_dump($client->set("k$i", $i), $client->increment("k$i"), $client->get("k$i"),
             $client->getMulti(["k$i", "none", "k0"]), $client->get("none"));
    $client->quit();
}
"""

THREADS = """
import sys, threading, memcache
seen, lock = [], threading.Lock()
def work(number):
    for i in range(100):
        client = memcache.Client(["127.0.0.1:" + sys.argv[1]])
        key, value = "thread-%d" % number, "%d-%d" % (number, i)
        right = client.set(key, value) and client.get(key) == value
        right = right and client.get_multi([key, "none"]) == {key: value}
        client.disconnect_all()
        with lock: seen.append(right)
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(seen.count(True), "right of", len(seen))
"""

BINARY = "$client->setOption(Memcached::OPT_BINARY_PROTOCOL, true);"
SEE_PLUGINS = {"SP_SEE_PLUGINS": "1"}


def client(argv, at_most=1, **options):
    compare(argv, stores.memcached(), **options).opened(N, at_most)


@claim("python-memcache, a connection for each operation: 50 -> 1")
def python_memcache():
    client([PYTHON, "-c", PYTHON_MEMCACHE, "{port}"])


def pylibmc(options):
    client([PYTHON, "-c", PYLIBMC.replace("OPTIONS", options), "{port}"])


claim("pylibmc (libmemcached), which says quit and calls shutdown() twice: 50 -> 1")(
    functools.partial(pylibmc, ""))
claim("pylibmc, binary protocol: 50 -> 1")(functools.partial(pylibmc, "binary=True"))


def php(options, at_most, env):
    client([need("php"), "-r", PHP.replace("OPTIONS", options), "{port}"], at_most, env=env)


claim("php-memcached, which is not seen: unchanged")(functools.partial(php, "", N, None))
claim("php-memcached, seen (SP_SEE_PLUGINS=1): 50 -> 1")(functools.partial(php, "", 1, SEE_PLUGINS))
claim("php-memcached, binary protocol, seen: 50 -> 1")(
    functools.partial(php, BINARY, 1, SEE_PLUGINS))


@claim("8 threads of python-memcache: each answer is its own, and at most 8 connections")
def threads():
    pair = compare([PYTHON, "-c", THREADS, "{port}"], stores.memcached()).opened(800, 8)
    expect(pair.plain.stdout == b"800 right of 800\n", f"{pair.plain}")


TOOLS = """
tool() { name=$1; shift; echo "$name"; "$name" --servers=127.0.0.1:$port "$@" 2>&1; echo "$?"; }
tool memcping
tool memcstat
for protocol in "" --binary; do
    tool memccat $protocol value
    tool memccp $protocol value
    tool memcexist $protocol value
    tool memccat $protocol value
    tool memccat $protocol value none value
    tool memctouch $protocol --expire=100 value
    tool memcrm $protocol value
    tool memcexist $protocol value
done
"""


@claim("libmemcached's tools, a process for each operation: unchanged")
def tools():
    without_numbers = functools.partial(re.sub, rb"(?m)^\t(\w+): .*", rb"\1")
    with tempfile.TemporaryDirectory(prefix="sppool-value-") as directory:
        Path(directory, "value").write_text("of a file\n" * 1000)
        pair = compare([need("sh"), "-c", "port=$0" + TOOLS, "{port}"], stores.memcached(),
                       cwd=directory, normalise=without_numbers)
    expect(pair.without == pair.with_library, f"{pair.without}, {pair.with_library} connections")
    expect(shown(pair, b"of a file") > 4000, f"{pair.plain}")


# most of its time it waits for the server's delayed acknowledgements
if LONG:
    @claim("memccapable, libmemcached's tests of the protocol: unchanged")
    def capable():
        argv = [need("memccapable"), "-h", "127.0.0.1", "-p", "{port}"]
        pair = compare(argv, stores.memcached())
        expect(b"All tests passed" in pair.plain.stdout, f"{pair.plain}")


# ---- nothing goes from one use to the next ----


def use(question, *receive):
    return ["open", f"send {escaped(question)}", *receive, "close"]


def set_filled(key, length):
    return [f"send set {key} 0 0 {length}\\r\\n", f"fill {length}", "send \\r\\n", "lines 1"]


def shown(pair, text):
    return pair.plain.stdout.count(text)


@claim("a value of a million bytes, read in parts")
def big():
    put = ["open", *set_filled("big", 1000000), "close"]
    get = ["open", "send get big\\r\\n", "lines 1", "bytes 100", "bytes 700000", "bytes 299900",
           "bytes 2", "lines 1", "close"]
    parts = ["open", "send get big\\r\\nget none\\r\\nget big\\r\\n", "lines 1", "bytes 1000002",
             "lines 3", "bytes 1000002", "lines 1", "close"]
    pair = uses(stores.memcached(), [put, get, get, parts, get]).opened(5, 1)
    expect(shown(pair, b"END") == 6, f"{pair.plain}")


@claim("a multi-key get, of which some are there")
def multi():
    put = use("set a 0 0 1\r\nA\r\nset b 7 0 2\r\nBB\r\n", "lines 2")
    get = use("get none a b nothing\r\n", "lines 5")
    gets = use("gets b none a\r\n", "lines 5")
    none = use("get none nothing\r\n", "lines 1")
    # the unique number of gets goes on counting
    uses(stores.memcached(), [put, [get, gets, none] * 5],
         normalise=lambda output: re.sub(rb" \d+\\r", rb" n\\r", output)).opened(16, 1)


# of two words the first value on a new connection may be a login: that one is closed
VALUES = [
    ("a value that looks like the end", b"END\r\n", 1),
    ("a value that looks like another", b"VALUE b 0 1\r\nx\r\nEND\r\n", 2),
    ("a value that says quit", b"quit\r\n", 1),
    ("an empty value", b"", 1),
    ("a value of line ends", b"\r\n" * 20, 1),
]


def looks_like(value, at_most):
    put = use(b"set v 0 0 %d\r\n%s\r\n" % (len(value), value), "lines 1")
    get = ["open", "send get v\\r\\n", "lines 1", f"bytes {len(value) + 2}", "lines 1", "close"]
    uses(stores.memcached(), [[put, get, get]] * 3).opened(9, at_most)


for text, *row in VALUES:
    claim(f"{text}: read as it is")(functools.partial(looks_like, *row))


@claim("incr, decr, append, cas, touch, gat, delete, version: one answer each")
def single():
    use_all = [
        use("set n 0 0 2\r\n10\r\n", "lines 1"), use("incr n 5\r\n", "lines 1"),
        use("decr n 100\r\n", "lines 1"), use("incr none 1\r\n", "lines 1"),
        use("append n 0 0 1\r\n7\r\n", "lines 1"), use("get n\r\n", "lines 3"),
        use("add n 0 0 1\r\n1\r\n", "lines 1"), use("replace none 0 0 1\r\n1\r\n", "lines 1"),
        use("cas n 0 0 1 999999\r\n1\r\n", "lines 1"), use("touch n 0\r\n", "lines 1"),
        use("gat 0 n\r\n", "lines 3"), use("delete n\r\n", "lines 1"),
        use("delete n\r\n", "lines 1"), use("version\r\n", "lines 1"),
        use("verbosity 2\r\n", "lines 1"), use("flush_all\r\n", "lines 1"),
    ]
    uses(stores.memcached(), use_all).opened(len(use_all), 1)


@claim("meta commands, with answers")
def meta():
    use_all = [
        use("ms m 3\r\nabc\r\n", "lines 1"), use("mg m v\r\n", "lines 2"),
        use("mg m s v t f\r\n", "lines 2"), use("mg none v\r\n", "lines 1"),
        use("mg m\r\n", "lines 1"), use("ma n N0 J5\r\n", "lines 1"), use("ma n v\r\n", "lines 2"),
        use("mn\r\n", "lines 1"), use("md m\r\n", "lines 1"), use("md m\r\n", "lines 1"),
        use("mg none v q\r\nmg n v q\r\nmn\r\n", "lines 3"),
    ]
    uses(stores.memcached(), use_all).opened(len(use_all), 1)


def stored(tester, key, value):
    """Waits until the value is there, as nobody is told."""
    stores.await_true(lambda: value in tester(f"get {key}"), lambda: f"{key} is {value}")
    return "stored"


def silent(question, steps=()):
    """A command that nobody answers is the last before close(); then uses that look."""
    tester = stores.memcached()
    look = use("get k\r\n", "lines 3")
    clean = use("delete k\r\n", "lines 1")
    ask = use("get none\r\n", "lines 1")
    script = [[ask, use(question, *steps), "tell stored", look, clean]] * 5
    pair = uses(tester, script, {"stored": lambda: stored(tester, "k", "value")})
    pair.opened(20, 20)
    expect(shown(pair, b"value") == 5, f"{pair.plain}")


def binary(opcode, key=b"", value=b"", extras=b""):
    body = extras + key + value
    lengths = len(key), len(extras), 0, 0, len(body)
    return struct.pack(">BBHBBHIIQ", 0x80, opcode, *lengths, 7, 0) + body


SET, GET, QUIT, NOOP, GETQ, SETQ, QUITQ, SASL = 0x01, 0x00, 0x07, 0x0A, 0x09, 0x11, 0x17, 0x21

SILENT = [
    ("set with noreply", "set k 0 0 5 noreply\r\nvalue\r\n", ()),
    ("set with noreply, behind a get", "get none\r\nset k 0 0 5 noreply\r\nvalue\r\n",
     ("lines 1",)),
    ("meta set, quiet", "ms k 5 q\r\nvalue\r\n", ()),
    ("binary set, quiet", binary(SETQ, b"k", b"value", bytes(8)), ()),
]

for text, *row in SILENT:
    claim(f"{text}, last before close(): done, and the next use is right")(
        functools.partial(silent, *row))


# what is not answered as a rule, and is in this case, though nobody reads it
ANSWERED_AFTER_ALL = [
    ("a meta get that finds something", "mg k v q\r\n"),
    ("a meta delete of another version", "md k q C9\r\n"),
    ("a meta set of more than it says", "ms k 3 q\r\nabcdef\r\n"),
    ("a set of more than it says", "set k 0 0 1 noreply\r\ntoo long\r\n"),
    ("a binary get that finds something", binary(GETQ, b"k")),
]


def after_all(question):
    put, ask = use("set k 0 0 1\r\nx\r\n", "lines 1"), use("get none\r\n", "lines 1")
    uses(stores.memcached(), [[put, use(question), ask, ask]] * (500 if LONG else 50))


for text, question in ANSWERED_AFTER_ALL:
    claim(f"{text}, quiet, is answered after all: not to the next use")(
        functools.partial(after_all, question))


# a header is 24 bytes; a get has 4 of extras
ANSWERED = [
    ("noop", binary(NOOP), 24),
    ("set", binary(SET, b"k", b"value", bytes(8)), 24),
    ("get", binary(GET, b"k"), 24 + 4 + 5),
    ("get of none", binary(GET, b"none"), 24 + len("Not found")),
    ("quiet gets and a noop", binary(GETQ, b"none") + binary(GETQ, b"k") + binary(NOOP),
     24 + 4 + 5 + 24),
]


def of_binary(script, count, at_most):
    # a header ends in the value's unique number, which goes on counting
    pair = uses(stores.memcached(), script * 3,
                normalise=lambda output: re.sub(rb"bytes: .*", b"bytes", output))
    pair.opened(3 * count, at_most)
    for run in pair.plain, pair.pooled:
        expect(run.stdout.count(b"value") == 6 and run.stdout.count(b"Not found") == 3, f"{run}")


BINARY_USES = [use(question, f"bytes {length}") for _, question, length in ANSWERED]


@claim("binary protocol: one connection")
def binary_alone():
    of_binary(BINARY_USES, len(BINARY_USES), 1)


@claim("binary protocol and text in turn: each use has a connection that speaks its own")
def binary_and_text():
    script = [[one, use("get none\r\n", "lines 1"), use("mn\r\n", "lines 1")]
              for one in BINARY_USES]
    of_binary(script, 3 * len(script), 6 * len(script))


QUITS = [
    ("quit", "quit\r\n"),
    ("a get, and quit in the same piece", "get none\r\nquit\r\n"),
    ("binary quit", binary(QUIT)),
    ("binary quiet quit", binary(QUITQ)),
]


def quits(question):
    """The end is waited for, so it must come."""
    ask = use("get none\r\n", "lines 1")
    uses(stores.memcached(), [[ask, ["open", f"send {escaped(question)}", "end", "close"]]] * 3,
         ).opened(6, 6)


for text, question in QUITS:
    claim(f"{text}, and the program waits for the end: it comes")(
        functools.partial(quits, question))


# ---- what is not to be parked ----


@claim("a value that was not read, or not whole, is nobody else's")
def unread():
    put = use("set a 0 0 5\r\nvalue\r\n", "lines 1")
    ask = use("get none\r\n", "lines 1")
    leave = [use("get a\r\n"), use("get a\r\n", "lines 1"), use("get a\r\n", "lines 1", "bytes 3"),
             use("get a\r\n", "lines 2"), use("get a\r\n", "lines 2", "bytes 4"),
             use("set a 0 0 5\r\nval"), use("get "), use("get a\r\nget a\r\n", "lines 3")]
    uses(stores.memcached(), [put, [[one, ask] for one in leave] * 3]).opened(1 + 48, 25)


@claim("errors: the next use is right")
def errors():
    ask = use("get none\r\n", "lines 1")
    wrong = [use("nonsense\r\n", "lines 1"), use("get\r\n", "lines 1"),
             use("incr\r\n", "lines 1"),
             use("set k 0 0 2000000\r\n", "fill 2000000", "send \\r\\n", "lines 1"),
             use("set k 0 0 1\r\ntoo long\r\n", "lines 1"),
             use("get " + "k" * 300 + "\r\n", "lines 1"),
             use("watch fetchers\r\n", "lines 1"), use("lru_crawler metadump all\r\n", "lines 1"),
             use("stats reset\r\n", "lines 1"), use("misbehave\r\n", "lines 1")]
    script = [[one, ask, ask] for one in wrong]
    observed = compare([program("uses"), "{port}"], stores.memcached(),
                       stdin=stores.text_of(script).encode("latin-1"))
    expect(observed.plain.stdout.count(b"line: END") >= 2 * len(wrong), f"{observed.plain}")


@contextlib.contextmanager
def with_logins():
    with tempfile.NamedTemporaryFile("w", prefix="sppool-logins-") as logins:
        logins.write("user:secret\nother:word\n")
        logins.flush()
        os.chmod(logins.name, 0o644)  # memcached is another user by the time it reads it
        with services.memcached("-Y", logins.name) as port, \
                contextlib.closing(Memcached(port, "user secret")) as tester:
            yield tester


LOGINS = [
    ("as it is documented", "set key 0 0 11\r\nuser secret\r\n"),
    ("with a short key", "set x 0 0 10\r\nother word\r\n"),
    ("with flags and a time", "set x 3 100 11\r\nuser secret\r\n"),
]


def login(question):
    """A login is a set like any other. Nobody has one but who said so."""
    look = use("get a\r\n", "lines 1")
    leave = use(question + "set b 0 0 1\r\nx\r\nget a\r\n", "lines 3")
    with with_logins() as tester:
        pair = uses(tester, [look, leave, look, look, leave, leave, look])
        for run in pair.plain, pair.pooled:
            expect(run.stdout.count(b"CLIENT_ERROR unauthenticated") == 4, f"{run}")
        expect(shown(pair, b"STORED") == 6, f"{pair.plain}")


def login_alone(question):
    """So that it looks like any first use."""
    look = use("get a\r\n", "lines 1")
    with with_logins() as tester:
        pair = uses(tester, [look, [use(question, "lines 1"), look] * 3])
        expect(shown(pair, b"CLIENT_ERROR unauthenticated") == 4, f"{pair.plain}")


for text, question in LOGINS:
    claim(f"a login by set, {text}, is not seen in another use")(functools.partial(login, question))
    claim(f"a login by set, {text}, and nothing else, is not seen in another use")(
        functools.partial(login_alone, question))


@claim("a connection that has asked for SASL is not used again")
def sasl():
    mechanism = binary(SASL, b"PLAIN", b"\0user\0secret")
    ask = use("get none\r\n", "lines 1")
    leave = ["open", f"send {escaped(mechanism)}", "bytes 24", "some 1000", "close"]
    # none of the first is good for the second, as the protocol is another
    uses(stores.memcached(), [[ask, leave, ask]] * 3).opened(9, 7)


# ---- rules, and what is said ----


@claim("proto=memcached: pooled, whatever is said first")
def ruled():
    env = {"SP_RULES": "*:* proto=memcached"}
    for question, lines in ("version\r\n", 1), ("get none\r\n", 1), ("mn\r\n", 1):
        pair = uses(stores.memcached(), [use(question, f"lines {lines}")] * 5, env=env)
        pair.opened(5, 1)
        points = pair.stats["service_points"]
        expect([point["protocol"] for point in points] == ["memcached"], f"{points}")


@claim("off=1: no connection to memcached is pooled")
def off():
    uses(stores.memcached(), [use("get none\r\n", "lines 1")] * 5,
         env={"SP_RULES": "*:* off=1"}).opened(5, 5, 5)


@claim("statistics name the protocol")
def statistics():
    pair = uses(stores.memcached(), [use("get none\r\n", "lines 1")] * 3).opened(3, 1)
    points = pair.stats["service_points"]
    expect([point["protocol"] for point in points] == ["memcached"], f"{points}")


# ---- a connection that dies ----


class Stub:
    """Answers lines; a connection that has been used ends in place of an answer about "dies".

    What is asked about "late" is answered when told, and what follows it after that."""

    def __init__(self):
        self.asked = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.attend, args=(connection,), daemon=True).start()

    def attend(self, connection):
        answers = {"get": b"END\r\n", "incr": b"1\r\n", "delete": b"DELETED\r\n", "mg": b"EN\r\n",
                   "mn": b"MN\r\n"}
        is_used = False
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            for line in stream:
                words = line.decode().split()
                self.asked.append(" ".join(words))
                if is_used and "dies" in words:
                    return
                is_used = True
                if "late" in words:
                    self.told.wait(stores.PATIENCE)
                    connection.sendall(b"VA 1 v\r\nx\r\n")
                    continue
                connection.sendall(answers.get(words[0], b"OK\r\n"))
                # the next line is acknowledged at once, and not in 40 ms: or it is not done
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def empty(self):
        self.asked, self.connections, self.told = [], 0, threading.Event()

    def accepted(self):
        return self.connections


ASK = use("get none\r\n", "lines 1")


def dying(question):
    with Stub() as stub:
        pair = uses(stub, [ASK, use(question + "\r\n", "lines 1"), ASK])
        expect(stub.asked.count(question) == 2, f"{stub.asked}")
        expect(pair.stats["replayed"] == 1, f"{pair.stats}")


def dies_once(question):
    with Stub() as stub:
        script = stores.text_of([ASK, use(question + "\r\n", "lines 1"), ASK]).encode()
        run, _ = stores.observe([program("uses"), str(stub.port)], stub, True, stdin=script)
        expect(stub.asked.count(question) == 1, f"{stub.asked}")
        expect(run.stats["replayed"] == 0, f"{run.stats}")
        expect(re.search(rb"ended: (end|ECONNRESET)", run.stdout), f"{run}")


@claim("a quiet command is answered while the next use waits for its own answer: not to that")
def answered_late():
    with Stub() as stub:
        wait = ["open", "send get none\\r\\n", "tell answer", "lines 1", "close"]
        script = [ASK, use("mg late v q\r\n"), wait, ASK, ASK]
        actions = {"answer": lambda: stub.told.set() or "told"}
        uses(stub, script, actions).opened(5, 3, 2)


for question in "get dies", "gets a dies":
    claim(f"a reused connection that dies of {question.split()[0]}: it is sent again")(
        functools.partial(dying, question))
for question in "incr dies 1", "delete dies", "touch dies 1", "gat 1 dies", "mg dies v":
    claim(f"a reused connection that dies of {question.split()[0]}: it is not sent again")(
        functools.partial(dies_once, question))


if __name__ == "__main__":
    with stores.lasting():
        main()
