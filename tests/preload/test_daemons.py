#!/usr/bin/python3
"""Daemons and remote commands under the library: they fork, close all, change users, hand over."""

import contextlib
import filecmp
import functools
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading

import processes
import services
from harness import check_same, claim, expect, library, main, need, run_alone
from server import Server, pattern

LONG = os.environ.get("SPPOOL_LONG") == "1"
BATCH = 2000 if LONG else 200  # requests; several batches make a claim
THREADS = 8


# Clients of the tests' own, without the library: each asks for what nobody else asks for.


def names(kind, count=BATCH):
    return [f"{kind}-{number}" for number in range(count)]


def ask_once(port, some):
    """A connection for each request, which the server closes: then it is done with it."""
    for name in some:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            request = f"GET /echo/{name} HTTP/1.1\r\nHost: loopback\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            check(name, answer.status, answer.read())
            expect(connection.recv(1) == b"", f"more came after {name}")


def ask_kept(port, some):
    """All requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for name in some:
        connection.request("GET", f"/echo/{name}")
        answer = connection.getresponse()
        check(name, answer.status, answer.read())
    connection.close()


def check(name, status, body):
    expect(status == 200 and body == name.encode(), f"asked for {name}: {status} {body[:100]}")


def in_threads(ask, port, some):
    faults = []

    def work(share):
        try:
            ask(port, share)
        except Exception as fault:  # of a thread, to be raised where somebody sees it
            faults.append(f"{ask.__name__}: {fault!r}")

    threads = [threading.Thread(target=work, args=(some[i::THREADS],)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not faults, "\n".join(faults))


def all_asked(server):
    """The names of the requests that a server had."""
    return [asked.removeprefix("GET /echo/") for one in server.log for asked in one.asked]


# Proxies

# By nginx, haproxy (but not that a worker was ended with its master), sshd, rsync and the library.
COMPLAINT = re.compile(
    r"\[(alert|crit|emerg)\]|\[ALERT\](?!.*code 143)|\b(error|fatal):|sppool\["
)


def expect_content(daemon):
    bad = [line for line in daemon.said if COMPLAINT.search(line)]
    expect(not bad, "".join(bad))


class Proxied:
    """What came through a proxy: all of it right, and each request once at the origin."""

    def __init__(self, preload, start, signal_of_reload, keeps):
        self.asked = []
        self.reload_by = signal_of_reload
        self.keeps = keeps
        with Server() as self.origin, start(self.origin.port, preload) as self.proxy:
            self.expect_loaded(preload)
            self.batch(ask_once, "warm")
            before = self.descriptors()
            self.batch(ask_once, "once")
            self.batch(ask_kept, "kept")
            self.expect_no_leak(before)
            self.reload()
            self.expect_loaded(preload)
            self.batch(ask_once, "reloaded")
        self.connections = self.origin.connections
        self.expect_right()

    def workers(self):
        return processes.children(self.proxy.pid)

    def descriptors(self):
        return [processes.own_descriptors(pid) for pid in self.workers()]

    def batch(self, ask, kind):
        some = names(kind)
        self.asked += some
        in_threads(ask, self.proxy.port, some)

    def reload(self):
        """While requests come."""
        workers = self.workers()
        some = names("meanwhile")
        self.asked += some
        asking = threading.Thread(target=in_threads, args=(ask_once, self.proxy.port, some))
        asking.start()
        os.kill(self.proxy.pid, self.reload_by)
        for worker in workers:
            processes.await_end(worker)
        asking.join()

    def expect_loaded(self, preload):
        """In time: a master that executes itself anew is without any library for a moment."""
        if preload:
            path = preload.split(":")[-1]
            pids = [self.proxy.pid, *self.workers()]
            processes.await_true(
                lambda: all(processes.has_loaded(pid, path) for pid in pids),
                f"the library is loaded by {pids}",
            )

    def expect_no_leak(self, before):
        """One that keeps connections itself may have some more, but not one for each request."""
        if self.keeps:
            counts = [len(now) - len(then) for now, then in zip(self.descriptors(), before)]
            expect(max(counts) <= 2 * THREADS, f"{max(counts)} descriptors more than before")
        else:
            processes.await_true(
                lambda: self.descriptors() == before, "a worker has the descriptors that it had"
            )
        for pid in self.workers():
            hidden = processes.hidden_descriptors(pid)
            expect(len(hidden) <= 2 * THREADS, f"{len(hidden)} hidden descriptors in {pid}")

    def expect_right(self):
        got = sorted(all_asked(self.origin))
        expect(got == sorted(self.asked), "not every request reached the origin once")
        expect_content(self.proxy)


def proxied(start, signal_of_reload, without=None, at_most=None):
    """without, at_most: connections to the origin without and with the library. None: the proxy
    keeps connections itself, so that it is a matter of time how many there are."""
    plain, pooled = (
        Proxied(preload, start, signal_of_reload, keeps=without is None)
        for preload in (None, library())
    )
    if without is not None:
        least = without if without == at_most else 1
        expect(
            plain.connections == without and least <= pooled.connections <= at_most,
            f"{plain.connections} connections without, {pooled.connections} with",
        )


def nginx(directives, upstream, origin, preload):
    location = f"location / {{ proxy_pass http://origin; {directives} }}"
    block = f"upstream origin {{ server 127.0.0.1:{origin}; {upstream} }}"
    return services.nginx(location, preload, workers=2, http=block)


def haproxy(options, origin, preload):
    return services.haproxy(origin, options, preload)


KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
REQUESTS = 5 * BATCH
CLIENTS = 4 * BATCH + THREADS  # connections to the proxy

# claim, how to start it, the signal that makes it reload, connections without and at most with
PROXIES = [
    ("nginx, master and workers, HTTP/1.0 upstream, reloaded",
     functools.partial(nginx, "", ""), signal.SIGHUP, REQUESTS, REQUESTS),
    ("nginx, HTTP/1.1 upstream, a connection for each request, reloaded: fewer connections",
     functools.partial(nginx, KEPT, ""), signal.SIGHUP, REQUESTS, 4 * THREADS),
    ("nginx that keeps upstream connections itself, reloaded",
     functools.partial(nginx, KEPT, "keepalive 4;"), signal.SIGHUP),
    ("haproxy that keeps connections itself, reloaded",
     functools.partial(haproxy, ""), signal.SIGUSR2),
    ("haproxy that asks to close each connection, reloaded",
     functools.partial(haproxy, "option http-server-close"), signal.SIGUSR2, REQUESTS, REQUESTS),
    ("haproxy that closes its side with its client's, by a reset, reloaded",
     functools.partial(haproxy, "http-reuse never"), signal.SIGUSR2, CLIENTS, CLIENTS),
]

for text, *row in PROXIES:
    claim(text)(functools.partial(proxied, *row))


# Remote shells, copies and clones: what the user of the commands sees is compared.


class Scene:
    """One act of a play that is given twice, without and with the library."""

    def __init__(self, preload, scratch):
        self.preload = preload
        self.scratch = scratch  # a directory
        self.runs = []
        self.facts = []  # what else must be the same

    def run(self, *argv, **options):
        """One command; the name of the directory is not part of what it said."""
        result = run_alone(argv, self.preload, **options)
        result.stdout = result.stdout.replace(self.scratch.encode(), b"scratch")
        result.stderr = result.stderr.replace(self.scratch, "scratch")
        self.runs.append(result)
        return result

    def succeed(self, *argv, **options):
        result = self.run(*argv, **options)
        expect(result.status == 0, f"{argv}: exit status {result.status}\n{result}")
        return result

    @contextlib.contextmanager
    def started(self, service):
        """One that forgets its clients when they have gone, and has nothing to complain about."""
        with service(library() if self.preload else None) as daemon:
            before = processes.own_descriptors(daemon.pid)
            yield daemon
            processes.await_true(
                lambda: not processes.children(daemon.pid)
                and processes.own_descriptors(daemon.pid) == before,
                f"{service.__name__} has no clients left",
            )
        expect_content(daemon)


def play(text):
    """A claim that what a function of a Scene does is the same without and with the library."""

    def both(function):
        scenes = []
        for preload in (False, True):
            with tempfile.TemporaryDirectory(prefix="sppool-scene-") as scratch:
                scenes.append(Scene(preload, scratch))
                function(scenes[-1])
        for plain, pooled in zip(scenes[0].runs, scenes[1].runs, strict=True):
            check_same(plain, pooled)
        expect(
            scenes[0].facts == scenes[1].facts,
            f"without: {scenes[0].facts}\nwith:    {scenes[1].facts}",
        )

    return lambda function: claim(text)(functools.partial(both, function))


REMOTE = [
    ["loopback", "ls", "/proc/self/fd"],
    ["loopback", "cat; echo away >&2; exit 7"],
    ["loopback", "head -c 1000 | sha256sum; kill -9 $$"],
    ["-n", "loopback", "cat; nohup seq 100000 & wait"],
    ["-n", "-tt", "loopback", "test -t 0 && echo a terminal"],
]


@play("ssh to an sshd: output, exit status, input, a terminal")
def ssh_commands(scene):
    with scene.started(services.sshd) as server:
        for command in REMOTE:
            scene.run(need("ssh"), *server.options, *command, stdin=pattern(300000))


@play("ssh sessions at the same time")
def ssh_together(scene):
    def work(number):
        command = f"cat; echo session {number}; exit {number}"
        scene.run(*ssh, command, stdin=pattern(100000 * number))

    with scene.started(services.sshd) as server:
        ssh = [need("ssh"), *server.options, "loopback"]
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    scene.runs.sort(key=lambda result: result.status)
    expect([result.status for result in scene.runs] == list(range(6)), "not every session ran")


SFTP = """
cd {scratch}/there
lcd {scratch}
put sent through-sftp
get through-sftp back
ls
rename through-sftp renamed
rm renamed
bye
"""


@play("scp, in both of its protocols, and sftp")
def copies(scene):
    there, sent = f"{scene.scratch}/there", f"{scene.scratch}/sent"
    os.mkdir(there)
    pathlib.Path(sent).write_bytes(pattern(3000000))
    with scene.started(services.sshd) as server:
        for name, *protocol in ("new",), ("old", "-O"):
            scp = [need("scp"), *server.options, *protocol]
            scene.succeed(*scp, sent, f"loopback:{there}/{name}")
            scene.succeed(*scp, f"loopback:{there}/{name}", f"{scene.scratch}/{name}")
        script = SFTP.format(scratch=scene.scratch).encode()
        scene.succeed(need("sftp"), *server.options, "-b", "-", "loopback", stdin=script)
    for copy in ("new", "old", "back"):
        expect(
            filecmp.cmp(sent, f"{scene.scratch}/{copy}", shallow=False),
            f"{copy} differs from what was sent",
        )


@play("ssh -L and -R, from a background process that sessions share: requests through them")
def ssh_forwards(scene):
    with scene.started(services.sshd) as server, Server() as origin:
        ssh = [need("ssh"), *server.options, "-S", f"{scene.scratch}/control"]
        ports = {option: services.free_port() for option in ("-L", "-R")}
        forwards = []
        for option, port in ports.items():
            forwards += [option, f"127.0.0.1:{port}:127.0.0.1:{origin.port}"]
        scene.succeed(*ssh, "-f", "-N", "-M", *forwards, "loopback")
        for option, port in ports.items():
            in_threads(ask_once, port, names(f"once{option}"))
            in_threads(ask_kept, port, names(f"kept{option}"))
        for number in range(5):
            scene.run(*ssh, "loopback", f"cat; exit {number}", stdin=pattern(50000))
        scene.succeed(*ssh, "-O", "exit", "loopback")
    scene.facts += [origin.connections, sorted(all_asked(origin))]


def make_tree(root, count=60):
    """Files of many sizes, in directories, each with other bytes than the rest."""
    for number in range(count):
        path = pathlib.Path(root, f"directory{number % 7}", f"file{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % number + pattern(number * number * 30))
    for path in [pathlib.Path(root), *pathlib.Path(root).rglob("*")]:
        os.utime(path, (1000000000, 1000000000))  # for rsync, which copies and shows them


def tree(root):
    """What is in it, but for what is git's."""
    files = sorted(path for path in pathlib.Path(root).rglob("*") if path.is_file())
    return [(str(path.relative_to(root)), path.read_bytes()) for path in files
            if ".git" not in path.parts]


@play("rsync: a daemon, its client, and through ssh")
def rsync(scene):
    with scene.started(services.rsyncd) as daemon, scene.started(services.sshd) as shell:
        make_tree(f"{scene.scratch}/sent")
        there = f"rsync://127.0.0.1:{daemon.port}/files"
        over = ["-e", "ssh " + " ".join(shell.options)]
        rsync = [need("rsync"), "-a", "--itemize-changes", "--delete"]
        for words in (
            [f"{scene.scratch}/sent/", there],
            [there, f"{scene.scratch}/back"],
            ["--checksum", f"{scene.scratch}/sent/", there],
            [*over, f"{scene.scratch}/sent/", f"loopback:{scene.scratch}/shell"],
            [*over, f"loopback:{scene.scratch}/shell/", f"{scene.scratch}/again"],
        ):
            scene.succeed(*rsync, *words)
    for copy in ("back", "shell", "again"):
        expect(tree(f"{scene.scratch}/{copy}") == tree(f"{scene.scratch}/sent"), f"{copy} differs")


def make_repository(directory):
    """A repository with many small objects, as the plain HTTP protocol fetches them one by one."""
    make_tree(directory)
    git = [need("git"), "-C", directory, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    env = {**os.environ, "GIT_AUTHOR_DATE": "1000000000 +0000", "HOME": directory}
    env["GIT_COMMITTER_DATE"] = env["GIT_AUTHOR_DATE"]
    for argv in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"],
                 ["update-server-info"]):
        subprocess.run([*git, *argv], check=True, env=env)


@play("git clone over HTTP, whose helper makes the requests, and through ssh")
def git_clone(scene):
    with services.nginx() as web, scene.started(services.sshd) as shell:
        source = str(web.files / "tree")
        make_repository(source)
        env = {"HOME": scene.scratch, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
               "GIT_SSH_COMMAND": "ssh " + " ".join(shell.options)}
        before = web.counters()
        for name, url in (("http", f"http://127.0.0.1:{web.port}/tree/.git"),
                          ("ssh", f"ssh://loopback{source}")):
            copy = f"{scene.scratch}/{name}"
            scene.succeed(need("git"), "clone", "-q", url, copy, env=env)
            scene.succeed(need("git"), "-C", copy, "log", "--format=%H %s", env=env)
            scene.succeed(need("git"), "-C", copy, "fsck", "--full", env=env)
            expect(tree(copy) == tree(source), "the clone differs from its origin")
        scene.facts.append(web.counters()[1] - before[1])  # requests


if __name__ == "__main__":
    main()
