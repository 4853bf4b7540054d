#!/usr/bin/python3
"""A loopback server that counts: what the client opened is what was accepted here.

As a program:  /usr/bin/python3 tests/server.py --mode keepalive
prints its port, serves until its standard input ends, then prints one line of JSON:
{"connections": N, "requests": M}.

As a module:  with Server("close") as server: ... server.port, server.connections, server.log

A mode is a function of MODES. Whatever a mode does "when told", it does when the server's gate
opens: from Server.gate.open(), or when a client asks any server that shares the gate for
GET /release. The answer to /release is sent after the deed, so nobody needs to sleep.
"""

import argparse
import ctypes
import json
import selectors
import socket
import struct
import sys
import threading

PATTERN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678"
EXTRA = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra"
CHUNK = 1000
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
BPF_RET = 0x06
BODY_LIMIT = 65536  # a request body longer than this is refused, not buffered


def pattern(length):
    """The same bytes for the same length; a shift by any number of bytes shows."""
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


class Malformed(Exception):
    """The client sent what RFC 9112 does not allow."""


class Gate:
    """A one-way switch that runs what is waiting for it, in the thread that opens it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting = []
        self.is_open = False

    def when_open(self, action):
        with self._lock:
            if not self.is_open:
                self._waiting.append(action)
                return
        action()

    def open(self):
        with self._lock:
            self.is_open = True
            waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()


class Request:
    def __init__(self, method, target, version, headers, body):
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.body = body


class Connection:
    """One accepted connection: buffered reading, and the record of what was asked on it."""

    def __init__(self, server, sock, number):
        self.server = server
        self.socket = sock
        self.id = number
        self.asked = []  # "METHOD target", in order
        self.late = 0  # bytes that came after this side had decided to end
        self.buffer = b""

    def fill(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def read_until(self, mark):
        """Through mark, or None if the client ended first."""
        while mark not in self.buffer:
            if not self.fill():
                return None
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    def read_exactly(self, length):
        while len(self.buffer) < length:
            if not self.fill():
                return None
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def read_request(self):
        """The next request, or None at the client's orderly end."""
        head = self.read_until(b"\r\n\r\n")
        if head is None:
            return None
        method, target, version, headers = parse_head(head)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > BODY_LIMIT:
            raise Malformed("Content-Length")
        if "transfer-encoding" in headers:
            raise Malformed("Transfer-Encoding in a request is not served here")
        body = self.read_exactly(int(length))
        if body is None:
            return None
        self.record(f"{method} {target}")
        return Request(method, target, version, headers, body)

    def record(self, what):
        self.asked.append(what)
        self.server.count_request()

    def send(self, data):
        """Without complaint: a client that has gone is no fault of the server's."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def finish(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def send_and_when_told(self, data, more, action=lambda: None):
        """Sends data; when told, sends more and acts.

        A server told before its start sends both in one piece. Otherwise only what was answered
        before the gate opened is followed up: a connection that changed by itself later would
        race with the client's next step. The gate is told first, as the client may be quick.
        """
        if self.server.told:
            self.send(data + more)
            action()
            return
        if not self.server.gate.is_open:
            self.server.gate.when_open(lambda: (self.send(more), action()))
        self.send(data)

    def await_end(self):
        """Until the client ends, or sends what will not be answered any more."""
        self.late += len(self.buffer)
        if not self.late:
            self.late += len(self.socket.recv(65536))


def parse_head(head):
    lines = head.decode("latin-1").split("\r\n")[:-2]
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Malformed("request line")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or name.lower() in headers:
            raise Malformed("field line")
        headers[name.lower()] = value.strip(" \t")
    if words[2] == "HTTP/1.1" and "host" not in headers:
        raise Malformed("no Host")
    return words[0], words[1], words[2], headers


def respond(body, status="200 OK", version="HTTP/1.1", fields=(), head_only=False):
    lines = [f"{version} {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + (b"" if head_only else body)


def respond_chunked(body):
    pieces = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def answer(connection, request, fields=(), version="HTTP/1.1"):
    """The response to a request, in bytes: what is served is the same in every mode."""
    kind, _, rest = request.target.lstrip("/").partition("/")
    head_only = request.method == "HEAD"
    if request.method == "POST":
        return respond(request.body, fields=fields, version=version)
    if kind == "bytes" and rest.isdigit():
        body = pattern(int(rest))
    elif kind == "chunked" and rest.isdigit():
        return respond_chunked(pattern(int(rest)))
    elif kind == "echo":
        body = rest.encode()
    elif kind == "release":
        connection.server.gate.open()
        body = b"released"
    else:
        return respond(b"", "404 Not Found", version, fields, head_only)
    return respond(body, "200 OK", version, fields, head_only)


# The modes. Each serves one connection and returns when it is to be closed.


def serve_keepalive(connection):
    """HTTP/1.1, for as long as the client likes."""
    while request := connection.read_request():
        connection.send(answer(connection, request))
        if request.headers.get("connection", "").lower() == "close":
            return


def serve_close(connection):
    """Answers Connection: close; its FIN comes when told, or after the client's own end."""
    request = connection.read_request()
    if request:
        connection.send(answer(connection, request, ["Connection: close"]))
        connection.server.gate.when_open(connection.finish)
        connection.await_end()


def serve_eof(connection):
    """A body without a length, ended by the end of the connection."""
    request = connection.read_request()
    if request:
        body = answer(connection, request).partition(b"\r\n\r\n")[2]
        connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)


def serve_http10(connection):
    """HTTP/1.0 with a length and without keep-alive; its FIN comes when told."""
    request = connection.read_request()
    if request:
        connection.send(answer(connection, request, version="HTTP/1.0"))
        connection.server.gate.when_open(connection.finish)
        connection.await_end()


def serve_banner(connection):
    """Greets first, then speaks HTTP/1.1."""
    connection.send(b"220 loopback ready\r\n")
    serve_keepalive(connection)


def serve_silent(connection):
    """Answers nothing before it is told to; then everything, in order."""
    while request := connection.read_request():
        data = answer(connection, request)
        connection.server.gate.when_open(lambda data=data: connection.send(data))


def serve_idle_close(connection):
    """Keep-alive, but ends an idle connection when told, or after each response if told before."""
    while request := connection.read_request():
        connection.send_and_when_told(answer(connection, request), b"", connection.finish)


def serve_stale(connection):
    """Keep-alive, but a connection's second or later request for /fin... or /rst... is its end.

    To /...silent a first request is not answered, either. What is /...told is done when told.
    """
    for _ in iter(lambda: serve_one_stale(connection), False):
        pass


def serve_one_stale(connection):
    first = not connection.asked
    request = connection.read_request()
    if request is None:
        return False
    if request.target.endswith("told"):
        done = threading.Event()
        connection.server.gate.when_open(done.set)
        done.wait()
    if not first and request.target.startswith("/rst"):
        connection.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        connection.socket.close()
        return False
    if not first and request.target.startswith("/fin"):
        return False
    if not request.target.endswith("silent"):
        connection.send(respond(pattern(100)))
    return True


def serve_extra(connection):
    """Sends what nobody asked for when told, or in one piece with each response if told before."""
    while request := connection.read_request():
        connection.send_and_when_told(answer(connection, request), EXTRA)


def serve_half_close(connection):
    """Reads until the client's FIN, and only then says what it got."""
    while connection.fill():
        pass
    data = connection.read_exactly(len(connection.buffer))
    connection.record("half-close")
    connection.send(b"got %d bytes\n" % len(data))


def serve_hold(connection):
    """Keep-alive; holds its own end open after the client's FIN, until told."""
    serve_keepalive(connection)
    done = threading.Event()
    connection.server.gate.when_open(done.set)
    done.wait()


def serve_tls_looking(connection):
    """One ClientHello per connection; a second one is an alert, as in TLS without renegotiation."""
    greeted = False
    while header := connection.read_exactly(5):
        payload = connection.read_exactly(int.from_bytes(header[3:5], "big"))
        if payload is None:
            return
        connection.record(f"record {header[0]}")
        if header[0] == 0x16 and greeted:
            connection.send(b"\x15\x03\x03\x00\x02\x02\x0a")
            return
        greeted = True
        connection.send(header[:1] + b"\x03\x03" + header[3:5] + payload)


def serve_goodbye(connection):
    """HTTP/1.1 until the client says quit: then it is over, though no FIN has been sent yet."""
    while connection.buffer or connection.fill():
        if connection.buffer.startswith(b"quit\r\n"):
            connection.read_exactly(6)
            connection.await_end()
            return
        request = connection.read_request()
        if request is None:
            return
        connection.send(answer(connection, request))


def serve_line(connection):
    """A stateful line protocol: select N, which, echo WORD, quit."""
    selected = b"0"
    while line := connection.read_until(b"\r\n"):
        verb, _, rest = line.strip().partition(b" ")
        connection.record(line.strip().decode("latin-1"))
        if verb == b"quit":
            connection.await_end()
            return
        if verb == b"select":
            selected, reply = rest, b"+OK"
        elif verb == b"which":
            reply = b"+" + selected
        else:
            reply = b"+" + rest
        connection.send(reply + b"\r\n")


def read_command(connection):
    """What memcached or redis is told: its first word, or the opcode; None at the client's end."""
    if not connection.buffer and not connection.fill():
        return None
    if connection.buffer[:1] == b"\x80":
        head = connection.read_exactly(24)
        return head and head[1:2]
    line = connection.read_until(b"\r\n")
    if line and line[:1] == b"*":
        words = []
        for _ in range(int(line[1:])):
            length = connection.read_until(b"\r\n")
            words.append(connection.read_exactly(int(length[1:]) + 2)[:-2])
        return words[0]
    return line and line.split()[0]


COMMANDS = {
    b"get": b"END\r\n",
    b"quit": b"",
    b"PING": b"+PONG\r\n",
    b"QUIT": b"+OK\r\n",
    b"\x0a": b"\x81\x0a" + bytes(22),
    b"\x07": b"\x81\x07" + bytes(22),
}


def serve_commands(connection):
    """A few words of memcached and redis, until one of them is a goodbye."""
    while command := read_command(connection):
        connection.record(command.decode("latin-1"))
        connection.send(COMMANDS[command])
        if command in (b"quit", b"QUIT", b"\x07"):
            connection.finish()
            while connection.fill():
                pass
            connection.late += len(connection.buffer)
            return


MODES = {
    "keepalive": serve_keepalive,
    "close": serve_close,
    "eof": serve_eof,
    "http10": serve_http10,
    "banner": serve_banner,
    "silent": serve_silent,
    "idle-close": serve_idle_close,
    "stale": serve_stale,
    "extra": serve_extra,
    "half-close": serve_half_close,
    "hold": serve_hold,
    "tls-looking": serve_tls_looking,
    "goodbye": serve_goodbye,
    "line": serve_line,
    "commands": serve_commands,
}


class Server:
    """Listens from start() to stop(); the counts are exact once stop() has returned."""

    def __init__(self, mode="keepalive", address="127.0.0.1", port=0, gate=None, told=False):
        self._serve = MODES[mode]
        self._where = (address, port)
        self._lock = threading.Lock()
        self._threads = []
        self.gate = gate or Gate()
        self.log = []  # every Connection, in the order of acceptance; its id is its index
        self.requests = 0
        self.told = told
        if told:
            self.gate.open()

    @property
    def connections(self):
        return len(self.log)

    @property
    def late(self):
        """Bytes that clients sent on connections which were already ending."""
        return sum(connection.late for connection in self.log)

    def count_request(self):
        with self._lock:
            self.requests += 1

    def start(self):
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        self._listener = socket.create_server(self._where, family=family, backlog=1024)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)
        self._acceptor.start()
        return self

    def lose_newcomers(self, lost):
        """From now on who wants to connect is not heard, until told otherwise; whoever is here stays."""
        if lost:
            nothing = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RET, 0, 0, 0), 8)
            program = struct.pack("HP", 1, ctypes.addressof(nothing))
            self._listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        else:
            self._listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def stop(self):
        self._wake.close()
        self._acceptor.join()
        self._listener.close()
        self.gate.open()
        for connection in self.log:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    def _accept_all(self):
        with selectors.DefaultSelector() as selector, self._woken:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            stopping = False
            while not stopping:
                stopping = any(key.fileobj is self._woken for key, _ in selector.select())
                self._accept_waiting()  # once more when stopping: who came is counted

    def _accept_waiting(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:
                continue  # it was reset while it waited
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, len(self.log))
            self.log.append(connection)
            thread = threading.Thread(target=self._attend, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _attend(self, connection):
        with connection.socket:
            try:
                self._serve(connection)
            except Malformed:
                connection.send(respond(b"", "400 Bad Request", fields=["Connection: close"]))
            except OSError:
                pass  # the client reset it
            # Orderly even with unread bytes left: close() alone would send a reset.
            connection.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default="keepalive")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--told", action="store_true", help="the gate is open from the start")
    options = parser.parse_args()
    server = Server(options.mode, options.address, options.port, told=options.told).start()
    print(server.port, flush=True)
    sys.stdin.buffer.read()
    server.stop()
    print(json.dumps({"connections": server.connections, "requests": server.requests}))


if __name__ == "__main__":
    main()
