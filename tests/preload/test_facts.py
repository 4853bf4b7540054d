#!/usr/bin/python3
"""What others know of service points, fact by fact: those that need a real kernel, or the shim.

The others are tests/unit/test-facts.c; tests/structure/facts.txt lists all of them.
"""

import ctypes
import functools
import socket
import struct

from harness import claim, compare, expect, main, opened, program, run

import server  # found through harness

# Three lives of one exchange each: what is sent, and as many bytes as are expected
LIVES = """
import socket, sys
sent, wanted = (word.encode().decode("unicode_escape").encode("latin-1") for word in sys.argv[2:4])
for i in range(3):
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.sendall(sent)
    received = b""
    while len(received) < len(wanted) and (more := connection.recv(len(wanted) - len(received))):
        received += more
    print(received == wanted)
    connection.close()
"""

GET = r"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

# fact, what is sent, what is answered, why it is refused
NEVER_REUSED = [
    ("after 101 it is not reused",
     r"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
     r"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
     "tunnel"),
    ("after CONNECT it is not reused", r"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
     r"HTTP/1.1 200 OK\r\n\r\n", "tunnel"),
    ("after 408 it is not reused", GET,
     r"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", "request_timeout"),
    ("after HTTP/1.0 it is not reused", r"GET / HTTP/1.0\r\n\r\n",
     r"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "http_1_0"),
    ("after Transfer-Encoding and Content-Length it is not reused", GET,
     r"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
     r"2\r\nhi\r\n0\r\n\r\n", "length"),
    ("after a body that ends with the connection it is not reused", GET,
     r"HTTP/1.1 200 OK\r\n\r\nhi", "until_eof"),
    ("after NTLM it is not reused",
     r"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n", OK,
     "authenticated"),
    ("after Negotiate it is not reused", GET,
     r"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
     "authenticated"),
    ("after a half-written request it is not reused", r"GET / HTTP/1.1\r\nHo", "", "busy"),
    ("TLS is not reused", r"\x16\x03\x01\x00\x02\x01\x00\r\n\r\n", r"\x16\x03\x03\x00\x02\x02\x00",
     "tls"),
]


def serve_canned(answer, connection):
    """To whatever ends in an empty line, the same answer; the end is left to the client."""
    while connection.read_until(b"\r\n\r\n"):
        connection.record("canned")
        connection.send(answer)


def bytes_of(text):
    return text.encode().decode("unicode_escape").encode("latin-1")


def lives(sent, received):
    server.MODES["canned"] = functools.partial(serve_canned, bytes_of(received))
    return compare(["/usr/bin/python3", "-c", LIVES, "{0}", sent, received], "canned")


def is_never_reused(sent, received, why):
    plain, pooled = opened(lives(sent, received), 3, 3, 3)
    expect(plain.stdout == b"True\n" * 3, f"not answered: {plain}")
    expect(pooled.stats["refused"] == {why: 3}, f"refused: {pooled.stats['refused']}")


for text, *row in NEVER_REUSED:
    claim(text)(functools.partial(is_never_reused, *row))


@claim("what is none of these is reused")
def is_reused():
    opened(lives(GET, OK), 3, 1)


# fact, program and arguments, servers, connections at least, why
ENDINGS = [
    ("where the server speaks first it is not reused", "endings greeted {0}", "banner", 3,
     ("refused", "server_first")),
    ("with an unread byte it is not reused", "endings unread {0}", "keepalive", 4,
     ("refused", "busy")),
    ("after an unsolicited byte it is not reused", "endings changed_while_parked {0} {1}",
     "extra control", 2, ("discarded", "unsolicited")),
    ("after a FIN it is not reused", "endings changed_while_parked {0} {1}",
     "idle-close control", 2, ("discarded", "dead")),
    ("after a reset it is not reused", "endings changed_while_parked {0} {1}",
     "reset control", 2, ("discarded", "dead")),
]


def reset(connection):
    """At once, although a thread is reading from it: connect() to nowhere, tcp_disconnect()."""
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None).connect(connection.socket.fileno(), nowhere, len(nowhere))


def serve_reset(connection):
    """Keep-alive, but resets the connection when told."""
    while request := connection.read_request():
        connection.send_and_when_told(server.answer(connection, request), b"",
                                      functools.partial(reset, connection))


server.MODES["reset"] = serve_reset


def is_found_out(line, modes, at_least, reason):
    name, *arguments = line.split()
    _, pooled = compare([program(name), *arguments], modes.split())
    kind, why = reason
    expect(pooled.connections >= at_least, f"{pooled.connections} connections")
    expect(pooled.stats[kind].get(why, 0) >= 1, f"{kind}: {pooled.stats[kind]}")


for text, *row in ENDINGS:
    claim(text)(functools.partial(is_found_out, *row))

# ---- children ----

EXCHANGE = r"""
import os, subprocess, socket, sys
def dial():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def exchange(connection, target):
    connection.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    received = b""
    while not received.endswith(target.split(b"/")[-1]):
        received += connection.recv(1000)
    print(received[-20:], flush=True)
def visit(target):
    connection = dial()
    exchange(connection, target)
    connection.close()
"""

FORKED_CHILD = EXCHANGE + """
visit(b"/echo/before")
child = os.fork()
visit(b"/echo/child" if child == 0 else b"/echo/parent")
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""

EXECUTED_CHILD = EXCHANGE + """
visit(b"/echo/parked")
held = dial()
exchange(held, b"/echo/held")
held.set_inheritable(True)
listing = "import os; print([os.readlink('/proc/self/fd/%s' % fd)[:7] for fd in os.listdir("
listing += "'/proc/self/fd') if os.path.exists('/proc/self/fd/%s' % fd)].count('socket:'))"
subprocess.run(["/usr/bin/python3", "-c", listing], close_fds=False)
held.close()
visit(b"/echo/after")
visit(b"/echo/later")
"""


@claim("in a forked child it is not reused")
def forked_child():
    argv = ["/usr/bin/python3", "-c", FORKED_CHILD, "{0}"]
    plain, pooled = compare(argv, normalise=lambda output: b"\n".join(sorted(output.splitlines())))
    expect(plain.connections == 3, f"{plain.connections} without")
    before, child, parent = (pooled.connection_of(f"/echo/{who}")
                             for who in ("before", "child", "parent"))
    expect(child != before, "the child has its parent's connection")
    expect(parent == before, "what was parked is still the parent's")


@claim("in an executed program it is not reused")
def executed_child():
    argv = ["/usr/bin/python3", "-c", EXECUTED_CHILD, "{0}"]
    _, pooled = compare(argv)
    parked, held, after, later = (pooled.connection_of(f"/echo/{what}")
                                  for what in ("parked", "held", "after", "later"))
    expect(held == parked, "the one that was parked is taken")
    expect(after != held, "what the child had is reused")
    expect(later == after, "what no child had is")
    expect(pooled.stats["refused"] == {"forked": 1}, f"refused: {pooled.stats['refused']}")


# ---- the limit ----

FIVE_UNREAD = """
import http.client, sys
for round in range(2):
    connections = []
    for i in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
        connection.request("GET", "/bytes/%d" % i)
        connections.append((connection, connection.getresponse()))
    for connection, response in connections:
        print(response.read())
        connection.close()
"""


@claim("five unread responses at a limit of five do not deadlock")
def five_unread():
    argv = ["/usr/bin/python3", "-c", FIVE_UNREAD, "{0}"]
    _, pooled = opened(compare(argv, env={"SP_CONNECTION_LIMIT": "5"}), 10, 5)
    expect(pooled.stats["waited"] == 0, f"waited: {pooled.stats['waited']}")


# ---- sppool.h ----

LIMIT, IDLE, LEASE, USES, WAIT, MOST = range(6)
MAX = 2147483647
HOST = "www.contoso.com"


def say(*words, env=None, modes="keepalive"):
    """What the program says: a line for each call, and one more for each service point found."""
    result = run([program("manager_calls"), *(str(word) for word in words)], modes, env=env)
    expect(result.status == 0, f"exit status {result.status}\n{result}")
    return result, result.stdout.decode().splitlines()


def calls(rows):
    """[(words, what is said)]: all in one process, in this order."""
    _, said = say(*(word for words, _ in rows for word in words))
    expected = [line for _, lines in rows for line in lines]
    for number, (one, other) in enumerate(zip(said, expected)):
        expect(one == other, f"line {number + 1}: {one}, not {other}\n" + "\n".join(said))
    expect(len(said) == len(expected), "\n".join(said))


def shown(limit=MAX, idle=100000, lease=-1, uses=0, wait=100000, rest=None):
    rest = rest or "connections 0 parked 0 waiting 0 opened 0 reused 0 idle"
    return f"limit {limit} idle {idle} lease {lease} uses {uses} wait {wait} {rest}"


# .NET: ServicePointManagerTest, *_Roundtrips
@claim("defaults that are set are what is got")
def defaults_roundtrip():
    first = {LIMIT: MAX, IDLE: 100000, LEASE: -1, USES: 0, WAIT: 100000, MOST: 256}
    rows = []
    for setting, value in first.items():
        for other in (42, 20, value):
            rows += [(("default", setting, other), ["default: 0"]),
                     (("get", setting), ["get: 0", str(other)])]
    calls([*((("get", setting), ["get: 0", str(value)]) for setting, value in first.items()),
           *rows])


# .NET: FindServicePoint_PropertiesRoundtrip
@claim("what is set is seen through another look")
def properties_roundtrip():
    calls([
        (("find", HOST, 80), ["find: 0", shown()]),
        (("set", HOST, 80, LIMIT, 20), ["set: 0"]),
        (("set", HOST, 80, IDLE, 42), ["set: 0"]),
        (("set", HOST, 80, LEASE, 43), ["set: 0"]),
        (("set", HOST, 80, USES, 44), ["set: 0"]),
        (("set", HOST, 80, WAIT, 45), ["set: 0"]),
        (("find", HOST.upper(), 80), ["find: 0", shown(20, 42, 43, 44, 45)]),
        (("set", HOST, 80, LIMIT, MAX), ["set: 0"]),
        (("find", HOST + ".", 80), ["find: 0", shown(MAX, 42, 43, 44, 45)]),
        (("find", HOST, 81), ["find: 0", shown()]),
    ])


# .NET: InvalidArguments_Throw
@claim("what is out of range is -EINVAL, and changes nothing")
def invalid_arguments():
    least = {LIMIT: 1, IDLE: -1, LEASE: -1, USES: 0, WAIT: 0}
    rows = [(("set", HOST, 80, setting, value - 1), ["set: EINVAL"])
            for setting, value in least.items()]
    rows += [(("default", setting, value - 1), ["default: EINVAL"])
             for setting, value in {**least, MOST: 0}.items()]
    rows += [(("set", HOST, 80, setting, 1), ["set: EINVAL"]) for setting in (-1, MOST, 6, 99)]
    rows += [(("default", setting, 1), ["default: EINVAL"]) for setting in (-1, 6, 99)]
    rows += [(("get", setting), ["get: EINVAL"]) for setting in (-1, 6, 99)]
    bad = [("-", 80), ("", 80), (HOST, 0), (HOST, -1), (HOST, 65536), ("*", 80), ("*.a", 80),
           ("10.0.0.0/8", 80), ("a b", 80), ("a:80", 80), ("[::1]", 80), ("a;b", 80), ("a\n", 80),
           ("#", 80), ("1.2.3", 80), ("1.2.3.4.5", 80), (":", 80), ("a" * 300, 80), ("a#", 80),
           ("2001:db8::/32", 80)]
    for host, port in bad:
        rows += [(("find", host, port), ["find: EINVAL"]),
                 (("set", host, port, LIMIT, 1), ["set: EINVAL"]),
                 (("close", host, port), ["close: EINVAL"])]
    calls([*rows, (("close", HOST, 80), ["close: 0"]), (("find", HOST, 80), ["find: 0", shown()])])


# .NET: FindServicePoint_NewServicePointsInheritCurrentValues
@claim("later changes of the manager leave service points alone")
def inherit_current_values():
    calls([
        (("find", HOST, 80), ["find: 0", shown()]),
        (("default", LIMIT, 7), ["default: 0"]),
        (("default", IDLE, 42), ["default: 0"]),
        (("find", HOST, 80), ["find: 0", shown()]),
        (("find", HOST, 81), ["find: 0", shown(7, 42)]),
    ])


# .NET: FindServicePoint_Collectible, where they are lost
@claim("what is set outlives the service point")
def outlives():
    calls([
        (("set", HOST, 80, LIMIT, 7), ["set: 0"]),
        (("default", MOST, 1), ["default: 0"]),
        (("find", "www.contoso.org", 80), ["find: 0", shown()]),
        (("close", HOST, 80), ["close: 0"]),
        (("find", HOST, 80), ["find: 0", shown(7)]),
    ])


# Mono: ServicePointTest.All
@claim("connections are counted while they are out")
def counted():
    rest = "connections {} parked {} waiting 0 opened {} reused {} {}"
    result, said = say("find", "127.0.0.1", "{0}", "open", "{0}", "find", "127.0.0.1", "{0}",
                       "done", "find", "127.0.0.1", "{0}", "visit", "{0}",
                       "find", "127.0.0.1", "{0}")
    found = [line for line in said if line.startswith("limit")]
    expect(found == [shown(rest=rest.format(*row)) for row in (
        (0, 0, 0, 0, "idle"), (1, 0, 1, 0, "in use"), (1, 1, 1, 0, "idle"), (1, 1, 1, 1, "idle"),
    )], "\n".join(said))
    expect(result.connections == 1, f"{result.connections} connections")


@claim("closing a group closes idle ones now, and busy ones at release")
def close_group():
    place = ("127.0.0.1", "{0}")
    result, said = say("visit", "{0}", "close", *place, "find", *place, "open", "{0}",
                       "close", *place, "done", "find", *place, "visit", "{0}", "visit", "{0}")
    expect([line for line in said if line.startswith("close")] == ["close: 1"] * 2,
           "\n".join(said))
    expect(all("parked 0" in line for line in said if line.startswith("limit")), "\n".join(said))
    expect(result.connections == 3, f"{result.connections} connections, 3 expected")
    expect(result.stats["discarded"] == {"flushed": 2}, f"discarded: {result.stats['discarded']}")


# Mono: ServicePointManagerTest.MaxServicePointManagers; .NET Framework throws where we do not pool
@claim("where none is idle a new host is served unpooled, and gets no error")
def overflow():
    result, said = say("default", MOST, 1, "open", "{0}", "visit", "{1}", "visit", "{1}",
                       "find", HOST, 80, "find", "127.0.0.1", "{0}", "done",
                       modes=("keepalive", "keepalive"))
    expect(said.count("find: ENOMEM") == 1 and said.count("find: 0") == 1, "\n".join(said))
    expect(result.servers[1].connections == 2, f"{result.servers[1].connections} connections")
    expect(result.stats["refused"] == {"overflow": 2}, f"refused: {result.stats['refused']}")


# Mono: ServicePointTest.CloseConnectionGroupConcurency (mono#19823)
@claim("ten hosts, an idle time of a millisecond, and threads that close them do not hang or crash")
def race():
    result, said = say("race", "{0}", modes="keepalive@0.0.0.0")
    expect(said == ["race: over"], "\n".join(said))
    expect(result.requests == 400, f"{result.requests} requests")


@claim("where the pool is off every call says so")
def off():
    words = ("find", HOST, 80, "set", HOST, 80, LIMIT, 4, "close", HOST, 80, "default", LIMIT, 4,
             "get", LIMIT)
    _, said = say(*words, env={"SP_DISABLE": "1"})
    expect([line.split()[-1] for line in said] == ["ENOSYS"] * 5, "\n".join(said))


if __name__ == "__main__":
    main()
