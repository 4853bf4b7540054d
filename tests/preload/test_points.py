#!/usr/bin/python3
"""Service points as an operator sets them: limits, names, and what the program sees of it."""

from harness import claim, compare, expect, library, main, opened, program, run

ONE = {"SP_CONNECTION_LIMIT": "1"}


def turns(scenario, **env):
    result = run([program("turns"), scenario, "{0}"], env={**ONE, **env})
    expect(result.status == 0, f"exit status {result.status}\n{result}")
    return result, result.stdout.decode().splitlines()


def last_lines(scenario, expected, **env):
    result, lines = turns(scenario, **env)
    expect(lines[1 : 1 + len(expected)] == expected, "\n".join(lines))
    return result


@claim("16 threads where 2 connections are allowed: all served, by 2 connections")
def two_for_sixteen():
    argv = [program("threads"), "plain", "{0}", "16", "20"]
    _, pooled = opened(compare(argv, env={"SP_CONNECTION_LIMIT": "2"}), 320, 2)
    expect(pooled.stats["waited"] > 0, "nobody had to wait")


@claim("at the limit a blocking connect() ends with ETIMEDOUT, and the pool goes on")
def times_out():
    expected = ["connect: -1 ETIMEDOUT", "once more: -1 ETIMEDOUT", "close: 0"]
    result = last_lines("times_out", expected, SP_LIMIT_WAIT_MS="20")
    expect(result.connections == 1, f"{result.connections} connections, 1 expected")


@claim("no time to wait is ETIMEDOUT at once")
def times_out_at_once():
    expected = ["connect: -1 ETIMEDOUT", "once more: -1 ETIMEDOUT", "close: 0"]
    last_lines("times_out", expected, SP_LIMIT_WAIT_MS="0")


UNDER_WAY = ["poll: 1", "events: 0x4", "error: 0"]


@claim("a signal handler ends the wait, as it ends connect(), which then goes on by itself")
def is_interrupted():
    for scenario in ("is_interrupted", "is_interrupted_among_others"):
        result = last_lines(scenario, ["connect: -1 EINTR", *UNDER_WAY])
        expect(result.stats["over_limit"] == 1, f"over_limit: {result.stats['over_limit']}")


@claim("with SA_RESTART it goes on, as connect() does, also where other handlers are without")
def is_restarted():
    for scenario in ("is_restarted", "is_restarted_among_others"):
        result = last_lines(scenario, ["connect: 0"])
        expect(result.connections == 1, f"{result.connections} connections, 1 expected")


@claim("SO_SNDTIMEO ends the wait, too, and the connection goes on by itself")
def has_a_time_of_its_own():
    last_lines("has_a_time_of_its_own", ["connect: -1 EINPROGRESS", *UNDER_WAY])


@claim("a thread that waits can be cancelled, and leaves its turn to others")
def is_cancelled():
    result = last_lines("is_cancelled", ["cancelled: 1"])
    expect(result.connections == 1, f"{result.connections} connections, 1 expected")


@claim("a socket that another thread closes waits no longer")
def is_closed_by_another():
    result = last_lines("is_closed_by_another", ["connect: EBADF"])
    expect(result.connections == 1, f"{result.connections} connections, 1 expected")


@claim("a socket that another thread shuts down waits no longer, as if it were connecting")
def is_shut_down_by_another():
    last_lines("is_shut_down_by_another", ["shutdown: 0", "connect: ECONNRESET"])


@claim("who waits when the pool is turned off connects")
def the_pool_is_turned_off():
    result, lines = turns("the_pool_is_turned_off")
    expect("connect: done" in lines, "\n".join(lines))
    expect(result.connections == 2, f"{result.connections} connections, 2 expected")


@claim("a socket that is dissolved leaves its place to others")
def is_dissolved():
    result = last_lines("is_dissolved", ["dissolve: 0", "connect: 0"])
    expect(result.connections == 2, f"{result.connections} connections, 2 expected")


@claim("a handler that forks while connect() waits: parent and child both go on")
def forks_in_a_handler():
    _, lines = turns("forks_in_a_handler")
    expect(lines[1:3] == ["connect: 0", "child: 0"], "\n".join(lines))


@claim("a non-blocking connect() is let through, and counted")
def non_blocking_passes():
    result = last_lines("non_blocking_passes", ["under way: 1"])
    expect(result.connections == 2, f"{result.connections} connections, 2 expected")
    expect(result.stats["over_limit"] == 1, f"over_limit: {result.stats['over_limit']}")


# In a mount namespace of its own, where two names have one address.
HOSTS = """
printf '127.0.0.1 one.test two.test\\n' >{scratch}/hosts &&
mount --bind {scratch}/hosts /etc/hosts && exec /usr/bin/python3 -c '
import http.client
for _ in range(3):
    for host in ("one.test", "TWO.test"):
        connection = http.client.HTTPConnection(host, {0})
        connection.request("GET", "/echo/" + host)
        print(connection.getresponse().read())
        connection.close()
'"""


@claim("two names on one address are two service points, each with a connection of its own")
def names():
    argv = ["unshare", "--mount", "sh", "-c", HOSTS]
    _, pooled = opened(compare(argv), 6, 2, 2)
    points = [(p["host"], p["address"], p["reused"]) for p in pooled.stats["service_points"]]
    expected = [("one.test", "127.0.0.1", 2), ("two.test", "127.0.0.1", 2)]
    expect(sorted(points) == expected, f"service points: {points}")


@claim("an address that was never resolved stands for itself")
def addresses():
    pooled = run([program("get"), "GET", "{0}", "/echo/x", "1"])
    hosts = [point["host"] for point in pooled.stats["service_points"]]
    expect(hosts == ["127.0.0.1"], f"service points: {hosts}")


def rules(text, argv=("get", "GET", "{0}", "/echo/x", "3"), **env):
    return run([program(argv[0]), *argv[1:]], env={"SP_RULES": text, **env})


@claim("a rule turns a place off, another the last word on it")
def rule_off():
    off = rules("127.0.0.1:* off=1")
    expect(off.connections == 3, f"{off.connections} connections")
    expect(off.stats["refused"] == {"rule": 3}, f"{off.stats['refused']}")
    on = rules("*:* off=1; 127.0.0.0/8:{0} off=0")
    expect(on.connections == 1, f"{on.connections} connections")


@claim("SP_RULES_FILE has the same rules, one a line, and SP_RULES the last word")
def rules_of_a_file():
    script = "printf '# ours\\n127.0.0.1:{0} uses=1\\n' >{scratch}/rules && exec \"$@\""
    argv = ["sh", "-c", script, "sh", "env", "LD_PRELOAD=" + library(),
            "SP_RULES_FILE={scratch}/rules", program("get"), "GET", "{0}", "/echo/x", "3"]
    _, from_file = compare(argv)
    expect(from_file.connections == 3, f"{from_file.connections} connections")
    _, overruled = compare(argv, env={"SP_RULES": "127.0.0.1:{0} uses=0"})
    expect(overruled.connections == 1, f"{overruled.connections} connections")


@claim("proto=raw pools what nobody knows, as the user says so")
def rule_raw():
    argv = [program("endings"), "line_state", "{0}"]
    plain = run(argv, "line")
    expect(plain.stats["reused"] == 0, f"{plain.stats}")
    raw = run(argv, "line", env={"SP_RULES": "*:{0} proto=raw"})
    expect(raw.stats["reused"] > 0, f"{raw.stats}")
    expect(raw.stats["service_points"][0]["protocol"] == "raw", f"{raw.stats}")


@claim("a bad rule is one line with its place, and the others hold")
def bad_rule():
    result = rules("127.0.0.1 off=1; 127.0.0.1:* off=1 ;\n *:* limits=3")
    lines = result.stderr.splitlines()
    expect(len(lines) == 2 and "SP_RULES, line 1, column 1: " in lines[0], result.stderr)
    expect("SP_RULES, line 2, column 6: " in lines[1], result.stderr)
    expect(result.connections == 3, f"{result.connections} connections")


@claim("a file of rules that is not there is one line")
def no_rules_file():
    result = rules("", SP_RULES_FILE="{scratch}/none")
    expect(result.stderr.endswith("none cannot be read\n"), result.stderr)
    expect(result.stderr.count("\n") == 1, result.stderr)
    expect(result.connections == 1, f"{result.connections} connections")


KEEPER = {"SP_KEEPER": "1"}


def watch(scenario, modes=("keepalive",), **env):
    ports = ["{%d}" % number for number in range(len(modes))]
    result = run([program("watchers"), scenario, *ports], modes, env={**KEEPER, **env})
    expect(result.status == 0, f"exit status {result.status}\n{result}")
    return result, result.stdout.decode().splitlines()


@claim("the keeper closes on time what a silent program has parked")
def keeper_expires():
    result, lines = watch("expires", SP_MAX_IDLE_MS="50")
    expect(lines[-1] == "sockets: 0", f"{lines}")
    expect(result.stats["discarded"] == {"idle": 1}, f"{result.stats['discarded']}")


@claim("the keeper sees at once that the peer has closed")
def keeper_sees_the_end():
    result, lines = watch("sees_the_end", ("idle-close", "control"))
    expect(lines[-1] == "sockets: 1", f"{lines}")
    expect(result.stats["discarded"] == {"dead": 1}, f"{result.stats['discarded']}")


@claim("the keeper is one thread, takes no signals, and is there again in a forked child")
def keeper_threads():
    _, lines = watch("threads", SP_MAX_IDLE_MS="50")
    told = [line for line in lines if ":" in line and not line.startswith(("/", "close"))]
    expected = ["threads: 2", "in the child: 1", "threads: 2", "sockets: 0", "child: 0", "sockets: 0"]
    expect(told == expected, f"{told}")


@claim("without the keeper a silent program goes on having it")
def no_keeper():
    result = run([program("watchers"), "threads", "{0}"])
    expect(b"\nthreads: 1\n" in result.stdout, f"{result}")


if __name__ == "__main__":
    main()
