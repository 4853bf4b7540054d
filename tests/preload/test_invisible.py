#!/usr/bin/python3
"""Calls that cannot be seen, and those that can after all: nothing is mixed up, closed, believed.

Made visible: syscall(2), and plugins with SP_SEE_PLUGINS=1. Never seen: system calls without libc,
io_uring, libraries in a namespace of their own; there identity and the ledger keep it safe.
"""

import functools
import pathlib
import shutil
import tempfile

from harness import (
    Skip, claim, compare, execute, expect, main, need, opened, program, run,
)

BOTH = ("keepalive", "keepalive")

# claim, scenario of invisible, ways that are safe: no more than that can be had where the kernel
# itself does not tell (a second holder, options, epoll sets)
UNSEEN = [
    ("close", "closes", "syscall inline"),
    ("a number closed and taken by a file", "number_is_something_else", "syscall inline"),
    ("a number closed and taken by the next connection", "number_is_next_connection",
     "syscall inline"),
    ("a number closed and taken by a connection made unseen", "number_is_unseen_connection",
     "syscall inline"),
    ("connect", "connects", "syscall inline"),
    ("close_range over everything", "closes_range", "syscall inline"),
    ("parts of an exchange", "moves_bytes", "syscall inline"),
    ("whole exchanges", "exchanges", "syscall inline"),
    ("dup2 and dup3 of a file over a connection", "over_connection", "syscall inline"),
    ("dup2 of a connection over another", "connection_over_connection", "syscall inline"),
    ("shutdown", "shuts_down", "syscall inline"),
    ("status flags and close-on-exec", "sets_flags", "syscall inline"),
    ("files put over hidden numbers", "hidden_replaced", "syscall inline"),
    ("hidden numbers closed and taken by files", "hidden_closed", "syscall inline"),
    ("dup in all its forms", "dups", "syscall"),
    ("passed on by SCM_RIGHTS", "passes", "syscall"),
    ("the owner of signals", "sets_owner", "syscall"),
    ("setsockopt", "sets_options", "syscall"),
    ("epoll_ctl", "watches", "syscall"),
]


def unseen(name, scenario, way, **env):
    argv = [program(name), scenario, "{0}", "{1}", way]
    return compare(argv, BOTH, env=env)


for text, scenario, ways in UNSEEN:
    for way in ways.split():
        claim(f"{text}: {way}")(functools.partial(unseen, "invisible", scenario, way))

def hidden_taken(scenario, reason, **env):
    """Files on numbers that were hidden: found out by identity, before anything is believed."""
    _, pooled = unseen("invisible", scenario, "inline", **env)
    expect(pooled.stats["discarded"].get(reason), f"nothing was hidden there: {pooled.stats}")


for scenario in ("hidden_replaced", "hidden_closed"):
    claim(f"{scenario}: found out by identity")(
        functools.partial(hidden_taken, scenario, "identity")
    )
    claim(f"{scenario} with room for two: the stale ones are evicted")(
        functools.partial(hidden_taken, scenario, "evicted", SP_MAX_PARKED="2")
    )


@claim("close by syscall() parks the connection")
def pooled_by_syscall():
    opened(unseen("invisible", "closes", "syscall"), 7, 1)


@claim("setsockopt by syscall() is undone on a connection that is used again")
def options_by_syscall():
    opened(unseen("invisible", "sets_options", "syscall"), 5, 1)


@claim("epoll_ctl by syscall() does not keep a connection from being parked")
def watched_by_syscall():
    opened(unseen("invisible", "watches", "syscall"), 6, 1)


@claim("close by a system call that cannot be seen costs the connection, not those after it")
def closed_unseen():
    opened(unseen("invisible", "closes", "inline"), 7, 6)


@claim("a connection to another place, with the same bytes on it, is told from the one before")
def double():
    plain, pooled = unseen("invisible", "number_is_a_double", "inline")
    asked = [len(result.connection_of("/echo/to-the-first-server")) for result in (plain, pooled)]
    requests = [result.requests for result in (plain, pooled)]
    expect(requests[0] == requests[1], f"requests at the first server: {requests}")
    expect(asked[0] == 3 and asked[1] > 0, f"{asked}")


RINGS = [
    ("is there", "idle"),
    ("moves bytes", "moves_bytes"),
    ("closes", "closes"),
    ("connects", "connects"),
]


def ring(scenario, way):
    plain = run([program("rings"), scenario, "{0}", "{1}", way], BOTH, preload=False)
    if b"io_uring_setup: " in plain.stdout:
        raise Skip("this kernel does not allow io_uring: " + plain.stdout.decode().strip())
    return unseen("rings", scenario, way)


for text, scenario in RINGS:
    for way in ("syscall", "inline"):
        claim(f"an io_uring made by {way} {text}")(functools.partial(ring, scenario, way))


@claim("io_uring_setup by syscall() turns the pool off")
def ring_turns_off():
    _, pooled = ring("idle", "syscall")
    expect(pooled.connections == 10, f"{pooled.connections} connections, 10 expected")


ALIASES = [
    ("__close", "closes"),
    ("__connect", "connects"),
    ("__read, __write and __send", "moves_bytes"),
    ("__dup2 and __fcntl as a second holder", "dups"),
    ("__dup2 over a connection", "over_connection"),
    ("__fcntl and flags", "flags"),
    ("__fork and __vfork", "child_keeps"),
    ("_IO_popen", "popen_keeps"),
    ("_IO_fdopen and _IO_fclose", "streams"),
]


def alias(scenario):
    return compare([program("aliases"), scenario, "{0}"])


for text, scenario in ALIASES:
    claim(f"libc's second names: {text}")(functools.partial(alias, scenario))


@claim("what a child made by a second name holds is not handed out")
def alias_children():
    for scenario in ("child_keeps", "popen_keeps"):
        _, pooled = alias(scenario)
        for kind in ("fork", "vfork", "popen"):
            kept = pooled.connection_of(f"/echo/kept-over-{kind}")
            beside = pooled.connection_of(f"/echo/beside-{kind}")
            expect(not set(kept) & set(beside), f"{kind}: the child's connection was handed on")


PLUGINS = [
    ("all of it in the plugin", "all_inside"),
    ("each step in the plugin or in the program", "half_visible"),
    ("numbers that the plugin closes or opens", "numbers"),
    ("numbers of which something else is known", "stale_numbers"),
    ("connections side by side", "side_by_side"),
]
SEE = {"SP_SEE_PLUGINS": "1"}


def plugin(scenario, how, **env):
    argv = [program("plugins"), scenario, "{0}", "{1}", how, program("libplugin.so")]
    return compare(argv, BOTH, env=env)


for text, scenario in PLUGINS:
    for how, words in (("deep", "RTLD_DEEPBIND"), ("apart", "dlmopen()")):
        claim(f"{words}, {text}")(functools.partial(plugin, scenario, how))
        claim(f"{words}, {text}, SP_SEE_PLUGINS=1")(
            functools.partial(plugin, scenario, how, **SEE)
        )


@claim("a plugin that is loaded plainly is pooled")
def plain_plugin():
    opened(plugin("all_inside", "plain"), 10, 1)


@claim("with RTLD_DEEPBIND only if SP_SEE_PLUGINS=1")
def deep_plugin():
    opened(plugin("all_inside", "deep"), 10, 10, at_least=10)
    opened(plugin("all_inside", "deep", SP_SEE_PLUGINS="0"), 10, 10, at_least=10)
    opened(plugin("all_inside", "deep", **SEE), 10, 1)
    opened(plugin("half_visible", "deep", **SEE), 16, 1)


def runpath(**env):
    """A copy where only the library's own RUNPATH leads to what it loads."""
    with tempfile.TemporaryDirectory(prefix="sppool-runpath-") as directory:
        outer = pathlib.Path(directory, "libouter.so")
        outer.with_name("sub").mkdir()
        shutil.copy(program("libouter.so"), outer)
        shutil.copy(program("libinner.so"), outer.with_name("sub"))
        plain, _ = compare([program("runpath"), str(outer)], env=env)
    shown = plain.stdout.decode()
    expect(shown.count("the library, libinner.so: 42") == 4, f"not found by RUNPATH:\n{shown}")
    expect("the program, libinner.so: 42" not in shown, f"found by anybody:\n{shown}")


claim("dlopen() sees its caller's RUNPATH and $ORIGIN")(runpath)
claim("dlopen() sees its caller's RUNPATH and $ORIGIN, SP_SEE_PLUGINS=1")(
    functools.partial(runpath, **SEE)
)


PHP_CURL = """
for ($i = 0; $i < 20; $i++) {
    $handle = curl_init("http://127.0.0.1:$argv[1]/bytes/" . (100 + $i));
    curl_setopt($handle, CURLOPT_RETURNTRANSFER, true);
    echo hash("sha256", curl_exec($handle)), " ", curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
    curl_close($handle);
}
"""


def php(**env):
    argv = [need("php"), "-r", PHP_CURL, "{0}"]
    loaded, _, _ = execute([argv[0], "-m"], {"PATH": "/usr/bin:/bin"})
    if b"curl" not in loaded.split():
        raise Skip("php-curl is not installed")
    return compare(argv, env=env)


@claim("PHP's curl extension is safe, and pooled with SP_SEE_PLUGINS=1")
def php_curl():
    opened(php(), 20, 20)
    opened(php(**SEE), 20, 1)


# An agent that keeps alive, and is destroyed after each request: libuv closes by syscall(2).
NODE = """
const http = require("http"), crypto = require("crypto");
function get(left) {
  if (!left) return;
  const agent = new http.Agent({keepAlive: true});
  const path = "/bytes/" + (100 + left);
  http.get({port: process.argv[1], host: "127.0.0.1", path, agent}, answer => {
    const hash = crypto.createHash("sha256");
    answer.on("data", data => hash.update(data));
    answer.on("close", () => {
      console.log(answer.statusCode, hash.digest("hex"));
      agent.destroy();
      setImmediate(() => get(left - 1));
    });
  });
}
get(20);
"""


@claim("node, which closes by syscall(), is pooled")
def node():
    plain, pooled = compare([need("node"), "-e", NODE, "{0}"])
    opened((plain, pooled), 20, 2)


if __name__ == "__main__":
    main()
