#!/usr/bin/python3
"""Clients of redis that connect for each operation: fewer connections, and nothing of one use in
the next.

What a use leaves behind (a login, a database, a transaction) is looked for in the next one, at a
real server, before and after it. Servers that do not know RESET, or answer it late or oddly, are
played by Stub."""

import contextlib
import functools
import os
import re
import socket
import threading

import services
import stores
from harness import ROOT, claim, execute, expect, library, main, need, program
from stores import LONG, PYTHON, Redis, command, compare, escaped, uses

N = 50  # operations of a client


# ---- real clients ----

REDIS_PY = """
import sys, redis
for i in range(50):
    client = redis.Redis(port=int(sys.argv[1]), **OPTIONS)
    print(client.set("k%d" % i, i), client.incr("k%d" % i), client.get("k%d" % i))
    client.close()
"""

PHP = """
for ($i = 0; $i < 50; $i++) {
    $client = new Redis();
    $client->connect("127.0.0.1", (int)$argv[1]);
    USE
    var_dump($client->set("k$i", $i), $client->incr("k$i"), $client->get("k$i"));
    $client->close();
}
"""

PERL = """
use Redis;
for my $i (1 .. 50) {
    my $client = Redis->new(server => "127.0.0.1:$ARGV[0]");
    print $client->set("k$i", $i), $client->incr("k$i"), $client->get("k$i"), "\\n";
}
"""

SEE_PLUGINS = {"SP_SEE_PLUGINS": "1"}


def client(argv, at_most=1, **options):
    compare(argv, stores.redis(), **options).opened(N, at_most)


def redis_py(at_most, **options):
    script = REDIS_PY.replace("OPTIONS", repr(options))
    client([PYTHON, "-c", script, "{port}"], at_most)


def php(env, use=""):
    client([need("php"), "-r", PHP.replace("USE", use), "{port}"], env=env)


@claim("hiredis, a connection for each operation: 50 -> 1")
def hiredis():
    client([program("hiredis_client"), "{port}", str(N)])


@claim("redis-py, which calls shutdown() before close(): 50 -> 1")
def redis_py_plain():
    redis_py(1)


@claim("php-redis: 50 -> 1")
def php_plain():
    php(None)


@claim("php-redis, seen whole (SP_SEE_PLUGINS=1): 50 -> 1")
def php_seen():
    php(SEE_PLUGINS)


@claim("perl Redis: 50 -> 1")
def perl():
    client([need("perl"), "-e", PERL, "{port}"])


# These set a state first. The answer to RESET may not be there when the next use begins: then
# there is another connection, and one more at most, as that one is given back before the next.
SOME = 5


@claim("redis-py with a database and a name, 50 uses: few connections")
def redis_py_states():
    redis_py(SOME, db=3, client_name="somebody")


@claim("php-redis with a database, 50 uses: few connections")
def php_states():
    script = PHP.replace("USE", "var_dump($client->get('k0'), $client->select(3));")
    client([need("php"), "-r", script, "{port}"], SOME, env=SEE_PLUGINS)


BENCHMARK = ["-k", "0", "-c", "10", "-n", "10000", "--csv"]
QUICK = ["-t", "get"]


@claim("redis-benchmark -k 0 -c 10 -n 10000: at most 20 connections for each command")
def benchmark():
    argv = [need("redis-benchmark"), "-p", "{port}", *BENCHMARK, *([] if LONG else QUICK)]
    pair = compare(argv, stores.redis(),
                   normalise=lambda output: re.sub(rb'","[^\n]*', b'"', output))
    tests = pair.plain.stdout.count(b"\n") - 1
    expect(pair.without >= 10000 * tests, f"{pair.without} connections without")
    # one connection asks for the configuration at the start
    expect(pair.with_library <= 20 * tests + 1, f"{pair.with_library} connections\n{pair.stats}")


# ---- no state goes from one use to the next ----


def use(*commands, replies=None):
    """A use, in steps: connect, all commands at once, so many replies, close."""
    text = escaped(b"".join(command(*one.split(" ")) for one in commands))
    count = len(commands) if replies is None else replies
    return ["open", f"send {text}", f"replies {count}", "close"]


INFORMATION = re.compile(rb" (\S+)=(\S*)")
SAME = (b"name", b"flags", b"db", b"sub", b"psub", b"ssub", b"multi", b"user", b"redir", b"resp")


def without_numbers(output):
    """Of CLIENT INFO what is of the connection's state; ids, ports and times are not."""
    output = re.sub(rb"^(\d reply: )[$=]\d+(?=.*addr=)", rb"\1", output, flags=re.M)
    output = re.sub(rb"id=\d+ addr=", b" addr=", output)
    output = re.sub(rb"(\$2\\r\\nid\\r\\n:)\d+", rb"\1", output)  # of HELLO
    return INFORMATION.sub(lambda field: field[0] if field[1] in SAME else b"", output)


# every state that a connection may have shows in one of the answers
LOOK = use("PING", "CLIENT INFO", "CLIENT GETNAME", "CLIENT TRACKINGINFO", "GET only-in-3",
           "GET only-in-0", "EVAL return(1) 0", "EXEC", "PING")


def filled(tester):
    """Keys of which each is in one database only."""
    for database in 3, 0:
        tester("SELECT", database)
        tester("SET", f"only-in-{database}", "here")
    return "filled"


def actions_of(tester):
    return {
        "fill": lambda: filled(tester),
        "settled": tester.settled,
        "clean": tester.clean,
        "kill": tester.kill,
    }


def leaks_not(leave, tester=None, at_most=1, settle="settled"):
    """A use that leaves a state, between uses that look for one, more than once.

    The test tells when the server has answered, so that what may be reused is."""
    tester = tester or stores.redis()
    rounds = [LOOK, leave, f"tell {settle}"] * 3 + [LOOK, LOOK]
    pair = uses(tester, ["tell fill", rounds], actions_of(tester), normalise=without_numbers)
    return pair.opened(8, at_most)


NEW = 4  # at most: connections of the three uses that leave a state, and of those that look

# what is left behind, the use that does, connections at most
STATES = [
    ("SELECT", use("SELECT 3", "GET only-in-3"), 1),
    ("CLIENT SETNAME", use("CLIENT SETNAME mine"), 1),
    ("CLIENT TRACKING", use("CLIENT TRACKING ON"), 1),
    ("CLIENT TRACKING, BCAST", use("CLIENT TRACKING ON BCAST"), 1),
    ("HELLO 3", use("HELLO 3", "PING"), 1),
    ("HELLO 3 SETNAME", use("HELLO 3 SETNAME mine", "PING"), 1),
    ("MULTI", use("MULTI"), 1),
    ("MULTI and a command", use("MULTI", "SET only-in-0 leaked"), 1),
    ("MULTI with a mistake in it", use("MULTI", "SET only-in-0"), 1),
    ("WATCH", use("WATCH only-in-0"), 1),
    ("SUBSCRIBE", use("SUBSCRIBE channel"), NEW),
    ("PSUBSCRIBE", use("PSUBSCRIBE c*"), NEW),
    ("SSUBSCRIBE", use("SSUBSCRIBE channel"), NEW),
    # whether the server answers nothing, or has not answered yet, is not known
    ("CLIENT REPLY OFF", use("CLIENT REPLY OFF", replies=0), NEW),
    ("CLIENT REPLY SKIP", use("CLIENT REPLY SKIP", replies=0), NEW),
    # redis 7.0 knows of no way back from these, RESET included
    ("CLIENT NO-EVICT", use("CLIENT NO-EVICT ON"), NEW),
    ("SCRIPT DEBUG", use("SCRIPT DEBUG YES"), NEW),
]

for text, steps, most in STATES:
    claim(f"{text} of one use is not seen in another")(
        functools.partial(leaks_not, steps, at_most=most))


@claim("MONITOR of one use is not seen in another")
def monitor():
    # what the test asks the server meanwhile comes to the monitor, too: that is not +RESET alone
    leaks_not(use("MONITOR"), at_most=NEW, settle="clean")


@contextlib.contextmanager
def redis_with(*options, password=None):
    with services.redis(*options) as port, contextlib.closing(Redis(port, password)) as tester:
        yield tester


for word in "READONLY", "ASKING":
    @claim(f"{word} of one use is not seen in another")
    def of_cluster(word=word):
        bus = str(services.free_port())  # by default 10000 more, which need not be a port
        with redis_with("--cluster-enabled", "yes", "--cluster-port", bus) as tester:
            leaks_not(use(word), tester)


def of_user(leave):
    with redis_with("--requirepass", "secret", password="secret") as tester:
        tester("ACL", "SETUSER", "guest", "on", ">word", "~*", "+@all")
        pair = leaks_not(leave, tester)
        # LOOK may do nothing
        for run in pair.plain, pair.pooled:
            expect(run.stdout.count(b"NOAUTH") >= 5 * 9, f"somebody is logged in:\n{run}")


LOGINS = [
    ("AUTH", use("AUTH secret", "GET only-in-0")),
    ("AUTH of a user", use("AUTH guest word", "GET only-in-0")),
    ("AUTH with a mistake", use("AUTH wrong", "PING")),
    ("HELLO AUTH", use("HELLO 3 AUTH guest word", "GET only-in-0")),
]

for text, steps in LOGINS:
    claim(f"{text} of one use is not seen in another")(functools.partial(of_user, steps))


@claim("two connections at a time, of which one has another database and a name: none but it has")
def two_at_a_time():
    tester = stores.redis()
    first = ["on 0", "open", "on 1", "open", f"send {escaped(command('SELECT', 3))}", "replies 1",
             f"send {escaped(command('CLIENT', 'SETNAME', 'mine'))}", "replies 1"]
    look = LOOK[1:-1]
    second = ["on 0", look, "close", "on 1", look, "close", "tell clean"]
    uses(tester, ["tell fill", [first, second] * 5], actions_of(tester),
         normalise=without_numbers).opened(10, 2)


@claim("states and looks in turn, without waiting for any answer: right each time")
def unsettled():
    tester = stores.redis()
    states = [steps for _, steps, most in STATES if most == 1]
    script = ["tell fill", [[steps, LOOK, LOOK] for steps in states] * 3]
    pair = uses(tester, script, actions_of(tester), normalise=without_numbers)
    pair.opened(3 * 3 * len(states), 3 * len(states))


@claim("what was watched by one use does not fail the transaction of another")
def watched():
    tester = stores.redis()
    changed = {"change": lambda: tester("SET", "w", "changed")}
    transact = use("MULTI", "SET t 1", "EXEC")
    script = [use("WATCH w"), "tell settled", "tell change", transact, transact] * 3
    pair = uses(tester, script, {**actions_of(tester), **changed}).opened(9, 1)
    expect(b"*-1" not in pair.plain.stdout, f"a transaction failed without: {pair.plain}")


@claim("what was queued by one use is not carried out by another")
def queued():
    tester = stores.redis()
    script = [use("MULTI", "SET q 1", "INCR q"), "tell settled", use("EXEC"), use("GET q")] * 3
    pair = uses(tester, script, actions_of(tester)).opened(9, 1)
    expect(pair.plain.stdout.count(b"$-1") == 3, f"{pair.plain}")


def subscribers(tester, kind):
    return sum(tester("PUBSUB", *kind, "channel")[1::2])


@claim("a subscriber that has closed is none")
def unsubscribed():
    tester = stores.redis()

    def none():
        stores.await_true(lambda: not subscribers(tester, ["NUMSUB"])
                             and not subscribers(tester, ["SHARDNUMSUB"])
                             and not tester("PUBSUB", "NUMPAT"), lambda: "no subscriber")
        return tester("PUBLISH", "channel", "to nobody")

    script = [[use(f"{word}SUBSCRIBE channel"), "tell none", use("PING", "GET x")]
              for word in ("", "P", "S")]
    uses(tester, script, {"none": none})


# a command that waits, what it waits for, and what looks for it
WAITS = [
    ("BLPOP", "BLPOP list 0", ("RPUSH", "list", "x"), ("LLEN", "list")),
    ("BRPOPLPUSH", "BRPOPLPUSH list other 0", ("RPUSH", "list", "x"), ("LLEN", "list")),
    ("BLMPOP", "BLMPOP 0 1 list LEFT", ("RPUSH", "list", "x"), ("LLEN", "list")),
    ("BZPOPMIN", "BZPOPMIN set 0", ("ZADD", "set", "1", "x"), ("ZCARD", "set")),
    ("XREADGROUP", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", ("XADD", "s", "*", "a", "b"),
     ("XPENDING", "s", "g")),
]


def ghost(waiting, push, look):
    tester = stores.redis()

    def blocked(count):
        stores.await_true(
            lambda: sum("b" in client["flags"] for client in tester.others()) == count,
            lambda: f"{count} blocked: {tester.others()}")
        return count

    actions = {
        "group": lambda: tester("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"),
        "blocked": lambda: blocked(1),
        "unblocked": lambda: blocked(0),
        "push": lambda: tester(*push) and "pushed",
        "look": lambda: tester(*look),
    }
    leave = ["open", f"send {escaped(command(*waiting.split(' ')))}", "tell blocked", "close"]
    # of a new connection, and of a reused one
    script = ["tell group", leave, "tell unblocked", use("PING"), leave, "tell unblocked",
              "tell push", use("PING"), "tell look"]
    uses(tester, script, actions)


for name, *row in WAITS:
    claim(f"{name} that is unanswered when the program closes takes nothing later")(
        functools.partial(ghost, *row))


@claim("a command whose reply was not read, or not whole, is answered to nobody else")
def unread():
    tester = stores.redis()
    begun = escaped(command("SET", "big", "")[:-len("$0\r\n\r\n")])
    set_big = ["open", f"send {begun}$100000\\r\\n", "fill 100000", "send \\r\\n", "replies 1",
               "close"]
    get = f"send {escaped(command('GET', 'big'))}"
    script = [["open", get, "close"], set_big,
              ["open", get, "close", use("PING")],
              ["open", get, "bytes 50", "close", use("PING")],
              ["open", get, "replies 1", "close", use("PING")],
              [use("PING", "GET big", "ECHO tail", replies=2), use("PING")]] * 3
    uses(tester, script).opened(30, 29)


# ---- RESET that is refused, late, or answered oddly ----

GOOD = b"+RESET\r\n"


class Session:
    """One connection of a stub."""

    def __init__(self, connection):
        self.socket = connection
        self.stream = connection.makefile("rb")
        self.commands = []
        self.was_reset = False  # it has asked, and was answered as the policy says
        self.ended = False

    def read(self):
        """A command, as a list of words; none at the end."""
        line = self.stream.readline()
        if not line.startswith(b"*"):
            return line.decode().split()
        words = []
        for _ in range(int(line[1:])):
            length = int(self.stream.readline()[1:])
            words.append(self.stream.read(length + 2)[:-2].decode())
        return words


class Stub:
    """Speaks RESP, and answers RESET as told: with some bytes, with none until release(), or not.

    A key that begins with "dies": a connection that has been used ends in place of an answer."""

    def __init__(self, reset=GOOD, later=b"", ends=False):
        self.first, self.later, self.ends = reset, later, ends
        self.sessions = []
        self.numbers = {}
        self.lock = threading.Lock()
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
            # a second piece does not wait for the first one to be acknowledged
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(connection)
            self.sessions.append(session)
            threading.Thread(target=self.attend, args=(session,), daemon=True).start()

    def attend(self, session):
        try:
            while words := session.read():
                session.commands.append(" ".join(words))
                if words == ["RESET"]:
                    self.reset(session)
                elif words[1:] and words[1].startswith("dies") and len(session.commands) > 1:
                    break
                else:
                    session.socket.sendall(self.answer(*words))
        except OSError:
            pass
        session.stream.close()
        session.socket.close()
        session.ended = True

    def reset(self, session):
        session.socket.sendall(self.first)
        if self.ends:
            session.socket.shutdown(socket.SHUT_WR)
        session.was_reset = True

    def answer(self, name, *arguments):
        if name == "GET":
            return b"$%d\r\n%s\r\n" % (len(arguments[0]), arguments[0].encode())
        if name == "INCR":
            with self.lock:
                self.numbers[arguments[0]] = self.numbers.get(arguments[0], 0) + 1
                return b":%d\r\n" % self.numbers[arguments[0]]
        return {"PING": b"+PONG\r\n"}.get(name, b"+OK\r\n")

    def settled(self):
        """Every connection has ended, or its RESET is answered as far as it will be."""
        stores.await_true(
            lambda: all(session.ended or session.was_reset for session in self.sessions),
            lambda: f"settled: {[session.commands for session in self.sessions]}")
        return "settled"

    def release(self):
        """What is to come later comes."""
        for session in self.sessions:
            if session.was_reset and not session.ended:
                session.socket.sendall(self.later)
        return "released"

    def closed(self):
        """The client has closed a connection on which it was answered oddly."""
        def is_closed():
            return any(session.ended for session in self.sessions)
        stores.await_true(is_closed, lambda: "the client closes")
        return "closed"

    # as a tester: each run has the sessions for itself

    def empty(self):
        self.sessions, self.numbers = [], {}

    def accepted(self):
        return len(self.sessions)


def with_stub(script, stub, env=None, **more):
    actions = {"settled": stub.settled, "release": stub.release, "closed": stub.closed}
    return uses(stub, script, {**actions, **more}, env=env,
                descriptors_vary="the keeper's are there, too" if env else "")


SELECTS = use("SELECT 3")
PINGS = use("PING")

# what is answered, and whether the connection ends with it
ODD = [
    ("an error, as by an older server", b"-ERR unknown command 'RESET'\r\n", False),
    ("that it wants a login", b"-NOAUTH Authentication required.\r\n", False),
    ("+OK", b"+OK\r\n", False),
    ("+RESETX", b"+RESETX\r\n", False),
    ("+reset", b"+reset\r\n", False),
    ("RESET as another type", b"$5\r\nRESET\r\n", False),
    ("+RESET without CR", b"+RESET\n", False),
    ("+RESET and a byte more", b"+RESET\r\n+", False),
    ("+RESET twice", b"+RESET\r\n+RESET\r\n", False),
    ("a message before +RESET", b">2\r\n+invalidate\r\n*-1\r\n+RESET\r\n", False),
    ("+RESET and the end", GOOD, True),
    ("the end", b"", True),
]


def odd(answer, ends):
    with Stub(answer, ends=ends) as stub:
        pair = with_stub([SELECTS, "tell settled", PINGS, PINGS], stub)
        pair.opened(3, 2, 2)
        first, second = (session.commands for session in stub.sessions)
        expect(first == ["SELECT 3", "RESET"], f"{first}")
        expect(second == ["PING", "PING"], f"{second}")
        discarded = pair.stats["discarded"]
        expect(sum(discarded.values()) == 1, f"{discarded}")
        expect(ends or discarded == {"not_reset": 1}, f"{discarded}")


for name, *row in ODD:
    claim(f"RESET is answered by {name}: closed")(functools.partial(odd, *row))


@claim("RESET is answered as it should be: reused")
def even():
    with Stub() as stub:
        with_stub([SELECTS, "tell settled", PINGS, PINGS], stub).opened(3, 1)
        expect(stub.sessions[0].commands == ["SELECT 3", "RESET", "PING", "PING"],
               f"{stub.sessions[0].commands}")


def late(answer, later, env=None):
    """Nobody waits for the rest of an answer: it comes when the next use is over."""
    with Stub(answer, later) as stub:
        both = ["on 0", "open", "on 1", "open", "on 0", PINGS[1:], "on 1", PINGS[1:], "on 0"]
        script = [SELECTS, "tell settled", PINGS, "tell release", both]
        with_stub(script, stub, env).opened(4, 2, 2)
        commands = sorted(session.commands for session in stub.sessions)
        expect(commands == [["PING", "PING"], ["SELECT 3", "RESET", "PING"]], f"{commands}")


LATE = [
    ("whole", b"", GOOD),
    ("in two parts", b"+RES", b"ET\r\n"),
    ("short of LF", b"+RESET\r", b"\n"),
]

for name, *row in LATE:
    claim(f"a late answer to RESET, {name}: nobody waits, and the connection is reused then")(
        functools.partial(late, *row))
    claim(f"a late answer to RESET, {name}, and the keeper is there: reused then")(
        functools.partial(late, *row, {"SP_KEEPER": "1"}))


@claim("a late answer to RESET that is another: closed")
def late_and_odd():
    with Stub(b"", b"-ERR unknown command\r\n") as stub:
        script = [SELECTS, "tell settled", PINGS, "tell release", PINGS, SELECTS, "tell settled"]
        with_stub(script, stub).opened(4, 2, 2)


@claim("the keeper closes what answers RESET oddly, and keeps what answers it well")
def keeper():
    """The one that does not fit is answered last, and its end shows that the keeper looked."""
    with Stub(b"") as stub:
        def release_both():
            if len(stub.sessions) > 1 and not stub.sessions[0].ended:
                stub.sessions[1].socket.sendall(GOOD)
                stub.sessions[0].socket.sendall(b"+OK\r\n")
            return stub.closed()

        two = ["on 0", "open", "on 1", "open", "on 0", SELECTS[1:], "on 1", SELECTS[1:]]
        script = [two, "tell settled", "tell both", PINGS]
        with_stub(script, stub, {"SP_KEEPER": "1"}, both=release_both).opened(3, 2, 2)
        expect(stub.sessions[1].commands == ["SELECT 3", "RESET", "PING"],
               f"{[session.commands for session in stub.sessions]}")


# ---- rules ----


def ruled(first, rule, at_most, tester=None):
    env = {"SP_RULES": f"*:* {rule}"} if rule else None
    steps = ["open", f"send {first}\\r\\n", "replies 1", "close"]
    uses(tester or stores.redis(), [steps] * 5, env=env).opened(5, at_most)


@claim("proto=resp: commands that are words in a line, and nothing else, are pooled")
def inline():
    for first in "PING", "GET a", "set a 1", "ping":
        ruled(first, "proto=resp", 1)


@claim("without a rule a line of words is as good as ever")
def inline_without():
    for first in "PING", "GET a", "set a 1":
        ruled(first, "", 5)


@claim("proto=resp: what is not RESP is not pooled")
def not_resp():
    tester = stores.redis()
    steps = ["open", "send *1\\r\\n$4\\r\\nPONG\\r\\n", "replies 1", "close"]
    wrong = ["open", "send *1\\r\\n4\\r\\n", "end", "close"]
    uses(tester, [wrong, steps, wrong, use("PING")] * 2,
         env={"SP_RULES": "*:* proto=resp"}).opened(8, 8)


@claim("off=1: no connection to redis is pooled")
def off():
    uses(stores.redis(), [PINGS] * 5, env={"SP_RULES": "*:* off=1"}).opened(5, 5, 5)


# ---- what is said of it ----


@claim("statistics name the protocol, and why a connection was closed")
def statistics():
    tester = stores.redis()
    script = [PINGS, PINGS, use("CLIENT NO-EVICT ON"), use("PING", "NOSUCH.COMMAND"), use("QUIT")]
    pair = uses(tester, script)
    points, refused = pair.stats["service_points"], pair.stats["refused"]
    expect([point["protocol"] for point in points] == ["resp"], f"{points}")
    expect(refused.get("state") == 1, f"{refused}")
    expect(refused.get("unknown_command") == 1, f"{refused}")


@claim("sppool run --stats says so, too")
def sppool_run():
    tester = stores.redis()
    script = stores.text_of([PINGS, PINGS, PINGS])
    argv = [str(ROOT / "scripts" / "sppool"), "run", "--no-status", "--stats=-", "--",
            program("uses"), str(tester.port)]
    env = {**os.environ, "SPPOOL_LIBRARY": library().rpartition(":")[2]}
    stdout, stderr, status = execute(argv, env, script.encode())
    expect(status == 0, f"{stdout}{stderr}")
    expect(b'"protocol":"resp"' in stdout.replace(b'": "', b'":"'), f"{stdout}{stderr}")
    expect(stdout.count(b"+PONG") == 3, f"{stdout}")


# ---- a connection that dies ----


@claim("the server ends an idle connection: GET and INCR work, once each")
def killed_idle():
    tester = stores.redis()
    script = [[use("GET a"), use("INCR n"), "tell kill"]] * 10
    uses(tester, script, actions_of(tester))
    expect(tester("GET", "n") == "10", f"counted {tester('GET', 'n')}")


def killed_between(before, words):
    """Without the library it is a connection in use that ends: that is not compared."""
    tester = stores.redis()
    last = ["open", "tell kill", use(words)[1:]]
    run, accepted = stores.observe([program("uses"), str(tester.port), "{control}"], tester, True,
                                   stdin=stores.text_of([before, last]).encode(),
                                   actions=actions_of(tester))
    expect(run.stats["reused"] >= 1 and accepted == 2, f"{run}\n{run.stats}")
    expect(run.stats["slipped_in"] + run.stats["replayed"] == 1, f"{run.stats}")
    expect(b"ended" not in run.stdout, f"{run}")
    expect(tester("GET", "n") == "1", f"counted {tester('GET', 'n')}")


BETWEEN = [
    ("GET", use("INCR n"), "GET n"),
    ("INCR", use("GET n"), "INCR n"),
    ("GET, and it was reset", [use("SELECT 3", "SELECT 0", "INCR n"), "tell settled"], "GET n"),
    ("INCR, and it was reset", [use("SELECT 3"), "tell settled"], "INCR n"),
]

for text, *row in BETWEEN:
    claim(f"the server ends a connection between connect() and {text}: done, and once")(
        functools.partial(killed_between, *row))


def dying(words, again):
    """Only a connection that has been used before dies."""
    with Stub() as stub:
        pair = with_stub([PINGS, use(words), PINGS], stub)
        asked = [one for session in stub.sessions for one in session.commands if one == words]
        expect(len(asked) == again + 1, f"{asked}")
        expect(pair.stats["replayed"] == again, f"{pair.stats}")


REPEATED = ["GET dies", "MGET dies a", "EXISTS dies", "TTL dies", "HGETALL dies",
            "LRANGE dies 0 -1"]

for words in REPEATED:
    claim(f"a reused connection that dies of {words.split()[0]}: it is sent again")(
        functools.partial(dying, words, 1))


def dies_once(words):
    with Stub() as stub:
        script = stores.text_of([PINGS, use(words), PINGS]).encode()
        run, _ = stores.observe([program("uses"), str(stub.port), "{control}"], stub, True,
                                stdin=script)
        asked = [one for session in stub.sessions for one in session.commands if one == words]
        expect(len(asked) == 1, f"{asked}")
        expect(run.stats["replayed"] == 0, f"{run.stats}")
        expect(re.search(rb"ended: (end|ECONNRESET)", run.stdout), f"{run}")


for words in ("INCR dies", "SET dies 1", "GETDEL dies", "GETSET dies 1", "LPOP dies", "SPOP dies",
              "BLPOP dies 1", "EVALSHA dies 0"):
    claim(f"a reused connection that dies of {words.split()[0]}: it is not sent again")(
        functools.partial(dies_once, words))


if __name__ == "__main__":
    with stores.lasting():
        main()
