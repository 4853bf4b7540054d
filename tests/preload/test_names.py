#!/usr/bin/python3
"""Which name a connection is for, and what is made of it: sharing, and rules."""

from harness import claim, compare, expect, main, opened, program, run

# In a mount namespace of its own, with hosts of its own.
HOSTS = """127.0.0.1 one.test two.test both.test multi.test
::1 both.test
127.0.0.2 multi.test
"""

MOUNTED = """
cat >{scratch}/hosts &&
mount --bind {scratch}/hosts /etc/hosts && exec /usr/bin/python3 -c "$1"
"""

CLIENT = """
import asyncio, http.client, socket

def resolve(host, family=socket.AF_INET):
    return socket.getaddrinfo(host, {0}, family, socket.SOCK_STREAM)[0][4]

def read_answer(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.read().decode()

def fetch(address, what, family=socket.AF_INET):
    with socket.socket(family) as connection:
        connection.connect(address)
        connection.sendall(f"GET /echo/{what} HTTP/1.1\\r\\nHost: {what}\\r\\n\\r\\n".encode())
        print(read_answer(connection))
"""


def client(script, hosts=HOSTS, **options):
    argv = ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", CLIENT + script]
    return compare(argv, stdin=hosts.encode(), **options)


def expect_none_shared(pooled):
    for connection in pooled.log:
        hosts = set(connection.asked)
        expect(len(hosts) == 1, f"connection {connection.id} was used for {sorted(hosts)}")


ALL_FIRST = """
one, two = resolve("one.test"), resolve("two.test")
for _ in range(3):
    fetch(one, "one.test")
    fetch(two, "two.test")
"""

IN_TURN = """
for _ in range(3):
    for host in ("one.test", "two.test"):
        fetch(resolve(host), host)
"""

IN_OTHER_THREADS = """
async def fetch_from(host):
    reader, writer = await asyncio.open_connection(host, {0})
    writer.write(f"GET /echo/{host} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    answer = await reader.readexactly(len(host))
    writer.close()
    await writer.wait_closed()
    return answer.decode()

async def fetch_all():
    for _ in range(3):
        print(await asyncio.gather(fetch_from("one.test"), fetch_from("two.test")))

asyncio.run(fetch_all())
"""

ONE_OFF = {"SP_RULES": "one.test:* off=1"}


def of(pooled, host):
    return len(pooled.connection_of(f"/echo/{host}"))


@claim("names that are resolved first and connected to later share no connection")
def all_first():
    _, pooled = opened(client(ALL_FIRST), 6, 6, 2)
    expect_none_shared(pooled)
    expect(pooled.stats["refused"].get("ambiguous", 0) > 0, f"{pooled.stats['refused']}")


@claim("a rule for a name holds where it cannot be known which name is meant")
def all_first_with_a_rule():
    _, pooled = client(ALL_FIRST, env=ONE_OFF)
    expect_none_shared(pooled)
    expect(of(pooled, "one.test") == 3, f"{of(pooled, 'one.test')} connections of 3 to one.test")


@claim("names that are resolved in other threads share no connection")
def in_other_threads():
    _, pooled = opened(client(IN_OTHER_THREADS), 6, 6, 2)
    expect_none_shared(pooled)


@claim("and a rule for one of them holds")
def in_other_threads_with_a_rule():
    _, pooled = client(IN_OTHER_THREADS, env=ONE_OFF)
    expect_none_shared(pooled)
    expect(of(pooled, "one.test") == 3, f"{of(pooled, 'one.test')} connections of 3 to one.test")


@claim("a name that is resolved just before each connect() has its own connection")
def in_turn():
    _, pooled = opened(client(IN_TURN), 6, 2, 2)
    expect_none_shared(pooled)


@claim("and its own rules")
def in_turn_with_a_rule():
    _, pooled = client(IN_TURN, env=ONE_OFF)
    counts = of(pooled, "one.test"), of(pooled, "two.test")
    expect(counts == (3, 1), f"connections: {counts}")


ONE_NAME = IN_OTHER_THREADS.replace(', fetch_from("two.test")', "")


@claim("where an address has one name, it is for that name, whoever resolved it")
def one_name():
    _, pooled = opened(client(ONE_NAME), 3, 1)
    hosts = [point["host"] for point in pooled.stats["service_points"]]
    expect(hosts == ["one.test"], f"service points: {hosts}")


MAPPED = """
for _ in range(3):
    for host in ("one.test", "two.test"):
        fetch(("::ffff:" + resolve(host)[0], {0}), host, socket.AF_INET6)
"""


@claim("a name is known by its mapped address, too")
def mapped():
    _, pooled = opened(client(MAPPED), 6, 2, 2)
    expect_none_shared(pooled)


MULTI = """
for address in ("127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.1"):
    resolve("multi.test")
    fetch((address, {0}), address)
"""


@claim("a rule for an address holds for each connection to it, whatever its name, and no other")
def rule_for_an_address():
    for off, left in (("127.0.0.2", "127.0.0.1"), ("127.0.0.1", "127.0.0.2")):
        env = {"SP_RULES": f"{off}:* off=1"}
        plain, pooled = client(MULTI, modes="keepalive@0.0.0.0", env=env)
        before, after = (of(one, off) for one in (plain, pooled))
        expect(after == before, f"{after} connections to {off}, {before} without the library")
        expect(of(pooled, left) == 1, f"{of(pooled, left)} connections to {left}")


FAMILIES = """
for _ in range(4):
    address = resolve("both.test")
    resolve("both.test", socket.AF_INET6)
    fetch(address, "both")
"""


@claim("the answer for one family does not retire connections of the other")
def families():
    _, pooled = opened(client(FAMILIES), 4, 1)
    expect(pooled.stats["discarded"] == {}, f"{pooled.stats['discarded']}")


MANY = """
for number in range(4096):
    resolve(f"{number}.test")
for _ in range(2):
    for host in ("one.test", "two.test"):
        fetch(resolve(host), host)
"""


@claim("a name too many shares no connection with others")
def a_name_too_many():
    names = "".join(f"10.{n >> 8}.{n & 255}.1 {n}.test\n" for n in range(4096))
    _, pooled = opened(client(MANY, HOSTS + names), 4, 4, 4)
    expect(pooled.stats["refused"] == {"ambiguous": 4}, f"{pooled.stats['refused']}")


@claim("proto=raw: the answer to a question of the use before reaches nobody")
def raw_answers():
    argv = [program("endings"), "unanswered", "{0}", "{1}"]
    _, pooled = compare(argv, ["silent", "control"], env={"SP_RULES": "*:{0} proto=raw"})
    expect(pooled.stats["refused"].get("busy", 0) > 0, f"{pooled.stats['refused']}")


@claim("a file of rubbish is ten lines, and one that says how many more")
def rubbish():
    script = "yes x | head -500000 >{scratch}/rules && exec /usr/bin/env \"$@\""
    get = [program("get"), "GET", "{0}", "/echo/x", "3"]
    result = run(["sh", "-c", script, "sh", "SP_RULES_FILE={scratch}/rules", *get])
    lines = [line for line in result.stderr.splitlines() if "line 1," in line]
    expect(result.stderr.count("\n") == 11 * len(lines) > 0, result.stderr[:2000])
    expect("499990 more" in result.stderr.splitlines()[-1], result.stderr[-200:])
    expect(result.connections == 1, f"{result.connections} connections")


@claim("of one source ten thousand rules hold; the next is one line")
def ten_thousand():
    for count, said in ((10000, 0), (10001, 1)):
        script = ("{ seq -f 'h%g.test:* idle=1' $((" + str(count) + " - 1)); "
                  "echo '127.0.0.1:* off=1'; } >{scratch}/rules && exec /usr/bin/env \"$@\"")
        get = [program("get"), "GET", "{0}", "/echo/x", "3"]
        result = run(["sh", "-c", script, "sh", "SP_RULES_FILE={scratch}/rules", *get])
        lines = [line for line in result.stderr.splitlines() if "one rule too many" in line]
        expect(len(lines) == result.stderr.count("\n") == said, result.stderr[:2000])
        expect(result.connections == (1 if said else 3), f"{result.connections} connections")


if __name__ == "__main__":
    main()
