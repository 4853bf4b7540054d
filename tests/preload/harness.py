"""Runs unmodified programs without and with the library, and says what differed.

A test file is a list of claims: functions marked @claim("..."), run by main(), reported as TAP.
A claim fails by raising Failure (compare() and expect() do) and is skipped by raising Skip.

    /usr/bin/python3 tests/preload/test_reuse.py [--list] [--library FILE] [--programs DIR] [NAME]

NAME runs only the claims that contain it. SPPOOL_LIBRARY and SPPOOL_PROGRAMS stand for the
options; SPPOOL_LIBRARY is used as LD_PRELOAD word for word, so it may name a sanitizer's runtime
in front of the library: libasan.so:libsppool.so.

In every run programs/libwitness.c is preloaded, too. What it says of the descriptors of each
process at its end is compared like the output; a claim about a program that does not determine
them passes compare(descriptors_vary="the reason").
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from server import Gate, Server  # noqa: E402  (found through the line above)

TIMEOUT = 60  # seconds; ends a hung program, decides nothing else
OWN_VOICE = re.compile(r"sppool", re.IGNORECASE)
RACE = re.compile(r"={18}\nWARNING: ThreadSanitizer: data race .*?\n={18}\n", re.DOTALL)
RACES = re.compile(r"ThreadSanitizer: reported \d+ warnings\n")

_claims = []
_options = None


class Failure(Exception):
    """The claim does not hold."""


class Skip(Exception):
    """The claim cannot be tried here, and why."""


class Run:
    """What one run of a program showed, and what the servers saw of it."""

    def __init__(self, stdout, stderr, status, servers, stats, witnessed=()):
        self.stdout = stdout
        self.stderr = stderr
        self.status = status
        self.servers = servers
        self.stats = stats  # what SP_STATS wrote, or None
        self.witnessed = witnessed  # what libwitness said of each process

    def __str__(self):
        return f"{self.stdout.decode(errors='replace')}{self.stderr}"

    @property
    def connections(self):
        return self.servers[0].connections

    @property
    def requests(self):
        return self.servers[0].requests

    @property
    def log(self):
        return self.servers[0].log

    def connection_of(self, target):
        """The ids of the connections on which target was asked for."""
        return [c.id for c in self.log if any(target in asked for asked in c.asked)]


def claim(text):
    def mark(function):
        _claims.append((text, function))
        return function

    return mark


def expect(true, what):
    if not true:
        raise Failure(what)


def need(*programs):
    """The full path of the first program that is installed, or Skip."""
    for program in programs:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path:
            return path
    raise Skip(f"{programs[0]} is not installed")


def program(name):
    """A client of programs/, built."""
    path = pathlib.Path(_options.programs) / name
    expect(path.exists(), f"{path} has not been built")
    return str(path)


def library():
    return _options.library


def need_plain_library():
    """Skip under a sanitizer: its runtime wants to be first, and to map memory at any time."""
    if ":" in library():
        raise Skip("the library is preloaded together with a sanitizer's runtime")


def environment(preload, extra, stats_file):
    env = {key: value for key, value in os.environ.items() if not key.startswith("SP_")}
    env["SP_STATS"] = stats_file
    env["WITNESS_FILE"] = str(pathlib.Path(stats_file).with_name("witnessed"))
    env.update(extra)
    # {library} stands for ours among others; without ours, the witness alone has its place
    preloads = extra.get("LD_PRELOAD", "{library}")
    if "{library}" in preloads:
        witness = program("libwitness.so")
        preloads = preloads.replace("{library}", f"{library()}:{witness}" if preload else witness)
    env["LD_PRELOAD"] = preloads
    return env


@contextlib.contextmanager
def scratch_directory():
    """A directory for one run, with what a process may write into whoever it has become."""
    with tempfile.TemporaryDirectory(prefix="sppool-test-") as scratch:
        os.chmod(scratch, 0o755)
        witnessed = pathlib.Path(scratch, "witnessed")
        witnessed.touch()
        witnessed.chmod(0o666)
        yield scratch


def execute(argv, env, stdin=b"", cwd=None, timeout=TIMEOUT):
    """Runs argv in a session of its own, so that its children can be ended with it."""
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        stdout, stderr = child.communicate()
        raise Failure(
            f"hung for {timeout} s: {' '.join(map(str, argv))}\n"
            f"{stdout.decode(errors='replace')}{stderr.decode(errors='replace')}"
        ) from None
    return stdout, without_number_races(stderr.decode(errors="replace")), child.returncode


def without_number_races(stderr):
    """For the thread sanitizer it is a race if one thread closes a number that another reads from.

    It is: the program's own, without the library as well, and what the program is about. Only
    what it says of memory stays. (A suppression goes by function or file, and close() is ours, too.)
    """
    stderr = RACE.sub(
        lambda race: "" if "\n  Location is file descriptor " in race[0] else race[0], stderr
    )
    return stderr if RACE.search(stderr) else RACES.sub("", stderr)


def read_stats(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Failure(f"SP_STATS is not JSON ({error}): {path.read_text()[:200]!r}") from None


class Witnessed(namedtuple("Witnessed", "pid parent whose first_limit limit program descriptors")):
    """One line of libwitness; descriptors is {number: kind}."""

    @property
    def parkable(self):
        """Those that may be parked connections, by what can be seen of them."""
        base = min(960, *(limit - limit // 5 for limit in (self.first_limit, self.limit)))
        return {
            number: kind
            for number, kind in self.descriptors.items()
            if number >= base and kind in ("TCP,cloexec", "TCPv6,cloexec")
        }

    @property
    def identity(self):
        own = sorted(self.descriptors.items() - self.parkable.items())
        return self.program, own

    def __str__(self):
        shown = " ".join(f"{number}={kind}" for number, kind in sorted(self.descriptors.items()))
        return f"{self.program}, {self.whose}: {shown}"


def read_witnessed(scratch):
    """In an order that is the same in every run, if the processes are."""
    found = []
    for line in pathlib.Path(scratch, "witnessed").read_text(errors="replace").splitlines():
        pid, parent, whose, first, limit, name, descriptors = line.split("\t")
        kinds = dict(word.split("=", 1) for word in descriptors.split())
        found.append(Witnessed(int(pid), int(parent), whose, int(first), int(limit), name,
                               {int(number): kind for number, kind in kinds.items()}))
    return sorted(found, key=lambda process: process.identity)


def start_servers(modes, told):
    """The first server is the one under test; a "control" shares its gate and opens it."""
    gate = Gate()
    servers = []
    for mode in modes:
        mode, _, address = mode.partition("@")
        mode = "keepalive" if mode == "control" else mode
        servers.append(Server(mode, address or "127.0.0.1", gate=gate, told=told).start())
    return servers


def run(argv, modes=("keepalive",), preload=True, env=None, told=False, **options):
    """One run against fresh servers; {0}, {1} ... in argv and env are their ports.

    {scratch} is a directory for this run; what is written to {scratch}/output counts as stdout.
    """
    modes = (modes,) if isinstance(modes, str) else modes
    servers = start_servers(modes, told)
    ports = [server.port for server in servers]
    with scratch_directory() as scratch:
        stats_file = pathlib.Path(scratch) / "stats.json"
        extra = {key: fill(value, ports, scratch) for key, value in (env or {}).items()}
        try:
            stdout, stderr, status = execute(
                [fill(word, ports, scratch) for word in argv],
                environment(preload, extra, str(stats_file)),
                **options,
            )
            stdout += collect(scratch)
        finally:
            for server in servers:
                server.stop()
        return Run(
            stdout, stderr, status, servers, read_stats(stats_file), read_witnessed(scratch)
        )


def run_alone(argv, preload=True, env=None, **options):
    """One run against no server, or against one that is not of this harness, in English."""
    with scratch_directory() as scratch:
        stats_file = pathlib.Path(scratch) / "stats.json"
        extra = {"LC_ALL": "C", **(env or {})}
        output = execute(argv, environment(preload, extra, str(stats_file)), **options)
        return Run(*output, [], read_stats(stats_file), read_witnessed(scratch))


def fill(text, ports, scratch):
    text = re.sub(r"\{(\d)\}", lambda match: str(ports[int(match[1])]), str(text))
    return text.replace("{scratch}", scratch)


def collect(scratch):
    output = pathlib.Path(scratch) / "output"
    return output.read_bytes() if output.exists() else b""


def compare(argv, modes=("keepalive",), normalise=None, same_stderr=True, status=0,
            descriptors_vary="", **options):
    """Runs without and with the library; a difference that the program could see is a Failure.

    The run without it must end with status: two programs that fail alike prove nothing.
    descriptors_vary says why the program's descriptors at its end are not the same in every run.
    """
    plain = run(argv, modes, preload=False, **options)
    expect(plain.status == status, f"without the library: exit status {plain.status}\n{plain}")
    pooled = run(argv, modes, preload=True, **options)
    check_same(plain, pooled, normalise, same_stderr, descriptors_vary)
    return plain, pooled


def check_same(plain, pooled, normalise=None, same_stderr=True, descriptors_vary=""):
    normalise = normalise or (lambda output: output)
    expect(
        normalise(plain.stdout) == normalise(pooled.stdout),
        "output differs\n" + difference(normalise(plain.stdout), normalise(pooled.stdout)),
    )
    expect(
        plain.status == pooled.status,
        f"exit status {plain.status} without, {pooled.status} with\n{pooled.stderr}",
    )
    expect(not OWN_VOICE.search(pooled.stderr), f"not silent: {pooled.stderr}")
    if same_stderr:
        expect(
            plain.stderr == pooled.stderr,
            f"stderr differs\nwithout: {plain.stderr!r}\nwith:    {pooled.stderr!r}",
        )
    if not descriptors_vary:
        check_descriptors(plain, pooled)


def check_descriptors(plain, pooled):
    """The program's own are the same in number and kind; what there is besides may be parked."""
    for whose in "own", "inherited":
        before, after = ([process for process in one.witnessed if process.whose == whose]
                         for one in (plain, pooled))
        expect(
            len(before) == len(after),
            f"{len(before)} processes seen to end without, {len(after)} with",
        )
        for one, other in zip(before, after):
            added = other.descriptors.items() - one.descriptors.items()
            most = most_parked(other, pooled.stats) if whose == "own" else 0
            expect(
                one.descriptors.items() <= other.descriptors.items()
                and added <= other.parkable.items() and len(added) <= most,
                f"descriptors differ, by more than {most} parked connections\n"
                f"without: {one}\nwith:    {other}",
            )


def most_parked(process, stats):
    """How many parked connections a process may have at its end."""
    fifth = process.limit // 5
    if not stats or stats["pid"] != process.pid:
        return fifth
    return min(fifth, sum(point["parked"] for point in stats["service_points"]))


def difference(plain, pooled):
    """The first line that differs, from both sides."""
    left = plain.decode(errors="replace").splitlines()
    right = pooled.decode(errors="replace").splitlines()
    for number in range(max(len(left), len(right))):
        a = left[number] if number < len(left) else "(end)"
        b = right[number] if number < len(right) else "(end)"
        if a != b:
            return f"line {number + 1}\nwithout: {a[:300]}\nwith:    {b[:300]}"
    return "(in line ends only)"


def opened(pair, without, at_most, at_least=1):
    """Checks how many connections the first server accepted in both runs."""
    plain, pooled = pair
    expect(
        plain.connections == without,
        f"without the library: {plain.connections} connections, {without} expected",
    )
    expect(
        at_least <= pooled.connections <= at_most,
        f"with the library: {pooled.connections} connections, "
        f"{at_most if at_least == at_most else f'{at_least} to {at_most}'} expected"
        f"\n{json.dumps(pooled.stats)}",
    )
    expect(
        plain.requests == pooled.requests,
        f"{plain.requests} requests without, {pooled.requests} with",
    )
    return pair


def attempt(number, text, function):
    """One line of TAP, and the reason below it; true unless the claim failed."""
    try:
        function()
    except Skip as reason:
        print(f"ok {number} - {text} # SKIP {reason}", flush=True)
        return True
    except Exception as reason:
        known = isinstance(reason, Failure)
        print(f"not ok {number} - {text}")
        for line in (str(reason) if known else traceback.format_exc()).splitlines():
            print(f"#   {line}")
        sys.stdout.flush()
        return False
    print(f"ok {number} - {text}", flush=True)
    return True


def parse_options(argv):
    parser = argparse.ArgumentParser(description="preload tests; prints TAP")
    build = ROOT / "build"
    parser.add_argument(
        "--library",
        default=os.environ.get("SPPOOL_LIBRARY", str(build / "shim" / "libsppool.so")),
    )
    parser.add_argument(
        "--programs",
        default=os.environ.get("SPPOOL_PROGRAMS", str(build / "tests" / "preload")),
    )
    parser.add_argument("--list", action="store_true", help="print the claims and stop")
    parser.add_argument("name", nargs="?", default="", help="part of a claim's text")
    return parser.parse_args(argv)


def main(jobs=1):
    """jobs: how many claims are tried at a time; those that wait more than they work may be many."""
    global _options
    _options = parse_options(sys.argv[1:])
    chosen = [(text, function) for text, function in _claims if _options.name in text]
    if _options.list:
        print("\n".join(text for text, _ in chosen))
        sys.exit(0)
    for path in _options.library.split(":"):
        if not pathlib.Path(path).exists():
            sys.exit(f"{path}: no such library; build it, or name it with --library")
    print(f"1..{len(chosen)}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(jobs) as executor:
        if jobs > 1:
            chosen = [(text, executor.submit(function).result) for text, function in chosen]
        held = [attempt(number, *one) for number, one in enumerate(chosen, start=1)]
    sys.exit(0 if all(held) else 1)
