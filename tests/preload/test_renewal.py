#!/usr/bin/python3
"""That a program does not learn of it when a reused connection dies in its hands.

What it sees without the library is right: there, each of its connections is new, and the server
(scripted.py) does nothing amiss to those.
"""

import functools
import re

from harness import Failure, claim, compare, expect, main, need_plain_library, program, run

import scripted  # noqa: F401  (its modes are the harness's, too; and harness knows the way there)

MODES = ("scripted@0.0.0.0", "script-control", "listening")
TIMEOUT = 15  # seconds: nothing here takes much longer than a lost SYN, and that is 1
JOBS = 6  # mostly they wait


def client(scenario, target="", how="", name="renewal", **options):
    argv = [program(name), scenario, "{0}", "{1}", target, how, "{2}"]
    pair = compare(argv, MODES, timeout=TIMEOUT, **options)
    for one in pair:
        expect(not is_misled(one), f"what was for one server went to another\n{one}")
    return pair


def is_misled(one):
    script = getattr(one.servers[1].gate, "script", None)
    return script and script.misled.is_set()


def asked_twice(pair, target):
    """The request was met by the reused connection, and by a new one; else nothing was shown."""
    plain, pooled = pair
    expect(len(plain.connection_of(target)) == 1, "the program itself asks more than once")
    met = pooled.connection_of(target)
    expect(len(met) == 2, f"asked for {target} on connections {met}\n{pooled.stats}")
    expect(pooled.stats["replayed"] == 1, f"{pooled.stats}")
    return pair


def dies(scenario, target, how="", **options):
    return asked_twice(client(scenario, target, how, **options), target)


def threads(scenario, target, how="", **options):
    return client(scenario, target, how, name="renewal_threads", **options)


def threads_die(scenario, target, how="", **options):
    return asked_twice(threads(scenario, target, how, **options), target)


def claims(text, check, *rows):
    """A claim for each row: the words in the text, and what the check is called with."""
    for row in rows:
        claim(text.format(*row))(functools.partial(check, *row))


# ---- one call ----

RECEIVERS = ["read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg", "splice", "peek",
             "peek_at_one", "dontwait", "waitall", "fionread", "trunc"]
SENDERS = ["write", "pieces", "writev", "more", "sendto", "sendmsg"]

claims("{1} has the answer where the reused connection ends with {0}",
       lambda deed, way: dies("receives", f"/{deed}", way),
       *((deed, way) for way in RECEIVERS for deed in ("fin", "rst")))


def goes_well(scenario, how=""):
    """The server is sound."""
    plain, pooled = client(scenario, "/ok", how)
    expect(pooled.stats["reused"] >= 1, f"nothing was reused: {pooled.stats}")
    expect(plain.requests == pooled.requests, f"{pooled.requests} requests")


claims("{0} on a reused connection that is sound", lambda way: goes_well("receives", way),
       *((way,) for way in RECEIVERS))
claims("what {0} has sent is sent again", lambda way: dies("sends", "/rst", way),
       *((way,) for way in SENDERS))
claims("what {0} sends on a reused connection is answered", lambda way: client("sends", "/ok", way),
       *((way,) for way in [*SENDERS, "sendmmsg", "dprintf", "stream"]))


@claim("errno stays as it was where the connection is sound")
def errno_where_sound():
    goes_well("errno_stays")


@claim("a connection that is reset while the request comes: in pieces")
def reset_while_it_comes():
    plain, pooled = client("sends", "/part/rst", "pieces")
    asked = [asked for connection in pooled.log for asked in connection.asked]
    expect(any(one.startswith("part ") for one in asked), f"never met: {asked}")


@claim("408 instead of an answer, read a byte at a time")
def timeout_byte_by_byte():
    dies("byte_by_byte", "/408")


@claim("408 instead of an answer, read at once")
def timeout_at_once():
    dies("receives", "/408", "recv")


claims("errno stays as it was where the connection ends with {0}",
       lambda deed: dies("errno_stays", f"/{deed}"), ("fin",), ("rst",))


@claim("a closed new connection is closed: nothing is sent a third time")
def dead_again():
    plain, pooled = dies("receives", "/fin/dead", "recv")
    expect(b"recv: end" in plain.stdout, f"{plain}")


@claim("arguments that are wrong are the kernel's to refuse")
def wrong_arguments():
    dies("wrong_arguments", "/rst")


@claim("requests that are sent at once are all sent again")
def pipelined():
    client("pipelined", "/fin", "GET")


# ---- how programs wait ----

WAITERS = ["poll", "ppoll", "select", "pselect", "epoll", "epoll_edge", "epoll_oneshot",
           "epoll_pwait", "epoll_nested", "epoll_polled"]

claims("{0}: the answer is the only event, not the end by {1}",
       lambda way, deed: dies("waits", f"/{deed}", way),
       *((way, deed) for way in WAITERS for deed in ("fin", "rst")))
claims("{0}: what is readable on a blocking socket does not block",
       lambda way: dies("waits_blocking", "/fin", way), ("poll",), ("select",), ("epoll",))
claims("{0}: the limit is kept where the new connection is silent",
       lambda way: dies("waits_in_vain", "/fin/held", way), *((way,) for way in WAITERS))
claims("{0}: the limit is kept where the new connection's SYN is lost",
       lambda way: dies("waits_in_vain", "/fin/lost/held", way),
       ("poll",), ("select",), ("epoll",))
claims("{0}: the second request's answer is an event, too",
       lambda way: dies("waits_twice", "/rst", way), *((way,) for way in WAITERS))


def polled_elsewhere(way):
    plain, pooled = threads("polled_elsewhere", "/ok", way)
    expect(pooled.stats["slipped_in"] == 1, f"{pooled.stats}")


claims("a thread in {0}() while another one's request is for another host", polled_elsewhere,
       ("poll",), ("select",), ("epoll",))
claims("SO_RCVTIMEO is kept, {0} SO_SNDTIMEO",
       lambda _, how, target: dies("socket_limits", target, how),
       ("without", "", "/fin/lost/held"), ("with", "both", "/fin/lost/held"))
claims("SO_RCVTIMEO is kept on the new connection, {0} SO_SNDTIMEO",
       lambda _, how: dies("socket_limits", "/fin/held", how), ("without", ""), ("with", "both"))


@claim("SO_SNDTIMEO is no limit to receive")
def send_limit():
    threads_die("send_limit", "/fin/lost/held")


@claim("a set that was closed gets no events, nor does the one that has its number")
def set_closed():
    dies("set_closed", "/fin")


# ---- the new connection takes its time: its SYN is lost ----

LOST = "/fin/lost/held"

claims("the new connection's SYN is lost: a {0} socket",
       lambda scenario: threads_die(scenario, LOST), ("blocking",), ("nonblocking",))


@claim("another thread's calls on it meanwhile find nothing yet")
def other_calls():
    threads_die("other_calls", LOST)


@claim("flags and options that another thread sets meanwhile are on the new socket")
def flags_meanwhile():
    threads_die("flags", LOST)


claims("another thread has all numbers {0} meanwhile",
       lambda how: threads_die("numbers", LOST, how),
       ("named",), ("closed",), ("close_range",), ("dup2",))


def stopped(_, how):
    plain, pooled = threads("stopped_by_shutdown", LOST, how)
    expect(pooled.stats["quarantined"] + pooled.stats["failed"] >= 1, f"nothing died: {pooled.stats}")


claims("shutdown() by another thread ends a call that waits for the new connection{0}", stopped,
       ("", ""), (", as half of it did before", "half_first"))


@claim("a signal handler runs meanwhile: the call is made again")
def interrupted():
    threads_die("interrupted", LOST)


@claim("a signal handler runs meanwhile: the call fails with EINTR though nothing comes")
def interrupted_first():
    threads_die("interrupted_first", LOST)


@claim("a signal handler uses the socket meanwhile")
def handler_uses_it():
    threads_die("handler_uses_it", LOST)


@claim("a signal handler closes the socket meanwhile")
def handler_closes_it():
    threads("handler_closes_it", LOST)


@claim("a signal handler jumps out: close() leaves no descriptor behind")
def jumped():
    threads("jumped", LOST)


@claim("pthread_cancel() of a thread that waits for the new connection")
def cancelled():
    threads("cancelled", LOST)


@claim("fork() meanwhile: the child has no socket of the new connection")
def forked():
    threads_die("forked", LOST)


# ---- the socket is another one meanwhile ----


def spares_others(scenario, target):
    """Whoever is connected to another server sends nothing there that was for the first."""
    plain, pooled = threads(scenario, target)
    expect(pooled.stats["quarantined"] + pooled.stats["failed"] >= 1, f"nothing died: {pooled.stats}")
    for one in plain, pooled:
        came = {asked for connection in one.servers[2].log for asked in connection.asked}
        expect(came <= {"0 bytes"} and came, f"the other server got {came}")


claims("{0}: no byte goes to another's server", spares_others,
       ("closed_meanwhile", LOST), ("replaced_meanwhile", LOST), ("closed_at_random", "/rst"))


@claim("a socket whose predecessor was closed meanwhile is renewed, too")
def next_life():
    plain, pooled = threads("next_life", LOST)
    expect(len(pooled.connection_of("/fin/next")) == 2, f"never met\n{pooled.stats}")


# ---- several threads on one socket ----


@claim("two threads in recv(): one has the answer, the other waits")
def two_readers():
    threads_die("two_readers", "/rst")


claims("a reader is there before the request, which comes in pieces, and the connection ends: {0}",
       lambda deed: threads_die("reader_first", f"/{deed}"), ("fin",), ("rst",))


def reader_first_often(method):
    plain, pooled = threads("reader_first_often", "/ok", method)
    expect(b"data: 500, ends: 0, errors: 0" in plain.stdout, f"{plain}")
    expect(plain.requests == pooled.requests, f"{pooled.requests} requests")
    expect(pooled.stats["replayed"] == pooled.stats["quarantined"] == 0, f"{pooled.stats}")
    expect(pooled.connections < plain.connections / 2, f"{pooled.stats}")


claims("a reader is there before the request, and the server is sound: {0}", reader_first_often,
       ("GET",), ("POST",))


# ---- before the first byte ----


@claim("the other half of a connection is closed with the request")
def half_closed():
    dies("half_closed", "/fin")


@claim("nothing is sent before shutdown(SHUT_WR)")
def nothing_sent():
    client("nothing_sent")


@claim("write() after shutdown(SHUT_WR): EPIPE, and SIGPIPE")
def after_shutdown():
    client("after_shutdown")


def new_connection(scenario, how="", target="/ok"):
    plain, pooled = client(scenario, target, how)
    expect(pooled.stats["slipped_in"] >= 1, f"nothing slipped in: {pooled.stats}")
    expect(plain.requests == pooled.requests, f"{plain.requests}, {pooled.requests} requests")
    return pooled


claims("a connection that has ended before the first byte: a {0} socket",
       lambda how: new_connection("dead_at_once", how), ("blocking",), ("nonblocking",))


@claim("a connection that has ended before the first byte: nobody waits for the new one")
def connecting():
    new_connection("connecting")


@claim("a connection ends that nothing was sent on, and the program waits")
def dead_unused():
    new_connection("dead_unused")


def another_host(how):
    pooled = new_connection("another_host", how)
    hosts = [set(connection.hosts) for connection in pooled.servers[0].log]
    expect(all(len(names) == 1 for names in hosts), f"two hosts on one connection: {hosts}")


claims("no connection has requests for two hosts: {0} sockets", another_host,
       ("blocking",), ("nonblocking",))


@claim("the new socket looks as the old one did")
def looks_the_same():
    plain, pooled = client("looks_the_same", "/fin")
    expect(pooled.stats["replayed"] == 1, f"{pooled.stats}")


@claim("two numbers of a dead connection are one socket")
def duplicated():
    client("duplicated", "/fin")


# ---- what must not be repeated ----


def is_sent_once(scenario, target, how=""):
    """A difference is allowed: the kernel's error. A second request is not."""
    pooled = run([program("renewal"), scenario, "{0}", "{1}", target, how], MODES, timeout=TIMEOUT)
    asked = [one for connection in pooled.log for one in connection.asked if target in one]
    expect(len(asked) == 1, f"{asked}")
    expect(pooled.stats["replayed"] == 0, f"{pooled.stats}")
    expect(b"answer: end" in pooled.stdout, f"{pooled}")


claims("{0} is sent once", lambda method: is_sent_once("sent_once", "/fin", method),
       ("POST",), ("PUT",), ("DELETE",), ("PATCH",))
claims("{0} is sent again", lambda method: dies("sent_once", "/fin", method),
       ("OPTIONS",), ("TRACE",))


@claim("a request of more than 64 KiB is sent once")
def too_long():
    is_sent_once("too_long", "/fin")


@claim("POST is not sent where the connection was idle for more than half of what it is kept")
def too_old():
    plain, pooled = client("too_old", "/keep=2", "POST")
    expect(len(pooled.connection_of("POST")) == 1, f"{pooled.stats}")
    expect(pooled.connections == 2 and pooled.stats["slipped_in"] == 1, f"{pooled.stats}")


@claim("GET is sent where the connection was idle for so long")
def old_enough():
    plain, pooled = client("too_old", "/keep=2", "GET")
    expect(pooled.connections == 1, f"{pooled.connections} connections\n{pooled.stats}")


# ---- what the pool makes of it ----


@functools.lru_cache
def one_death():
    plain, pooled = dies("dies_once", "/fin")
    expect(pooled.stats["quarantined"] == 1, f"{pooled.stats}")
    return plain, pooled


@claim("a connection that dies early does not stop reuse")
def still_reused():
    plain, pooled = one_death()
    expect(len(set(pooled.connection_of("/after"))) == 1, f"{pooled.stats}")


@claim("a connection that dies early stops POST where one was idle for longer")
def post_is_careful():
    plain, pooled = one_death()
    reused = set(pooled.connection_of("/posted")) & set(pooled.connection_of("/after"))
    expect(not reused and plain.requests == pooled.requests - 1, f"{pooled.stats}")


@claim("with SP_REPLAY=0 the program sees the end")
def no_replay():
    pooled = run([program("renewal"), "receives", "{0}", "{1}", "/fin", "recv"], MODES,
                 env={"SP_REPLAY": "0"})
    expect(b"recv: end" in pooled.stdout, f"{pooled}")


# ---- descriptors and memory ----

claims("all descriptors are in use, {0} of them by parked connections",
       lambda parked: dies("no_more_descriptors", "/fin", str(parked)), (1,), (3,))


def grows(scenario, target, at_least):
    """Neither memory nor descriptors grow in the second half of so many renewals."""
    need_plain_library()
    plain, pooled = client(scenario, target, normalise=lambda output: output.splitlines()[0])
    if pooled.stats["replayed"] + pooled.stats["slipped_in"] < at_least:
        raise Failure(f"hardly any renewal: {pooled.stats}")
    grown = re.search(rb"grows: (-?\d+) KiB, (-?\d+) descriptors", pooled.stdout)
    expect(int(grown[1]) <= 256 and int(grown[2]) <= 2, f"{pooled}\n{pooled.stats}")


@claim("a thousand connections for another host need no more memory than the first of them")
def grow_by_hosts():
    grows("grow_by_hosts", "/ok", 800)


@claim("hundreds of connections that die need no more memory than the first of them")
def grow_by_addresses():
    grows("grow_by_addresses", "/fin", 400)


@claim("a sandbox that allows write() alone to send")
def sandboxed():
    plain, pooled = client("enter_sandbox", "/ok")
    expect(pooled.connections == 1, f"{pooled.connections} connections")


@claim("a sandbox that allows write() alone to send, and the connection dies")
def sandboxed_dead():
    plain, pooled = client("enter_sandbox", "/fin")
    expect(pooled.stats["replayed"] == 1, f"{pooled.stats}")


if __name__ == "__main__":
    main(JOBS)
