#!/usr/bin/python3
"""Applications of many processes and threads: a load generator, a browser, a package manager."""

import functools
import hashlib
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import tempfile

import processes
import services
from harness import (
    Skip, check_same, claim, execute, expect, library, main, need, need_plain_library, run_alone,
)

LONG = os.environ.get("SPPOOL_LONG") == "1"


# redis-benchmark and redis-cli, with jemalloc inside


def ask_redis(port, *commands):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall("".join(f"{command}\r\n" for command in commands).encode() + b"QUIT\r\n")
        return connection.makefile("rb").read().decode()


def against_redis(argvs, only, stdin=b""):
    """Output, and what the server counted. only: what is the same each time, in the output."""
    sides = []
    for preload in (False, True):
        with services.redis() as port:
            runs = [run_alone([argv[0], "-p", str(port), *argv[1:]], preload, stdin=stdin)
                    for argv in argvs]
            counted = ask_redis(port, "INFO commandstats", "INFO stats")
        calls = re.findall(r"cmdstat_(\S+):calls=(\d+),.*failed_calls=(\d+)", counted)
        connections = int(re.findall(r"total_connections_received:(\d+)", counted)[0])
        sides.append((runs, sorted(calls), connections))
    for argv, plain, pooled in zip(argvs, sides[0][0], sides[1][0]):
        expect(plain.status == 0, f"{argv}: exit status {plain.status}\n{plain}")
        check_same(plain, pooled, lambda output: b"\n".join(only.findall(output)))
    expect(sides[0][1] == sides[1][1], f"without: {sides[0][1]}\nwith:    {sides[1][1]}")
    expect(sides[0][2] >= sides[1][2], f"{sides[0][2]} connections without, {sides[1][2]} with")
    return sides[1][1]


def redis_benchmark(*options):
    count = 20000 if LONG else 2000
    argv = [need("redis-benchmark"), "-n", str(count), "-c", "10", *options, "--csv"]
    argv += ["-t", "ping,set,get,incr,lpush,mset"]
    calls = against_redis([argv], re.compile(b'^"[^"]*"', re.M))
    expect(("incr", str(count), "0") in calls, f"not {count} commands each: {calls}")


claim("redis-benchmark, connections kept: no errors")(functools.partial(redis_benchmark, "-k", "1"))
claim("redis-benchmark, a connection for each command: no errors")(
    functools.partial(redis_benchmark, "-k", "0")
)
claim("redis-benchmark with two threads: no errors")(
    functools.partial(redis_benchmark, "-k", "1", "--threads", "2")
)


@claim("redis-cli: pipe mode, repetition, scripts, transactions, scans")
def redis_cli():
    cli = need("redis-cli")
    script = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"
    everything = re.compile(rb"^.*$", re.M)
    against_redis([[cli, "--pipe"]], everything, b"".join(b"SET k%d v%d\r\n" % (i, i)
                                                          for i in range(1000)))
    against_redis([
        [cli, "-r", "20", "INCR", "counter"],
        [cli, "-3", "-n", "2", "SET", "k", "v"],
        [cli, "-n", "2", "EVAL", script, "1", "k", "argument"],
        [cli, "--scan"],
        [cli],
    ], everything, b"MULTI\nINCR counter\nGET counter\nEXEC\nWATCH a\nRESET\nCLIENT GETNAME\n")


# chromium: a browser, a zygote, renderers and services, each a process with many threads

CHROMIUM = [
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# A page asks for frames and scripts, together, and its scripts ask, one request after the other.
PAGE = """<!DOCTYPE html><title>PAGE</title><p id=list></p>
<iframe src=/frame/PAGE-1></iframe><iframe src=/frame/PAGE-2></iframe>
<script>
const list = document.getElementById("list");
function ask(name) {
    const request = new XMLHttpRequest();
    request.open("GET", "/echo/" + name, false);
    request.send();
    list.append(name, "=", request.responseText, " ");
}
for (let i = 0; i < 20; i++) ask("PAGE-script-" + i);
ask("inspect");
</script>
<script src=/script/PAGE-1></script><script src=/script/PAGE-2></script>
"""


def page(path):
    kind, _, name = path.lstrip("/").partition("/")
    if kind == "page":
        return PAGE.replace("PAGE", name)
    if kind == "frame":
        return f"<p>{name}</p><script>document.write(location.pathname)</script>"
    if kind == "script":
        return f'list.append("{name} "); for (let i = 0; i < 20; i++) ask("{name}-" + i);'
    return name if kind == "echo" else None


class Browser:
    """One user's browser, without or with the library: the pages that it dumped."""

    def __init__(self, preload, user, options):
        self.library = library() if preload else ""
        self.become = []
        self.inspected = []
        self.results = []
        with tempfile.TemporaryDirectory(prefix="sppool-chromium-") as self.directory, \
                services.Pages(self.answer) as pages:
            if user:
                self.be(user)
            env = {**os.environ, "HOME": self.directory}
            become = [*self.become, need("env"), f"LD_PRELOAD={self.library}"]
            for name in ("one", "two"):
                argv = [need("chromium"), *CHROMIUM, *options, "--dump-dom",
                        f"--user-data-dir={self.directory}/{name}",
                        f"http://127.0.0.1:{pages.port}/page/{name}"]
                stdout, stderr, status = execute([*become, *argv], env, cwd="/")
                expect(status == 0, f"exit status {status}: {stderr}")
                self.results.append(stdout)
            self.asked = sorted(path for path in pages.asked if path != "/favicon.ico")

    def be(self, user):
        """The library's path may be closed to the user: then the browser would be without it."""
        os.chown(self.directory, pwd.getpwnam(user).pw_uid, -1)
        os.chmod(self.directory, 0o755)
        self.become = [need("setpriv"), f"--reuid={user}", "--regid=nogroup", "--clear-groups"]
        if self.library:
            shutil.copy(self.library, self.directory)
            self.library = f"{self.directory}/{pathlib.Path(self.library).name}"

    def answer(self, path):
        if path == "/echo/inspect":
            self.inspect()
        return page(path)

    def inspect(self):
        """The browser's processes, while it waits for the answer to a request."""
        for pid in processes.with_argument(self.directory):
            try:
                kind = re.search(r"--type=(\S+)", processes.command_line(pid))
                loaded = not self.library or processes.has_loaded(pid, self.library)
                filtered = processes.status_of(pid, "Seccomp") == "2"
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while this looked
            self.inspected.append((kind[1] if kind else "browser", loaded, filtered))


def browse(user, options, sandboxed):
    need_plain_library()
    plain, pooled = (Browser(preload, user, options) for preload in (False, True))
    expect(plain.results == pooled.results, f"without: {plain.results}\nwith:    {pooled.results}")
    expect(plain.asked == pooled.asked, f"without: {plain.asked}\nwith:    {pooled.asked}")
    for number, name in enumerate(("one", "two")):
        dumped = pooled.results[number].decode()
        for path in (path for path in pooled.asked if path.startswith(f"/echo/{name}")):
            asked = path.removeprefix("/echo/")
            expect(f"{asked}={asked} " in dumped, f"{asked} is missing or wrong in {dumped}")
    for kind in ("browser", "renderer"):
        seen = [one for one in pooled.inspected if one[0] == kind]
        expect(seen and all(loaded for _, loaded, _ in seen), f"no library: {pooled.inspected}")
    filtered = [one for one in pooled.inspected if one[0] == "renderer" and one[2]]
    expect(bool(filtered) == sandboxed, f"sandboxed: {pooled.inspected}")


@claim("chromium, headless, no sandbox: two pages with many requests")
def chromium():
    browse(None, ["--no-sandbox"], False)


@claim("chromium, headless, in its sandbox: two pages with many requests")
def chromium_sandboxed():
    user = "nobody" if os.getuid() == 0 else None  # root has no sandbox
    become = ["setpriv", "--reuid=nobody", "--clear-groups"] if user else []
    if subprocess.run([*become, "unshare", "--user", "true"], capture_output=True).returncode:
        raise Skip("the kernel does not give users namespaces of their own")
    browse(user, [], True)


# apt-get, whose methods are processes that change their user, and may have a seccomp filter

APT_CONFIGURATION = """
Dir "{scratch}";
Dir::State "state";
Dir::State::status "/dev/null";
Dir::Cache "cache";
Dir::Etc "etc";
Dir::Log "log";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Sandbox::Seccomp "{seccomp}";
Acquire::http::Proxy "DIRECT";
"""
APT_DIRECTORIES = [
    "cache/archives/partial", "etc/apt.conf.d", "etc/auth.conf.d", "etc/preferences.d",
    "etc/sources.list.d", "etc/trusted.gpg.d", "log", "state/lists/partial", "downloads",
]
REPOSITORIES = ["one", "two", "three"]

PACKAGE = """Package: {name}
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@example.org>
Filename: ./{name}.deb
Size: {size}
SHA256: {digest}
Description: life {name}

"""


def digest(data):
    return hashlib.sha256(data).hexdigest()


def make_apt_repository(directory, title):
    """Flat: packages, an index of them, and one of indices."""
    directory.mkdir()
    index = ""
    for number in range(20):
        name, data = f"life-{title}-{number}", f"{title} {number}\n".encode() * 1000 * (number + 1)
        (directory / f"{name}.deb").write_bytes(data)
        index += PACKAGE.format(name=name, size=len(data), digest=digest(data))
    index = index.encode()
    (directory / "Packages").write_bytes(index)
    (directory / "Release").write_text(
        f"Origin: {title}\nDate: Thu, 01 Jan 2015 00:00:00 UTC\nSHA256:\n"
        f" {digest(index)} {len(index)} Packages\n"
    )


def make_apt_root(scratch, port, seccomp):
    for name in APT_DIRECTORIES:
        os.makedirs(f"{scratch}/{name}")
    os.chmod(scratch, 0o755)
    if os.getuid() == 0:
        os.chown(f"{scratch}/downloads", pwd.getpwnam("_apt").pw_uid, -1)
    configuration = pathlib.Path(scratch, "apt.conf")
    configuration.write_text(APT_CONFIGURATION.format(scratch=scratch, seccomp=seccomp))
    lines = [f"deb [trusted=yes] http://127.0.0.1:{port}/{title} ./\n" for title in REPOSITORIES]
    pathlib.Path(scratch, "etc/sources.list").write_text("".join(lines))
    return configuration


def apt_life(preload, port, seccomp):
    """Two updates, the second of which finds nothing new, and a download; and what they left."""
    packages = [f"life-{title}-{number}" for title in REPOSITORIES for number in range(0, 20, 3)]
    with tempfile.TemporaryDirectory(prefix="sppool-apt-") as scratch:
        env = {"APT_CONFIG": str(make_apt_root(scratch, port, seccomp))}
        env["WITNESS_FILE"] = ""  # the filter would kill the witness
        runs = [
            run_alone([need("apt-get"), "-o", "Acquire::Retries=0", *command], preload, env=env,
                      cwd=f"{scratch}/downloads")
            for command in (["update"], ["update"], ["download", *packages])
        ]
        left = {path.name: digest(path.read_bytes())
                for name in ("downloads", "state/lists")
                for path in pathlib.Path(scratch, name).iterdir() if path.is_file()}
    for result in runs:
        expect(result.status == 0, f"exit status {result.status}\n{result}")
    for package in packages:
        expect(any(name.startswith(f"{package}_") for name in left), f"{package} is not there")
    return runs, left


def steady(output):
    """Without the speed; and as repositories come in any order, without numbers, sorted."""
    output = re.sub(rb"Fetched .* in .*", b"", output)
    output = re.sub(rb"^(Get|Hit|Ign):\d+", rb"\1", output, flags=re.M)
    return b"\n".join(sorted(output.splitlines()))


def apt(seccomp, limit):
    """limit: after so many requests the server ends a connection."""
    sides, counts = [], []
    with services.nginx(f"keepalive_requests {limit};") as server:
        for title in REPOSITORIES:
            make_apt_repository(server.files / title, title)
        for preload in (False, True):
            before = server.counters()
            sides.append(apt_life(preload, server.port, seccomp))
            after = server.counters()
            counts.append((after[0] - before[0], after[1] - before[1]))
    for plain, pooled in zip(sides[0][0], sides[1][0]):
        check_same(plain, pooled, steady)
    expect(sides[0][1] == sides[1][1], f"left without: {sides[0][1]}\nwith: {sides[1][1]}")
    if limit > counts[0][1]:  # otherwise requests that were sent ahead are sent once more
        expect(counts[0] == counts[1], f"connections, requests: {counts[0]} without, {counts[1]}")


claim("apt-get update and download, over HTTP: unchanged")(functools.partial(apt, "false", 1000))
claim("apt-get under its seccomp filter, from a server that ends connections: unchanged")(
    functools.partial(apt, "true", 4)
)


if __name__ == "__main__":
    main()
