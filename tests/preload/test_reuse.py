#!/usr/bin/python3
"""That connections are reused: counted where it matters, at the server."""

import functools
import json
import re

from harness import claim, compare, expect, main, need, opened, program, run

HTTP_CLIENT = """
import http.client, sys
for i in range(int(sys.argv[2])):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/bytes/%d" % i)
    print(connection.getresponse().read())
    connection.close()
"""

# claim, program and arguments, servers, connections without the library, and with it
COUNTS = [
    ("200 sequential GETs are one connection", "get GET {0} /bytes/1000 200", "keepalive", 200, 1),
    ("20 GETs of chunked bodies are one connection", "get GET {0} /chunked/5000 20", "keepalive",
     20, 1),
    ("20 HEADs are one connection", "get HEAD {0} /bytes/1000 20", "keepalive", 20, 1),
    ("20 POSTs are one connection", "get POST {0} / 20", "keepalive", 20, 1),
    ("20 responses without a body are one connection", "get GET {0} /bytes/0 20", "keepalive",
     20, 1),
    ("20 large responses are one connection", "get GET {0} /bytes/1000000 20", "keepalive", 20, 1),
    ("20 errors (404) are one connection", "get GET {0} /nothing 20", "keepalive", 20, 1),
    ("connections with many requests each are one connection", "session {0} 20 20", "keepalive",
     20, 1),
    ("ten connections at once, ten times, are ten", "places ten_at_once {0}", "keepalive", 100, 10),
    ("two ports have a connection each", "places two_ports {0} {1}", "keepalive keepalive", 10, 1),
    ("IPv6 is reused", "places six {0}", "keepalive@::1", 10, 1),
    ("IPv4-mapped IPv6 is reused", "places mapped {0}", "keepalive", 10, 1),
    ("IPv4 and IPv4-mapped IPv6 never share one", "places mapped_and_plain {0}", "keepalive", 20,
     2),
    ("two addresses of one machine never share one", "places two_addresses {0}",
     "keepalive@0.0.0.0", 10, 2),
    ("the same options in each life do not prevent reuse", "options same_every_time {0}",
     "keepalive", 20, 1),
    ("non-blocking connect() with poll is reused", "nonblocking poll {0}", "keepalive", 5, 1),
    ("non-blocking connect() with select is reused", "nonblocking select {0}", "keepalive", 5, 1),
    ("a second connect() for the result is reused", "nonblocking second_connect {0}", "keepalive",
     5, 1),
    ("non-blocking only while connecting is reused", "nonblocking toggles {0}", "keepalive", 5, 1),
    ("a blocking life after a non-blocking one is reused", "nonblocking blocking_next {0}",
     "keepalive", 10, 1),
    ("IP_TOS set after connect() is undone: reused", "options tos_after_connect {0}", "keepalive",
     11, 1),
    ("epoll after connect() is reused", "nonblocking epoll_after_level {0}", "keepalive", 5, 1),
    ("edge-triggered epoll after connect() is reused", "nonblocking epoll_after_edge {0}",
     "keepalive", 5, 1),
    ("epoll before connect() is reused", "nonblocking epoll_before_level {0}", "keepalive", 5, 1),
    ("edge-triggered epoll before connect() is reused", "nonblocking epoll_before_edge {0}",
     "keepalive", 5, 1),
    ("a connection closed while epoll watches it is reused", "stale_epoll reconnected {0}",
     "keepalive", 5, 1),
]

# the call that moves the bytes does not matter, as long as the bytes can be seen
for call in ("write sendto writev sendmsg sendmmsg send_more read checked_read checked_recv "
             "recvfrom readv recvmsg recvmmsg waitall peek single_bytes").split():
    COUNTS.append((f"bytes moved by {call} are seen: reused", f"transfer with_{call} {{0}}",
                   "keepalive", 4, 1))


def words(line):
    name, *arguments = line.split()
    return [program(name), *arguments]


def count(line, modes, without, together):
    opened(compare(words(line), modes.split()), without, together, together)


for text, *row in COUNTS:
    claim(text)(functools.partial(count, *row))


@claim("200 requests of python's http.client are one connection")
def http_client():
    argv = ["/usr/bin/python3", "-c", HTTP_CLIENT, "{0}", "200"]
    opened(compare(argv), 200, 1)


@claim("the other port's connections are counted there, and are one too")
def second_port():
    _, pooled = compare([program("places"), "two_ports", "{0}", "{1}"], ("keepalive", "keepalive"))
    expect(pooled.servers[1].connections == 1, f"{pooled.servers[1].connections} on the second")


@claim("two requests, one connect(2): strace is the witness")
def strace():
    plain, pooled = (connects_of_two_requests(preload) for preload in (False, True))
    expect(plain == 2, f"without the library: {plain} connect(2), 2 expected")
    expect(pooled == 1, f"with the library: {pooled} connect(2), 1 expected")


def connects_of_two_requests(preload):
    argv = [need("strace"), "-f", "-e", "trace=connect", "-o", "{scratch}/output"]
    result = run([*argv, *words("get GET {0} /bytes/10 2")], preload=preload)
    trace = result.stdout.decode()
    return len(re.findall(rf"connect\(.*htons\({result.servers[0].port}\)", trace))


@claim("what cannot be undone is not parked in the first place")
def nothing_parked():
    _, pooled = opened(compare(words("options buffer_after_connect {0}")), 11, 11, 11)
    seen = pooled.stats
    expect(seen["refused"] == {"socket_option": 10}, f"refused: {seen['refused']}")
    expect(seen["parked"] == 1, f"parked: {seen['parked']}, the last life's expected")


@claim("short of descriptors, the least recently used goes")
def short_of_descriptors():
    argv = ["prlimit", "--nofile=20:20", *words("places six_addresses {0}")]
    _, pooled = compare(argv, ["keepalive@0.0.0.0"])
    # a fifth of 20 is 4, of which one stays free: on the way back 6, 5 and 4 are there
    used = [len(set(pooled.connection_of(f"/echo/{n}"))) for n in range(1, 7)]
    expect(used == [2, 2, 2, 1, 1, 1], f"connections of each: {used}")
    expect(pooled.stats["discarded"] == {"evicted": 6}, f"discarded: {pooled.stats['discarded']}")


@claim("TCP_NODELAY is lent to a reused connection once, and the program does not see it")
def lent_nodelay():
    plain, pooled = compare(words("options nodelay_unset {0}"))
    opened((plain, pooled), 5, 1)
    expect(plain.stdout.count(b"TCP_NODELAY: 0") == 10, "the program set it")
    plain, pooled = (times_set(preload) for preload in (False, True))
    expect(plain == 0, f"the program set it {plain} times")
    expect(pooled == 1, f"set {pooled} times in 4 reuses, 1 expected")


def times_set(preload):
    argv = [need("strace"), "-f", "-e", "trace=setsockopt", "-o", "{scratch}/output"]
    trace = run([*argv, *words("options nodelay_unset {0}")], preload=preload).stdout
    return len(re.findall(rb"setsockopt\(\d+, SOL_TCP, TCP_NODELAY, \[1\], 4\) += 0", trace))


@claim("SP_STATS says what the server saw")
def stats():
    pooled = run(words("get GET {0} /bytes/10 50"))
    server, seen = pooled.servers[0], pooled.stats
    expect(seen is not None, "no SP_STATS file was written")
    expect(seen["version"] == 1 and seen["pid"] > 0, f"version or pid: {seen}")
    expect("get" in seen["program"], f"program: {seen['program']}")
    expect(seen["connects"] == 50, f"connects: {seen['connects']}")
    expect(seen["opened"] == server.connections, f"opened: {seen['opened']}")
    expect(seen["reused"] == 50 - server.connections, f"reused: {seen['reused']}")
    expect(isinstance(seen["discarded"], dict) and isinstance(seen["refused"], dict), "reasons")
    points = [point for point in seen["service_points"] if point["port"] == server.port]
    expect(len(points) == 1, f"service points: {seen['service_points']}")
    expect(points[0]["address"] == "127.0.0.1", f"address: {points[0]}")
    expect(points[0]["opened"] == 1 and points[0]["reused"] == 49, f"counts: {points[0]}")
    expect(points[0]["in_use"] == 0, f"in use: {points[0]}")


@claim("SP_STATS=- writes the same as a line of its own on standard output")
def stats_to_stdout():
    argv = words("get GET {0} /bytes/10 2")
    plain = run(argv, preload=False)
    lines = run(argv, env={"SP_STATS": "-"}).stdout.splitlines(keepends=True)
    ours = [line for line in lines if line.startswith(b"{")]
    expect(len(ours) == 1, f"{len(ours)} lines of JSON")
    expect(json.loads(ours[0])["connects"] == 2, ours[0].decode())
    # stdio flushes after every exit handler, so the line may come before the program's own
    expect(b"".join(line for line in lines if line not in ours) == plain.stdout, "output changed")


# setting, value, connections that 20 sequential requests make under it
SETTINGS = [
    ("SP_DISABLE", "1", 20),
    ("SP_MAX_IDLE_MS", "0", 20),
    ("SP_MAX_IDLE_MS", "-1", 1),
    ("SP_LEASE_MS", "0", 20),
    ("SP_MAX_USES", "1", 20),
    ("SP_MAX_USES", "5", 4),
    ("SP_MAX_PARKED", "0", 20),
    ("SP_MAX_PARKED", "1", 1),
    ("SP_MAX_SERVICE_POINTS", "0", 1),
    ("SP_MAX_SERVICE_POINTS", "1", 1),
]


def setting(name, value, connections):
    pair = compare(words("get GET {0} /bytes/10 20"), env={name: value})
    opened(pair, 20, connections, connections)


for name, value, connections in SETTINGS:
    claim(f"{name}={value}: 20 requests are {connections} connections")(
        functools.partial(setting, name, value, connections)
    )


@claim("one service point allowed, two used in turn: both are served")
def one_service_point():
    argv = [program("places"), "two_ports", "{0}", "{1}"]
    compare(argv, ("keepalive", "keepalive"), env={"SP_MAX_SERVICE_POINTS": "1"})


if __name__ == "__main__":
    main()
