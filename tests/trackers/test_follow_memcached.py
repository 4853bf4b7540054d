#!/usr/bin/python3
"""The memcached tracker follows conversations with a live memcached, and knows when they are over.

A client speaks to the server, and tells follow (follow.c) every byte: what is sent in one piece,
what is received byte by byte. Until the last byte the verdict must be "busy". Whether a connection
is idle the server itself is asked: what it answers next must be the answer to a no-op.
"""

import contextlib
import os
import pathlib
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "preload"))
os.environ.setdefault("SPPOOL_PROGRAMS", str(ROOT / "build" / "tests" / "trackers"))

import services  # noqa: E402  (found through the lines above)
from harness import TIMEOUT, claim, expect, main, need, program  # noqa: E402

LONG = os.environ.get("SPPOOL_LONG") == "1"


@contextlib.contextmanager
def memcached(*options):
    """memcached will not run as root."""
    port = services.free_port()
    argv = [need("memcached"), "-vv", "-l", "127.0.0.1", "-p", str(port), "-U", "0", *options]
    if os.getuid() == 0:
        argv += ["-u", "nobody"]
    with services.child(argv, "server listening"):
        yield port


class Followed:
    """A connection whose bytes the tracker is told."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tracker = subprocess.Popen(
            [program("follow")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.tracker.stdin.close()
        self.tracker.wait(TIMEOUT)
        self.tracker.stdout.close()

    def tell(self, what, data=b""):
        self.tracker.stdin.write(what + struct.pack("<I", len(data)) + data)
        self.tracker.stdin.flush()
        return self.tracker.stdout.readline().decode().rstrip("\n")

    def send(self, data):
        verdict = self.tell(b">", data)
        self.socket.sendall(data)
        return verdict

    def receive(self, answer, before=("busy",)):
        """Reads until what has come is an answer, whole; returns it and the verdict then."""
        pattern = re.compile(answer, re.DOTALL)
        come, verdict = b"", None
        while not pattern.fullmatch(come):
            expect(verdict is None or verdict in before, f"{verdict} within an answer: {come!r}")
            byte = self.socket.recv(1)
            expect(byte, f"the server has closed the connection; answered: {come!r}")
            come += byte
            verdict = self.tell(b"<", byte)
        return come, verdict

    def exchange(self, command, answer, verdict="none"):
        """As each is, alone. The answer is a regular expression."""
        first = self.send(command)
        expected = "busy" if verdict in ("none", "state") else (verdict, "busy")
        expect(first in expected, f"{first} when sent: {command[:60]!r}")
        come, last = self.receive(answer, ("busy", verdict) if verdict != "none" else ("busy",))
        expect(last == verdict, f"{last}, not {verdict}: {command[:60]!r} {come[:60]!r}")
        return come

    def quietly(self, command):
        verdict = self.send(command)
        expect(verdict == "state", f"{verdict} after {command[:60]!r}")

    def ask(self):
        """The question that the pool asks; nothing but its answer may come."""
        question, answer = map(bytes.fromhex, self.tell(b"?").split(" "))
        self.socket.sendall(question)
        come = receive_exactly(self.socket, len(answer))
        expect(come == answer, f"asked {question!r}, answered {come!r}")
        expect(self.tell(b"!") == "none", "asked and answered, but not idle")

    def expect_idle(self):
        """What the server says next is the answer to what it is asked next."""
        self.exchange(b"mn\r\n", b"MN\r\n")


def receive_exactly(connection, length):
    come = b""
    while len(come) < length:
        piece = connection.recv(length - len(come))
        expect(piece, f"the server has closed the connection; answered: {come!r}")
        come += piece
    return come


def receive_all(connection):
    """Until the server closes, which it does when the client will send no more."""
    come = b""
    connection.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            come += piece
    return come


LOUD = [
    (b"get nothing\r\n", b"END\r\n"),
    (b"get a b c\n", b"END\r\n"),
    (b"set a 5 0 5\r\nhello\r\n", b"STORED\r\n"),
    (b"set b 4294967295 0 0\r\n\r\n", b"STORED\r\n"),
    (b"set c 0 100 7\r\nEND\r\n\r\n\r\n", b"STORED\r\n"),
    (b"get a b  c nothing \r\n",
     rb"VALUE a 5 5\r\nhello\r\nVALUE b 4294967295 0\r\n\r\nVALUE c 0 7\r\nEND\r\n\r\n\r\nEND\r\n"),
    (b"gets a b\r\n", rb"VALUE a 5 5 \d+\r\nhello\r\nVALUE b 4294967295 0 \d+\r\n\r\nEND\r\n"),
    (b"gat 0 a b\r\n", rb"VALUE a 5 5\r\nhello\r\nVALUE b 4294967295 0\r\n\r\nEND\r\n"),
    (b"gats 0 a\r\n", rb"VALUE a 5 5 \d+\r\nhello\r\nEND\r\n"),
    (b"add a 0 0 1\r\nx\r\n", b"NOT_STORED\r\n"),
    (b"add d 0 0 1\r\nx\r\n", b"STORED\r\n"),
    (b"replace d 0 0 1\r\ny\r\n", b"STORED\r\n"),
    (b"replace nothing 0 0 1\r\ny\r\n", b"NOT_STORED\r\n"),
    (b"append d 0 0 2\r\n\r\n\r\n", b"STORED\r\n"),
    (b"prepend d 0 0 3\r\nEND\r\n", b"STORED\r\n"),
    (b"prepend nothing 0 0 3\r\nEND\r\n", b"NOT_STORED\r\n"),
    (b"get d\r\n", b"VALUE d 0 6\r\nENDy\r\n\r\nEND\r\n"),
    (b"cas a 0 0 1 1\r\nx\r\n", b"EXISTS\r\n|STORED\r\n"),
    (b"cas nothing 0 0 1 1\r\nx\r\n", b"NOT_FOUND\r\n"),
    (b"set n 0 0 2\r\n10\r\n", b"STORED\r\n"),
    (b"incr n 5\r\n", b"15\r\n"),
    (b"decr n 6\r\n", b"9\r\n"),
    (b"incr n 18446744073709551615\r\n", b"8\r\n"),
    (b"incr nothing 1\r\n", b"NOT_FOUND\r\n"),
    (b"touch n 100\r\n", b"TOUCHED\r\n"),
    (b"touch nothing 100\r\n", b"NOT_FOUND\r\n"),
    (b"delete n\r\n", b"DELETED\r\n"),
    (b"delete n 0\r\n", b"NOT_FOUND\r\n"),
    (b"version\r\n", rb"VERSION [^\r]+\r\n"),
    (b"verbosity 2\r\n", b"OK\r\n"),
    (b"stats\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats settings\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats items\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats slabs\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats sizes\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats conns\r\n", rb"(STAT [^\r]+\r\n)+END\r\n"),
    (b"stats reset\r\n", b"RESET\r\n"),
    (b"ms m 5 T100 F7 c\r\nEND\r\n\r\n", rb"HD c\d+\r\n"),
    (b"ms m 1 ME\r\nx\r\n", b"NS\r\n"),
    (b"ms m 1 C1\r\nx\r\n", b"EX\r\n"),
    (b"ms nothing 1 C1\r\nx\r\n", b"NF\r\n"),
    (b"mg m\r\n", b"HD\r\n"),
    (b"mg m v\r\n", b"VA 5\r\nEND\r\n\r\n"),
    (b"mg m s v t f c k O12 h l u\r\n",
     rb"VA 5 s5 t\d+ f7 c\d+ km O12 h\d l\d+\r\nEND\r\n\r\n"),
    (b"mg nothing k O9 v\r\n", rb"EN[^\r]*\r\n"),
    (b"mg bmV3 b k N30 v\r\n", rb"VA 0 k(bmV3 b|new) W\r\n\r\n"),
    (b"me m\r\n", rb"ME m exp=[^\r]+\r\n"),
    (b"me nothing\r\n", b"EN\r\n"),
    (b"ma count N0 J13 v\r\n", b"VA 2\r\n13\r\n"),
    (b"ma count v D7 t\r\n", rb"VA 2 t-1\r\n20\r\n"),
    (b"ma count MD\r\n", b"HD\r\n"),
    (b"ma nothing\r\n", b"NF\r\n"),
    (b"ma count C1\r\n", b"EX\r\n"),
    (b"md count I T30\r\n", b"HD\r\n"),
    (b"mg count v\r\n", rb"VA 2 W X\r\n19\r\n|VA 2 X W\r\n19\r\n"),
    (b"md count q C1\r\n", b"EX\r\n"),
    (b"md count\r\n", b"HD\r\n"),
    (b"md count\r\n", b"NF\r\n"),
    (b"mn\r\n", b"MN\r\n"),
    (b"get " + b"k" * 250 + b"\r\n", b"END\r\n"),
    (b"get" + b"".join(b" key%d" % i for i in range(7000)) + b"\r\n", b"END\r\n"),
    (b"flush_all 1000\r\n", b"OK\r\n"),
    (b"flush_all\r\n", b"OK\r\n"),
]

SILENT = [
    b"set a 0 0 5 noreply\r\nhello\r\n", b"add b 0 0 1 noreply\r\nx\r\n",
    b"replace a 0 0 2 noreply\r\n10\r\n", b"append a 0 0 1 noreply\r\n1\r\n",
    b"prepend a 0 0 1 noreply\r\n2\r\n", b"cas a 0 0 1 1 noreply\r\nx\r\n",
    b"incr a 1 noreply\r\n", b"decr a 1 noreply\r\n", b"touch a 100 noreply\r\n",
    b"delete b noreply\r\n", b"delete nothing 0 noreply\r\n", b"verbosity 2 noreply\r\n",
    b"mg nothing v q\r\n", b"ms c 1 q\r\nx\r\n", b"md c q\r\n", b"ms n 1 q\r\n5\r\n",
    b"ma n q\r\n", b"flush_all noreply\r\n", b"flush_all 0 noreply\r\n",
]


@claim("text: every command and its answer, alone, and the server agrees that it is idle")
def text_commands():
    with memcached() as port, Followed(port) as followed:
        for command, answer in LOUD:
            silent = b" q" in command
            if silent:
                verdict = followed.send(command)
                expect(verdict == "state", f"{verdict}: {command!r}")
                come, verdict = followed.receive(answer)
                expect(verdict == "none", f"{verdict}: {command!r} {come!r}")
            else:
                followed.exchange(command, answer)
            followed.expect_idle()


@claim("text: large values, whole and byte by byte")
def large_values():
    value = bytes(random.Random(1).randbytes(300000))
    with memcached("-I", "2m") as port, Followed(port) as followed:
        followed.exchange(b"mn\r\n", b"MN\r\n")
        followed.exchange(b"set a 0 0 300000\r\n" + value + b"\r\n", b"STORED\r\n")
        expect(followed.send(b"get a\r\n") == "busy", "not busy")
        answer = b"VALUE a 0 300000\r\n" + value + b"\r\nEND\r\n"
        while answer:
            piece = followed.socket.recv(5000)
            expect(piece and answer.startswith(piece), f"not the value: {piece[:60]!r}")
            answer = answer[len(piece):]
            verdict = followed.tell(b"<", piece)
            expect(verdict == ("busy" if answer else "none"), f"{verdict}, {len(answer)} to come")
        followed.expect_idle()


@claim("text: after noreply and q it is asked for a no-op, and is idle then")
def silent_commands():
    with memcached() as port, Followed(port) as followed:
        for command in SILENT:
            followed.quietly(command)
            followed.ask()
            followed.quietly(command)
            if command == b"md c q\r\n":  # what is missing it says, in some versions
                followed.receive(b"NF\r\n")
            followed.expect_idle()
        followed.exchange(b"".join(SILENT) + b"mn\r\n", b"(NF\r\n)?MN\r\n")
        # too large: without a word, and its data is no command
        followed.quietly(b"set a 0 0 2000000 noreply\r\n" + b"x" * 2000000 + b"\r\n")
        followed.ask()


@claim("text: pipelines of all kinds, cut anywhere")
def pipelines():
    chance = random.Random(2)
    commands = [command for command, _ in LOUD if len(command) < 1000] + SILENT
    commands = [command for command in commands if command != b"mn\r\n"]
    followed_to_the_end = 0
    with memcached() as port:
        for _ in range(500 if LONG else 60):
            with Followed(port) as followed:
                sent = b""  # of the first bytes it is not known what they are
                for _ in range(4):
                    chosen = chance.choices(commands, k=chance.randrange(9))
                    data = b"".join(chosen) + b"mn\r\n"
                    while data:
                        size = chance.randrange(1, len(data) + 1)
                        expect(followed.send(data[:size]) in ("busy", "state") or len(sent) < 12,
                               f"not busy with {data[:size]!r} of {chosen}")
                        sent += data[:size]
                        data = data[size:]
                    # What could be the answer of a quiet one is taken for it.
                    ambiguous = any(b" q" in command for command in chosen)
                    before = ("busy", "state", "malformed") if ambiguous else ("busy", "state")
                    _, verdict = followed.receive(rb".*(?<![^\n])MN\r\n", before)
                    expect(verdict == "none" or (ambiguous and verdict in ("busy", "malformed")),
                           f"{verdict} after {chosen}")
                    followed_to_the_end += verdict == "none"
                    if verdict != "none":
                        break
        expect(followed_to_the_end > 100, f"only {followed_to_the_end} pipelines were followed")


REFUSED = [
    b"", b"GET a", b"get", b"nonsense", b"watch bad", b"slabs automove 5", b"lru", b"set a 0 0",
    b"set a x 0 1", b"set a 0 0 -1", b"set a 0 0 1 2 3", b"incr a b", b"incr a -1", b"touch a b",
    b"get " + b"k" * 251, b"set " + b"k" * 251 + b" 0 0 1", b"delete a 1", b"gat a b", b"mg",
    b"mg a !", b"mg a v v", b"mg a b", b"ms a", b"ms a x", b"ms a S1", b"ma a MX", b"me",
    b"verbosity", b"verbosity x", b"flush_all x", b"stats nonsense", b"stats cachedump",
    b"stats detail", b"shutdown", b"cache_memlimit 1", b"extstore x", b"stats detail off",
    b"lru_crawler crawl all", b"cas a 0 0 1", b" get a", b"mz a", b"misbehave",
]


@claim("text: what the server calls an error ends the use of a connection")
def refused_commands():
    with memcached() as port:
        for line in REFUSED:
            with Followed(port) as followed:
                followed.exchange(b"mn\r\n", b"MN\r\n")
                followed.send(line + b"\r\nmn\r\n")
                come = receive_all(followed.socket)
                verdict = followed.tell(b"<", come)
                expect(verdict not in ("none", "state", "busy"), f"{verdict}: {line!r} {come!r}")


@claim("text: data that is too large, too long or too short ends the use of a connection")
def bad_data():
    with memcached() as port:
        for data in (
            b"set a 0 0 2000000\r\n" + b"x" * 2000000 + b"\r\n",
            b"ms a 2000000\r\n" + b"x" * 2000000 + b"\r\n",
            b"set a 0 0 3\r\nhello\r\n",
            b"set a 0 0 3 noreply\r\nhello\r\n",
            b"set a 0 0 8\r\nhello\r\nmn\r\n",
            b"set a 0 0 5\r\nhello\n",
        ):
            with Followed(port) as followed:
                followed.exchange(b"mn\r\n", b"MN\r\n")
                followed.send(data + b"mn\r\n")
                come = receive_all(followed.socket)
                verdict = followed.tell(b"<", come)
                expect(verdict not in ("none", "state", "busy"), f"{verdict}: {data[:40]!r}")


@claim("text: an answer of error to a number that is none")
def not_numeric():
    with memcached() as port, Followed(port) as followed:
        followed.exchange(b"set a 0 0 1\r\nx\r\n", b"STORED\r\n")
        followed.exchange(b"incr a 1\r\n", rb"CLIENT_ERROR [^\r]+\r\n", "unknown_command")


@claim("quit, which the server does not answer")
def goodbye():
    with memcached() as port, Followed(port) as followed:
        followed.exchange(b"mn\r\n", b"MN\r\n")
        expect(followed.tell(b"g", b"quit\r\n") == "yes", "quit is no goodbye")
        expect(followed.send(b"quit\r\n") == "said_goodbye", "quit was not seen")
        expect(receive_all(followed.socket) == b"", "quit is answered")


LOGINS = [b"user pass", b"  user   pass", b"user pass more", b"other p:a:s:s"]
NO_LOGINS = [b"user", b"user ", b" user", b"u:ser pass", b"user:pass x", b"", b"   "]


@claim("text: a login (-Y) binds the connection, however it is written")
def logins():
    with tempfile.NamedTemporaryFile("w", prefix="sppool-memcached-") as file:
        file.write("user:pass\nother:p:a:s:s\n")
        file.flush()
        os.chmod(file.name, 0o644)
        with memcached("-Y", file.name) as port:
            for value in LOGINS:
                with Followed(port) as followed:
                    command = b"set x 0 0 %d\r\n%s\r\n" % (len(value), value)
                    followed.exchange(command, b"STORED\r\n", "authenticated")
                    # It would be data for the next one.
                    followed.exchange(command, b"STORED\r\n", "authenticated")
                    come = followed.exchange(b"get x\r\n", rb"VALUE .*END\r\n", "authenticated")
                    expect(value in come, f"not stored: {come!r}")
                with Followed(port) as followed:
                    followed.quietly(command.replace(b"\r\n", b" noreply\r\n", 1))
                    come, verdict = followed.receive(b"STORED\r\n", ("busy",))
                    expect(verdict == "authenticated", f"{verdict} after a silent login: {come!r}")
            for value in NO_LOGINS:
                with Followed(port) as followed:
                    command = b"set x 0 0 %d\r\n%s\r\n" % (len(value), value)
                    followed.exchange(command, rb"CLIENT_ERROR [^\r]+\r\n", "unknown_command")
            for command in (b"get a\r\n", b"mn\r\n", b"version\r\n"):
                with Followed(port) as followed:
                    followed.exchange(command, rb"CLIENT_ERROR [^\r]+\r\n", "unknown_command")


@claim("text: without -Y a value with a space is one, once the server has answered something")
def no_logins():
    with memcached() as port:
        with Followed(port) as followed:
            followed.exchange(b"set x 0 0 9\r\nuser pass\r\n", b"STORED\r\n", "authenticated")
        with Followed(port) as followed:
            followed.exchange(b"get x\r\n", rb"VALUE .*END\r\n")
            followed.exchange(b"set x 0 0 9\r\nuser pass\r\n", b"STORED\r\n")
            followed.expect_idle()
        with Followed(port) as followed:
            followed.quietly(b"delete x noreply\r\n")
            followed.ask()
            followed.exchange(b"set x 0 0 9\r\nuser pass\r\n", b"STORED\r\n")
            followed.expect_idle()


def request(opcode, key=b"", extras=b"", value=b""):
    body = extras + key + value
    return struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, len(body), 7,
                       0) + body


def answer(opcode, status=0, extras=rb"", rest=rb".*"):
    """A regular expression; of the lengths only the low bytes of the body's are used here."""
    return re.escape(struct.pack(">BB", 0x81, opcode)) + b".{4}" + re.escape(
        struct.pack(">H", status)) + b".{16}" + extras + rest


NUMBER = struct.pack(">QQI", 1, 5, 0)
STORE, GET, GETQ, GETK, GETKQ = b"\0" * 8, 0x00, 0x09, 0x0c, 0x0d

# the status, and how long the body of the answer is
BINARY = [
    (request(GET, b"a"), 1, 9), (request(0x01, b"a", STORE, b"hello"), 0, 0),
    (request(GET, b"a"), 0, 9), (request(GETK, b"a"), 0, 10), (request(GETK, b"b"), 1, 1),
    (request(0x02, b"a", STORE, b"x"), 2, 20), (request(0x02, b"n", STORE, b"5"), 0, 0),
    (request(0x03, b"a", STORE, b"x"), 0, 0), (request(0x03, b"b", STORE, b"x"), 1, 9),
    (request(0x0e, b"a", b"", b"xx"), 0, 0), (request(0x0f, b"a", b"", b"xx"), 0, 0),
    (request(0x0f, b"b", b"", b"xx"), 5, None), (request(0x05, b"n", NUMBER), 0, 8),
    (request(0x06, b"n", NUMBER), 0, 8), (request(0x05, b"a", NUMBER), 6, None),
    (request(0x05, b"new", NUMBER), 0, 8), (request(0x1c, b"a", b"\0" * 4), 0, 4),
    (request(0x1d, b"a", b"\0" * 4), 0, 9), (request(0x23, b"a", b"\0" * 4), 0, 10),
    (request(0x1c, b"b", b"\0" * 4), 1, 9), (request(0x1d, b"b", b"\0" * 4), 1, 9),
    (request(0x04, b"a"), 0, 0), (request(0x04, b"a"), 1, 9), (request(0x0a), 0, 0),
    (request(0x0b), 0, None), (request(0x08), 0, 0), (request(0x08, b"", b"\0\0\x10\0"), 0, 0),
    (request(0x10, b"reset"), 0, 0), (request(0x10, b"nonsense"), 1, 9),
]

QUIET = [
    request(0x11, b"a", STORE, b"hello"), request(0x12, b"b", STORE, b"x"),
    request(0x13, b"b", STORE, b"x"), request(0x19, b"a", b"", b"x"),
    request(0x1a, b"a", b"", b"x"), request(GETQ, b"nothing"), request(GETKQ, b"nothing"),
    request(0x1e, b"nothing", b"\0" * 4), request(0x24, b"nothing", b"\0" * 4),
    request(0x15, b"n", NUMBER), request(0x16, b"n", NUMBER), request(0x14, b"a"),
    request(0x18),
]

QUIET_BUT_HEARD = [
    (request(0x11, b"a", STORE, b"hello"), None), (request(GETQ, b"a"), 9),
    (request(GETKQ, b"a"), 10), (request(0x1e, b"a", b"\0" * 4), 9),
    (request(0x24, b"a", b"\0" * 4), 10), (request(0x12, b"a", STORE, b"x"), 20),
    (request(0x13, b"nothing", STORE, b"x"), 9), (request(0x14, b"nothing"), 9),
]


def receive_binary(followed, verdict):
    """One answer, byte by byte; returns its opcode, key size, status and body size."""
    come = b""
    size = 24
    while len(come) < size:
        byte = followed.socket.recv(1)
        expect(byte, f"the server has closed the connection; answered: {come!r}")
        come += byte
        if len(come) == 24:
            size += struct.unpack(">I", come[8:12])[0]
        now = followed.tell(b"<", byte)
        expected = verdict if len(come) == size else "busy"
        expect(now == expected, f"{now}, not {expected}, {len(come)} of {size}: {come!r}")
    key, = struct.unpack(">H", come[2:4])
    return come[1], key, struct.unpack(">H", come[6:8])[0], size - 24


def receive_until(followed, is_last):
    """Answers; is_last() of a header says whether it is that of the last one."""
    while True:
        head = followed.socket.recv(24, socket.MSG_PEEK | socket.MSG_WAITALL)
        expect(len(head) == 24, f"the server has closed the connection; answered: {head!r}")
        receive_binary(followed, "none" if is_last(head) else "busy")
        if is_last(head):
            return


@claim("binary: every command and its answer, quiet ones, statistics, quit")
def binary():
    with memcached() as port, Followed(port) as followed:
        for command, status, size in BINARY:
            expect(followed.send(command) == "busy", f"not busy: {command!r}")
            got = receive_binary(followed, "none")
            expect(got[0] == command[1] and got[2] == status, f"{command!r}: {got}")
            expect(size in (None, got[3]), f"{command!r}: {got}")
        for command in QUIET:
            followed.quietly(command)
            followed.ask()
        # some of them have something to say then
        followed.quietly(b"".join(QUIET))
        expect(followed.send(request(0x0a)) == "busy", "not busy")
        receive_until(followed, lambda head: head[1] == 0x0a)
        for command, size in QUIET_BUT_HEARD:
            followed.quietly(command)
            if size is not None:
                got = receive_binary(followed, "none")
                expect(got[0] == command[1] and got[3] == size, f"{command!r}: {got}")
            else:
                followed.ask()
        for command in (request(0x10), request(0x10, b"settings")):
            expect(followed.send(command) == "busy", "not busy")
            receive_until(followed, lambda head: head[2:4] == b"\0\0")
        followed.send(b"".join(request(GETKQ, key) for key in (b"a", b"b", b"a")) + request(0x0a))
        receive_binary(followed, "busy")
        receive_binary(followed, "busy")
        receive_binary(followed, "none")
        expect(followed.tell(b"g", request(0x17)) == "yes", "quitq is no goodbye")
        expect(followed.send(request(0x07)) == "said_goodbye", "quit was not seen")
        expect(len(receive_all(followed.socket)) == 24, "quit is not answered")


@claim("binary: what the server calls an error ends the use of a connection")
def refused_binary():
    with memcached() as port:
        for command in (
            request(0x01, b"a", STORE, b"x" * 2000000), request(0x1b, b"", b"\0\0\0\1"),
            request(0x1f), request(0x20), request(GET), request(GET, b"k" * 251),
            request(GET, b"a", b"\0" * 4), request(0x0a, b"a"), request(0x01, b"a"),
        ):
            with Followed(port) as followed:
                followed.send(request(0x0a) + command + request(0x0a))
                come = receive_all(followed.socket)
                verdict = followed.tell(b"<", come)
                expect(verdict not in ("none", "state", "busy"), f"{verdict}: {command[:40]!r}")


if __name__ == "__main__":
    main()
