#!/usr/bin/python3
"""What goes wrong when connections are pooled naively, each as a test.

Every claim names the guard that keeps it: with that guard taken out of the library, or with a
library that parks whatever is not readable, the claim fails.
"""

import functools

from harness import claim, compare, expect, main, program

# claim, guard, program and arguments, servers, gate open from the start
DEMONSTRATIONS = [
    # 1. fork sharing
    ("a parent that closed its copy does not get its child's answer",
     "forked: what was open during a fork is never parked",
     "share used_before {0}", "keepalive", False),
    ("the same before the first request",
     "forked, or unused: no exchange, nothing to park",
     "share fresh {0}", "keepalive", False),
    ("a child that closed its copy does not get its parent's answer",
     "forked: in the child as in the parent",
     "share close_in_child {0}", "keepalive", False),
    # 2. connection state
    ("what one life selected is not selected in the next",
     "unknown_protocol: only what is understood is parked",
     "endings line_state {0}", "line", False),
    # 3. stale epoll
    ("epoll does not report bytes for a closed descriptor",
     "EPOLL_CTL_DEL from every set at park, or no parking",
     "stale_epoll after_close {0} {1}", "extra control", False),
    ("epoll does not report the peer's end for a closed descriptor",
     "EPOLL_CTL_DEL from every set at park, or no parking",
     "stale_epoll after_close {0} {1}", "idle-close control", False),
    ("epoll reports a reused descriptor once, with its new data",
     "EPOLL_CTL_DEL from every set at park, or no parking",
     "stale_epoll reconnected {0}", "keepalive", False),
    ("the same when the set was watched through a dup of it",
     "EPOLL_CTL_DEL must work through the number used, or no parking",
     "stale_epoll through_dup_of_set {0} {1}", "extra control", False),
    ("the same for nested sets",
     "EPOLL_CTL_DEL from the inner set",
     "stale_epoll nested {0} {1}", "extra control", False),
    ("an epoll set that took a closed set's number loses nothing",
     "a set's number is not trusted after close()",
     "stale_epoll set_closed_first {0}", "keepalive", False),
    ("an epoll set that went on under another number reports nothing of a closed descriptor",
     "EPOLL_CTL_DEL must work in every set, or no parking",
     "stale_epoll set_moved {0}", "keepalive", False),
    # 4. epoll before connect
    ("epoll set up before connect() reports the connection (level)",
     "re-adding at reuse what was registered before connect()",
     "nonblocking epoll_before_level {0}", "keepalive", False),
    ("epoll set up before connect() reports the connection (edge: nginx, asio)",
     "re-adding at reuse what was registered before connect()",
     "nonblocking epoll_before_edge {0}", "keepalive", False),
    ("a socket in two sets before connect() is reported in both",
     "re-adding to every set",
     "nonblocking two_sets {0}", "keepalive", False),
    ("a one-shot registration fires once",
     "re-adding with the state it had, or no reuse",
     "nonblocking epoll_oneshot {0}", "keepalive", False),
    # 5. the dying connection
    ("Connection: close is believed before the FIN has come",
     "asked_to_close, from the server",
     "endings each_time {0}", "close", False),
    ("HTTP/1.0 is believed before the FIN has come",
     "http_1_0",
     "endings each_time {0}", "http10", False),
    ("the client's own Connection: close is believed",
     "asked_to_close, from the client",
     "endings client_says_close {0}", "hold", False),
    # 6. goodbye commands
    ("a goodbye in an unknown protocol is the end",
     "unknown_protocol",
     "endings line_quit {0}", "line", False),
    ("a goodbye after a clean HTTP exchange is the end",
     "malformed, or busy: bytes after the exchange",
     "endings http_quit {0}", "goodbye", False),
    # 7. TLS
    ("TLS without close_notify is never handed on",
     "tls: the client's first byte is a handshake record's",
     "endings tls {0}", "tls-looking", False),
    # 8. half-close
    ("a half-close reaches the server at once",
     "shutdown() is passed on, not deferred",
     "endings half_close {0}", "half-close", False),
    ("a half-closed connection is not handed on",
     "shutdown",
     "endings shutdown_write {0}", "hold", False),
    ("a connection shut down for reading is not handed on",
     "shutdown",
     "endings shutdown_read {0}", "hold", False),
    # 9. readers to the end
    ("a body without a length ends when the server ends",
     "until_eof, closing",
     "endings to_end {0}", "eof", False),
    ("a reader that waits for the end after the body gets it",
     "closing: an end that was read, or is in the queue",
     "endings framed_then_end {0}", "idle-close", True),
    ("a reader to the end on a reused connection gets it too",
     "the reused descriptor is the connection itself, nothing in between",
     "endings end_in_second_life {0} {1}", "idle-close control", False),
    # the same faults from the other side: what changes while a connection is parked
    ("a connection that ended while parked is not handed on",
     "peek at reuse",
     "endings changed_while_parked {0} {1}", "idle-close control", False),
    ("bytes that came while parked reach nobody",
     "peek at reuse: any readable byte",
     "endings changed_while_parked {0} {1}", "extra control", False),
    ("a connection that ended before close() is not parked",
     "closing (TCP_INFO), and peek at reuse",
     "endings changed_before_close {0} {1}", "idle-close control", False),
    ("unread bytes reach nobody",
     "ledger, and peek at reuse",
     "endings changed_before_close {0} {1}", "extra control", False),
    ("bytes after the framed response reach nobody",
     "ledger, unsolicited, and peek at reuse",
     "endings each_time {0}", "extra", True),
    ("an answer that nobody waited for reaches nobody",
     "busy: a request without its response",
     "endings unanswered {0} {1}", "silent control", False),
    ("half a request is not continued by the next life",
     "busy: a request not fully sent",
     "endings half_a_request {0}", "keepalive", False),
    ("half a request body is not continued by the next life",
     "busy: a request not fully sent",
     "endings half_a_body {0}", "keepalive", False),
    ("the rest of a half-read response reaches nobody",
     "busy, ledger",
     "endings unread {0}", "keepalive", False),
    ("the end of the last chunk belongs to the response",
     "busy, ledger",
     "endings unread_chunk_end {0}", "keepalive", False),
    ("a server that speaks first is greeted by each life",
     "server_first",
     "endings greeted {0}", "banner", False),
    ("a lingering close of zero is a reset, at once",
     "socket_option: SO_LINGER",
     "endings linger_zero {0}", "keepalive", False),
]


def demonstrate(line, modes, told):
    name, *arguments = line.split()
    plain, pooled = compare([program(name), *arguments], modes.split(), told=told, timeout=20)
    expect(plain.requests == pooled.requests, f"{plain.requests} requests, {pooled.requests} with")
    expect(pooled.servers[0].late == 0, f"{pooled.servers[0].late} bytes to a dying connection")


for text, guard, *row in DEMONSTRATIONS:
    function = functools.partial(demonstrate, *row)
    function.__doc__ = guard
    claim(text)(function)


def lives(line, modes, count, **options):
    """The claims above could be kept by luck; these say that the connections were different."""
    name, *arguments = line.split()
    _, pooled = compare([program(name), *arguments], modes.split(), timeout=20, **options)
    expect(
        pooled.connections == count, f"{pooled.connections} connections, {count} expected"
    )


NEVER_REUSED = [
    ("asked to close by the server", "endings each_time {0}", "close", 5),
    ("HTTP/1.0", "endings each_time {0}", "http10", 5),
    ("asked to close by the client", "endings client_says_close {0}", "hold", 3),
    ("an unknown protocol", "endings line_state {0}", "line", 3),
    ("TLS", "endings tls {0}", "tls-looking", 3),
    ("a greeting server", "endings greeted {0}", "banner", 3),
    ("lingering for zero seconds", "endings linger_zero {0}", "keepalive", 3),
    ("half-read", "endings unread {0}", "keepalive", 4),
    ("urgent data", "transfer with_urgent {0}", "hold", 4),
    ("under stdio", "stdio_client with_fclose {0}", "keepalive", 5),
]

# Held back: the program does nothing after it but close().
SHUT_DOWN = [
    ("shut down for writing", "endings shutdown_write {0}", "hold"),
    ("shut down for reading", "endings shutdown_read {0}", "hold"),
    ("shut down for both", "endings shutdown_both {0}", "hold"),
]

for text, *row in NEVER_REUSED:
    claim(f"never reused: {text}")(functools.partial(lives, *row))
for text, *row in SHUT_DOWN:
    claim(f"reused: {text}")(functools.partial(lives, *row, 1))
    claim(f"never reused, SP_DEFER_SHUTDOWN=0: {text}")(
        functools.partial(lives, *row, 4, env={"SP_DEFER_SHUTDOWN": "0"})
    )


@claim("no connection carries requests of two processes")
def one_process_each():
    for scenario in ("child_connects", "child_closes_everything", "raw_clone", "many_children"):
        _, pooled = compare([program("forks"), scenario, "{0}"])
        for connection in pooled.log:
            owners = {asked.split("/")[-1].rstrip("0123456789") for asked in connection.asked}
            expect(len(owners) <= 1, f"{scenario}: connection {connection.id}: {connection.asked}")


if __name__ == "__main__":
    main()
