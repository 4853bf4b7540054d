#!/usr/bin/python3
"""What the tracker of redis knows of commands, beside what a live redis-server says and does."""

import itertools
import re
import socket
import struct
import subprocess

import services
from harness import ROOT, TIMEOUT, claim, expect, main, program

TABLE = ROOT / "pool" / "trackers" / "resp_commands.inc"
# of CLIENT INFO; all else is the same on each new connection
OWN = re.compile(rb"^(id|addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|tot-mem|rbs|rbp|obl|oll|"
                 rb"omem|cmd|multi-mem|events)=")


def read_table():
    rows = re.findall(r'^COMMAND\("([^"]+)", +([A-Z |]+)\)$', TABLE.read_text(), re.M)
    return {name: set(meaning.split(" | ")) for name, meaning in rows}


class Follower:
    """The tracker, in a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen(
            [program("resp_follow")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def tell(self, what, data=b""):
        self.process.stdin.write(struct.pack("<cI", what, len(data)) + data)

    def ask(self):
        """(verdict, whether RESET helps, whether what is outstanding may be sent again)"""
        self.tell(b"?")
        self.process.stdin.flush()
        verdict, reset, repeatable = self.process.stdout.readline().decode().split()
        return verdict, reset == "reset", repeatable == "repeatable"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(TIMEOUT)


class Client:
    """A connection, of which the tracker is told."""

    def __init__(self, port, follower=None):
        self.follower = follower
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.input = self.socket.makefile("rb")
        self.tell(b"n")

    def tell(self, what, data=b""):
        if self.follower:
            self.follower.tell(what, data)

    def send(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.send_raw(b"*%d\r\n" % len(words)
                      + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def send_raw(self, data):
        self.socket.sendall(data)
        self.tell(b">", data)

    def take(self, data):
        self.tell(b"<", data)
        return data

    def read(self):
        """One reply: bytes for a line or a bulk, None, or a list."""
        line = self.take(self.input.readline())
        expect(line.endswith(b"\r\n"), f"no reply: {line}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!":
            return None if rest == b"-1" else self.take(self.input.read(int(rest) + 2))[:-2]
        if kind in b"*~>":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return [self.read() for _ in range(2 * int(rest))]
        return None if kind == b"_" else line[:-2]

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def state(self):
        """What the server has on the connection. The tracker is not told."""
        self.follower, follower = None, self.follower
        info = self("CLIENT", "INFO")
        self.follower = follower
        return sorted(word for word in info.removeprefix(b"txt:").split() if not OWN.match(word))

    def end(self):
        self.input.close()
        self.socket.close()


def is_as_new(port, client):
    """Nothing that the server tells, nor a transaction, nor a key that is watched."""
    other, new = Client(port), Client(port)
    client.follower = None
    expect(client.state() == new.state(), f"as new? {client.state()}, {new.state()}")
    for words in (("SET", "watched", 1), ("SET", "key", 1)):
        expect(other(*words) == b"+OK", words)
    answers = [client(*words) for words in (("EXEC",), ("MULTI",), ("GET", "key"), ("EXEC",))]
    expect(answers == [b"-ERR EXEC without MULTI", b"+OK", b"+QUEUED", [b"1"]], answers)
    answer = client("EVAL", "return {1, redis.call('GET', KEYS[1])}", 1, "key")
    expect(answer == [b":1", b"1"], f"scripts do not run: {answer}")
    other.end()
    new.end()


def is_reset(client):
    """RESET is answered by +RESET, with nothing before it."""
    client.follower = None
    client.send("RESET")
    answer = client.input.readline()
    expect(answer == b"+RESET\r\n", f"RESET: {answer}")


def judge(port, client, what):
    """Believes the tracker, and looks whether it was right. Returns the verdict."""
    verdict, helps, _ = client.follower.ask()
    try:
        if helps:
            is_reset(client)
        if helps or verdict == "none":
            is_as_new(port, client)
    except Exception as error:
        raise AssertionError(f"{what}: {verdict}: {error}") from error
    finally:
        client.end()
    return "reset" if helps else verdict


# what the server knows


class Known:
    """A row of COMMAND; name is as in our table."""

    def __init__(self, row):
        self.name = row[0].decode()
        self.arity = int(row[1][1:])
        self.flags = {flag[1:].decode() for flag in row[2]}
        self.categories = {category[1:].decode() for category in row[6]}
        self.subcommands = [Known(sub) for sub in row[9]]

    @property
    def words(self):
        """The shortest that it may be, with ones for arguments."""
        words = self.name.split("|")
        return words + ["1"] * (abs(self.arity) - len(words))


def known_commands(port):
    client = Client(port)
    commands = [Known(row) for row in client("COMMAND")]
    client.end()
    expect(len(commands) > 200, f"only {len(commands)} commands")
    return sorted(itertools.chain(commands, *(one.subcommands for one in commands)),
                  key=lambda one: one.name)


@claim("every command that redis knows is in the table, or refused")
def all_commands():
    table = read_table()
    with services.redis() as port, Follower() as follower:
        commands = known_commands(port)
        for one in commands:
            meaning = table.get(one.name)
            follower.tell(b"n")
            words = one.words
            follower.tell(b">", "".join(
                [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
            ).encode())
            follower.tell(b"<", b"-ERR\r\n")
            verdict, _, _ = follower.ask()
            if meaning is None:
                expect(verdict == "unknown_command", f"{one.name} is not there, but {verdict}")
                continue
            expect(("SUBCOMMANDS" in meaning) >= bool(one.subcommands),
                   f"{one.name} has subcommands")
            expect(("BLOCKS" in meaning) >= ("blocking" in one.flags), f"{one.name} blocks")
    missing = {one.name for one in commands} - table.keys()
    expect(missing == {"pfdebug", "pfselftest", "restore-asking"}, f"not in the table: {missing}")


@claim("what the table says may be sent again does not write, says redis")
def reads():
    table = read_table()
    with services.redis() as port:
        commands = {one.name: one for one in known_commands(port)}
    for name, meaning in table.items():
        one = commands.get(name)
        if not one or "READS" not in meaning or one.subcommands:
            continue
        wrong = one.flags & {"write", "denyoom", "blocking"} or one.categories & {"@write"}
        expect(not wrong, f"{name}: {wrong}")
    reading = {name for name, one in commands.items() if "readonly" in one.flags}
    reading -= {name for name in reading if "BLOCKS" in table.get(name, ())}
    # A function may keep a state of its own, and scripts can call what is not about data.
    reading -= {"eval_ro", "evalsha_ro", "fcall_ro"}
    lost = {name for name in reading if "READS" not in table[name]}
    expect(not lost, f"these only read: {lost}")


# The server would be another one after it, or wait.
NOT_TRIED = {"replicaof", "slaveof", "migrate", "client|pause", "failover", "shutdown"}


def may_be_tried(name, meaning):
    return name not in NOT_TRIED and not meaning & {"NEVER", "BLOCKS", "UNCOUNTED"}


@claim("after any command a connection that is idle, or reset, is as new")
def any_command():
    table = read_table()
    verdicts = set()
    with services.redis() as port, Follower() as follower:
        for one in known_commands(port):
            if one.subcommands or not may_be_tried(one.name, table.get(one.name, {"NEVER"})):
                continue
            client = Client(port, follower)
            client(*one.words)
            verdict = judge(port, client, one.words)
            expect(verdict in ("none", "reset", "said_goodbye"), f"{one.name}: {verdict}")
            verdicts.add(verdict)
    expect(verdicts == {"none", "reset", "said_goodbye"}, verdicts)


# Each is sent and answered in turn, and must be seen in what the server says of the connection.
VISIBLE = [
    ["SELECT 3"], ["HELLO 3"], ["HELLO 3 SETNAME x"], ["HELLO 2 SETNAME x"], ["AUTH alice secret"],
    ["HELLO 3 AUTH alice secret"], ["CLIENT SETNAME x"], ["CLIENT TRACKING ON"],
    ["CLIENT TRACKING ON BCAST PREFIX a"], ["CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"],
    ["HELLO 3", "CLIENT TRACKING ON", "GET k"], ["MULTI"], ["MULTI", "SELECT 3", "EXEC"],
    ["MULTI", "SET k"],
]

# Not there: what a program may do so that it is as new.
HARMLESS = [
    ["MULTI", "EXEC"], ["MULTI", "SET k 1", "EXEC"], ["WATCH a", "MULTI", "GET k", "EXEC"],
    ["MULTI", "DISCARD"], ["WATCH a", "UNWATCH"], ["MULTI", "SET k", "EXEC"], ["EXEC"],
    ["DISCARD"], ["UNWATCH"], ["EVAL return(redis.call('SELECT',5)) 0"],
    ["EVAL return(redis.setresp(3)) 0"], ["EVAL return(redis.call('WATCH','a')) 0"],
    ["SCRIPT LOAD return(1)"], ["ECHO x", "PING"], ["RESET"], ["HELLO 2"], ["WATCH a"],
    ["WATCH a", "MULTI", "UNWATCH", "EXEC"], ["WATCH a", "DISCARD"], ["WATCH a", "EXEC"],
    ["AUTH default wrong"],
]


def tell_one_by_one(port, follower, lines):
    client = Client(port, follower)
    for line in lines:
        client(*line.split(" "))
    return client


@claim("what a program leaves on a connection is undone, each by name")
def undone():
    with services.redis() as port, Follower() as follower:
        admin = Client(port)
        expect(admin(*"ACL SETUSER alice on >secret +@all ~* &*".split()) == b"+OK", "no user")
        new = admin.state()
        for lines in VISIBLE:
            client = tell_one_by_one(port, follower, lines)
            if lines not in (["MULTI"], ["MULTI", "SET k"]):  # it would be queued
                expect(client.state() != new, f"{lines} cannot be seen")
            verdict = judge(port, client, lines)
            expect(verdict == "reset", f"{lines}: {verdict}")
        for lines in HARMLESS:
            verdict = judge(port, tell_one_by_one(port, follower, lines), lines)
            expect(verdict in ("none", "reset"), f"{lines}: {verdict}")
        admin.end()


@claim("a pipeline that is a transaction needs no RESET, if it is over")
def pipelines():
    pipelined = {
        "MULTI|SET k 1|EXEC": "none", "WATCH a|MULTI|EXEC": "none", "MULTI|SET k|EXEC": "none",
        "MULTI|GET k|DISCARD": "none", "WATCH a|GET k|UNWATCH": "none",
        "WATCH a|EXEC": "reset", "MULTI|UNWATCH": "reset", "MULTI|EXEC|WATCH a": "reset",
        "MULTI|EXEC|MULTI|EXEC": "none", "MULTI|SELECT 2|EXEC": "reset",
    }
    with services.redis() as port, Follower() as follower:
        for commands, expected in pipelined.items():
            client = Client(port, follower)
            lines = commands.split("|")
            client.send_raw("".join(f"{line}\r\n" for line in lines).encode())
            for _ in lines:
                client.read()
            verdict = judge(port, client, commands)
            expect(verdict == expected, f"{commands}: {verdict}")
        # the key is changed meanwhile, so that EXEC says nil, in RESP 2 and 3
        for hello in "2", "3":
            client, other = Client(port, follower), Client(port)
            client("HELLO", hello)
            client("WATCH", "a")
            other("SET", "a", 1)
            client("MULTI")
            expect(client("EXEC") is None, "the transaction was carried out")
            other.end()
            expect(judge(port, client, "nil") == "reset", "HELLO is a state")


@claim("subscriptions, MONITOR and CLIENT REPLY are undone by RESET")
def uncounted():
    table = read_table()
    first = {
        "subscribe": 1, "psubscribe": 1, "ssubscribe": 1, "monitor": 1, "client|reply": 0,
        "unsubscribe": 1, "punsubscribe": 1, "sunsubscribe": 1,
    }
    expect({name for name, meaning in table.items() if "UNCOUNTED" in meaning} == set(first),
           "a command is not tried here")
    arguments = {"monitor": [], "client|reply": ["OFF"]}
    with services.redis() as port, Follower() as follower:
        for name, replies in first.items():
            client = Client(port, follower)
            client.send(*name.split("|"), *arguments.get(name, "c"))
            for _ in range(replies):
                client.read()
            if name == "client|reply":
                # it might be what takes away the reply to RESET
                expect(follower.ask()[0] == "busy", "CLIENT REPLY is the last")
                client.send("PING")
            verdict = judge(port, client, name)
            expect(verdict == "reset", f"{name}: {verdict}")


@claim("a connection that waits for an answer is not idle, nor reset")
def blocking():
    with services.redis() as port, Follower() as follower:
        client, other = Client(port, follower), Client(port)
        client.send("BLPOP", "k", 0)
        expect(follower.ask()[:2] == ("busy", False), f"BLPOP: {follower.ask()}")
        other("RPUSH", "k", 1)
        expect(client.read() == [b"k", b"1"], "BLPOP is answered")
        expect(judge(port, client, "BLPOP") == "none", "BLPOP")
        # nobody would know whether it is answered
        client = Client(port, follower)
        client.send("CLIENT", "REPLY", "OFF")
        client.send("BLPOP", "k", 0)
        expect(follower.ask()[:2] == ("state", False), f"unanswered: {follower.ask()}")
        client.end()
        other.end()


@claim("a connection keeps no rights that a new one has not")
def rights():
    ways = [("ACL SETUSER default resetpass >secret", "ACL SETUSER default nopass")]
    with services.redis() as port, Follower() as follower:
        # What is set may be looked at when a connection is made, so RESET is not enough.
        client = Client(port, follower)
        expect(client("CONFIG", "SET", "maxclients", "1000") == b"+OK", "CONFIG SET")
        expect(follower.ask()[:2] == ("state", False), f"CONFIG SET: {follower.ask()}")
        client.end()
        for lock, unlock in ways:
            client, admin = Client(port, follower), Client(port)
            expect(client(*lock.split(" ")) == b"+OK", lock)
            expect(client("GET", "k") is None, "an old connection keeps its rights")
            expect(follower.ask()[:2] == ("state", True), f"{lock}: {follower.ask()}")
            is_reset(client)
            locked = b"-NOAUTH Authentication required."
            expect(client("GET", "k") == Client(port)("GET", "k") == locked, "after RESET")
            client.end()
            # with a login: undone, too
            client = Client(port, follower)
            expect(client("AUTH", "secret") == b"+OK", "the password")
            expect(follower.ask()[:2] == ("state", True), f"AUTH: {follower.ask()}")
            is_reset(client)
            expect(client("GET", "k") == locked, "after AUTH and RESET")
            client.end()
            expect(admin(*unlock.split(" ")) == b"+OK", unlock)
            admin.end()


@claim("what is nothing to the tracker is nothing to redis")
def nothing():
    nothings = [b"*0\r\n", b"*-1\r\n", b"\r\n", b"\n", b" \t\r\n", b"*0\r\n\r\n*-1\r\n"]
    forms = [b"PING\r\n", b"ping\n", b" \tPing \t\r\n", b"*1\r\n$4\r\npInG\r\n"]
    with services.redis() as port, Follower() as follower:
        for before, form in itertools.product([b"", *nothings], forms):
            client = Client(port, follower)
            client.send_raw(before + form)
            expect(client.read() == b"+PONG", f"{before + form}")
            expect(judge(port, client, before + form) == "none", f"{before + form}")


@claim("what redis does not take, the tracker refuses")
def not_taken():
    wrong = [b"*01\r\n$4\r\nPING\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n",
             b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n$-1\r\n", b"*1\r\n+PING\r\n", b"*1a\r\n",
             b"SET k \"a\r\n", b"SET k 'a\r\n", b"*9999999999\r\n", b"*1\r\n$536870913\r\n"]
    with services.redis() as port, Follower() as follower:
        for data in wrong:
            client = Client(port, follower)
            client.send_raw(data)
            expect(client.input.readline().startswith(b"-ERR Protocol error"), data)
            verdict, _, _ = follower.ask()
            expect(verdict in ("malformed", "length"), f"{data}: {verdict}")
            client.end()


if __name__ == "__main__":
    main()
