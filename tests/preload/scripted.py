"""A server that does what its client asks it to do amiss, and one that is told when.

Two modes of tests/server.py, which share a gate. What a request is for is a list of words:

    on a connection's second or later request
        fin, rst    closed, reset, without an answer
        part        reset as soon as the request line has come
        408         "408 Request Timeout", and closed
        told        all of that when it is told to strike
        lost        who wants to connect is not heard any more, until it is told to let go
    on its first
        held        answered when it is told to let go
        silent      never answered
        dead        closed without an answer
    whenever
        keep=N      says that it keeps idle connections for N seconds

Every other is answered with what it was for. So a program without the library, whose connections
are new, meets the second list only.

The other mode is for the client's control connections; its answers come when it is done:

    /under-way      a request is held, or somebody is not heard who wants to connect
    /arrived        a request is there that waits for being told
    /strike         those that wait are dealt with
    /let-go         whoever wants to connect is heard, what is held is answered
    /end-idle       connections that are idle are closed
    /lose           from now on who wants to connect is not heard
"""

import pathlib
import socket
import struct
import threading
import time

from server import MODES, respond

PATIENCE = 20  # seconds; ends a test that hangs, decides nothing else
SYN_SENT = "02"


class Script:
    """What the two servers of a gate know of each other."""

    def __init__(self, gate):
        self.server = None
        self.arrived = threading.Event()
        self.struck = threading.Event()
        self.let_go = threading.Event()
        self.held = threading.Event()
        self.misled = threading.Event()  # what came here was not for the control connection
        self.lost = False
        gate.when_open(self.struck.set)
        gate.when_open(self.let_go.set)

    def lose(self):
        self.lost = True
        self.server.lose_newcomers(True)

    def is_under_way(self):
        return self.held.is_set() or (self.lost and is_unheard(self.server.port))

    def strike(self):
        self.struck.set()

    def go_on(self):
        if self.lost:
            self.lost = False
            self.server.lose_newcomers(False)
        self.let_go.set()

    def end_idle(self):
        for connection in self.server.log:
            if getattr(connection, "is_idle", False):
                connection.finish()


_lock = threading.Lock()


def script_of(connection):
    gate = connection.server.gate
    with _lock:
        if not hasattr(gate, "script"):
            gate.script = Script(gate)
        return gate.script


def is_unheard(port):
    """Does somebody here want to connect to the port, and has not been heard?"""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return any(f[2].endswith(f":{port:04X}") and f[3] == SYN_SENT for f in fields)


def wait_until(true):
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.001)


def reset(connection):
    linger = struct.pack("ii", 1, 0)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.socket.close()


def request_line(connection):
    """It stays in the buffer; empty at the client's end."""
    while b"\r\n" not in connection.buffer:
        if not connection.fill():
            return ""
    return connection.buffer.partition(b"\r\n")[0].decode("latin-1")


def strike(connection, script, words):
    """What is done to a connection that has been used; false: it is answered after all."""
    if "told" in words:
        script.arrived.set()
        script.struck.wait()
    if "lost" in words:
        script.lose()
    if "rst" in words:
        reset(connection)
    if "408" in words:
        connection.send(respond(b"", "408 Request Timeout", fields=["Connection: close"]))
    return bool(words & {"fin", "rst", "408"})


def wait_with_answer(connection, script, words):
    """Of a new connection; false: there is none."""
    if "held" in words:
        script.held.set()
        script.let_go.wait()
    if "silent" in words:
        while connection.fill():
            pass
    return not words & {"silent", "dead"}


def serve_scripted(connection):
    script = script_of(connection)
    script.server = connection.server
    is_used = connection.is_idle = False
    while line := request_line(connection):
        connection.is_idle = False
        words = set(line.split(" ")[1].strip("/").split("/"))
        if is_used and "part" in words:
            connection.record(f"part {line}")
            return reset(connection)
        request = connection.read_request()
        if request is None:
            return None
        connection.hosts = getattr(connection, "hosts", []) + [request.headers["host"]]
        if is_used and strike(connection, script, words):
            return None
        if not is_used and not wait_with_answer(connection, script, words):
            return None
        keeps = [f"Keep-Alive: timeout={word[5:]}" for word in words if word.startswith("keep=")]
        is_used = connection.is_idle = True
        connection.send(respond(request.target.encode(), fields=keeps,
                                head_only=request.method == "HEAD"))
    return None


def serve_script_control(connection):
    script = script_of(connection)
    commands = {
        "/under-way": lambda: wait_until(script.is_under_way),
        "/arrived": lambda: script.arrived.wait(PATIENCE),
        "/strike": script.strike,
        "/let-go": script.go_on,
        "/end-idle": script.end_idle,
        "/lose": script.lose,
    }
    while request := connection.read_request():
        known = request.target in commands
        commands.get(request.target, script.misled.set)()
        connection.send(respond(b"done", "200 OK" if known else "404 Not Found"))


def serve_listening(connection):
    """Says nothing, and remembers how much came."""
    received = 0
    while data := connection.socket.recv(65536):
        received += len(data)
    connection.record(f"{received} bytes")


MODES["scripted"] = serve_scripted
MODES["script-control"] = serve_script_control
MODES["listening"] = serve_listening
