#!/usr/bin/python3
"""Runs a strict client against a server that misbehaves, without the library and with it.

Usage: tests/faults/matrix.py [--requests N] [--seed S] [--mode WORD] [--variant WORD] [--list]

A cell is a mode of fault-server (tests/faults/faults.inc) and a variant of fault-client: how it
waits, how many threads it has, whether it writes a request at once or in pieces. Each cell is run
twice, and what befalls a request hangs on the seed and its number alone: so each request meets
the same in both runs, and one that fails only with the library is the library's fault. N requests
in all are made with the library.

    wrong       responses that belong to another request, or to none
    twice       requests whose whole head reached the server more often than it may: one that may
                be repeated more than twice, any other more than once
    hung        requests that got no further for 20 s
    above       errors with the library of requests that had none without it
    lost        the same, of requests that may not be repeated, where the server closed when the
                request was under way already: nobody can know whether it was done
    crossed     responses that were on their way, unasked for, when the request was: nobody can tell
                them from its own

Exit status: 0 if there is nothing wrong, twice, hung or above, and what must succeed without the
library did.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter, namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LIBRARY = os.environ.get("SPPOOL_LIBRARY", str(BUILD / "shim" / "libsppool.so"))
PROGRAMS = pathlib.Path(os.environ.get("SPPOOL_PROGRAMS", BUILD / "tests" / "faults"))

TIMEOUT = 300  # seconds; ends a hung program, decides nothing else
JOBS = 4  # cells at a time: mostly they wait
LEAST = 40  # requests in a cell

Mode = namedtuple("Mode", "word kind what")
Variant = namedtuple("Variant", "io threads pieces")
Cell = namedtuple("Cell", "mode variant seed requests")
Failure = namedtuple("Failure", "id method fault phase error port wrote failed")
Past = namedtuple("Past", "port accepted ended stray")

REPEATABLE = {"GET", "HEAD", "OPTIONS", "TRACE"}
UNREADABLE = {"WRONG", "MALFORMED"}

FIGURES = ["requests", "wrong", "twice", "hung", "errors_without", "errors_with", "above", "lost",
           "crossed", "connections_without", "connections_with", "replayed", "slipped_in",
           "quarantined"]
TITLES = ["requests", "wrong", "twice", "hung", "errors", "with", "above", "lost", "crossed",
          "connections", "with", "replays", "slipped", "quarantined"]


def program(name):
    return str(PROGRAMS / name)


def lines_of(name):
    output = subprocess.run([program(name), "--list"], stdout=subprocess.PIPE, text=True, check=True)
    return output.stdout.splitlines()


def modes():
    return [Mode(*line.split("\t")) for line in lines_of("fault-server")]


def variants():
    """Neighbours differ in all respects, so that a few in a row are a fair choice."""
    ios = lines_of("fault-client")
    shapes = [(1, 1), (8, 3), (8, 1), (1, 3)]
    return [Variant(io, *shapes[(n + turn) % 4]) for turn in range(4) for n, io in enumerate(ios)]


# ---- one run ----

class Run:
    """What a cell showed, without the library or with it."""

    def __init__(self, cell, preload):
        with tempfile.TemporaryDirectory(prefix="sppool-faults-") as scratch:
            self._run(cell, preload, pathlib.Path(scratch))

    def _run(self, cell, preload, scratch):
        server = subprocess.Popen(
            [program("fault-server"), cell.mode.word, str(cell.seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            port = server.stdout.readline().strip()
            client = self._client(cell, preload, scratch, port)
        finally:
            output, self.complaints = server.communicate()
        if client.returncode not in (0, 1) or not client.stdout:
            raise RuntimeError(f"fault-client ends with {client.returncode}: {client.stderr}")
        self.client = json.loads(client.stdout)
        self.complaints += client.stderr
        self.server = json.loads(output)
        self.pasts = {}
        for past in map(Past._make, self.server.pop("pasts")):
            self.pasts.setdefault(past.port, []).append(past)
        failed = (scratch / "failures").read_text().splitlines()
        self.failures = {failure.id: failure for failure in map(read_failure, failed)}
        stats = scratch / "stats"
        self.stats = json.loads(stats.read_text()) if stats.exists() else {}

    @staticmethod
    def _client(cell, preload, scratch, port):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("SP_", "LD_PRELOAD"))}
        if preload:
            environment.update(LD_PRELOAD=LIBRARY, SP_STATS=str(scratch / "stats"))
        argv = [program("fault-client"), port, cell.mode.word, cell.seed, cell.requests,
                cell.variant.threads, cell.variant.io, cell.variant.pieces, scratch / "failures"]
        return subprocess.run(list(map(str, argv)), env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=TIMEOUT)

    def past_of(self, failure):
        """The connection on which a request failed, as the server knew it."""
        before = [past for past in self.pasts.get(failure.port, ())
                  if past.accepted <= failure.failed]
        return max(before, key=lambda past: past.accepted, default=None)


def read_failure(line):
    number, method, fault, phase, error, port, wrote, failed = line.split()
    return Failure(int(number), method, fault, phase, error, int(port), int(wrote), int(failed))


# ---- a cell ----

class Verdict(Counter):
    """The figures of a cell, or of several; complaints says what is not as it should be."""

    def __init__(self, figures=()):
        super().__init__(dict(figures))
        self.complaints = []

    def blame(self, figure, what, number=1):
        if number:
            self[figure] += number
            self.complaints.append(what)

    def add(self, other):
        self.update(other)
        self.complaints += other.complaints

    @property
    def bad(self):
        return sum(self[figure] for figure in ("wrong", "twice", "hung", "above", "broken"))


class Judge:
    """Tells apart what is the library's fault and what is nobody's."""

    def __init__(self, cell, kinds, without, pooled):
        self.cell = cell
        self.kinds = kinds  # of each fault
        self.without = without
        self.pooled = pooled
        self.verdict = Verdict({
            "requests": cell.requests,
            "errors_without": len(without.failures),
            "errors_with": len(pooled.failures),
            "connections_without": without.server["connections"],
            "connections_with": pooled.server["connections"],
            "replayed": pooled.stats.get("replayed", 0),
            "slipped_in": pooled.stats.get("slipped_in", 0),
            "quarantined": pooled.stats.get("quarantined", 0),
        })

    def is_lost(self, failure):
        """It may not be repeated, and the server ended the connection when it was under way."""
        if failure.method in REPEATABLE:
            return False
        if self.kinds[failure.fault] == "stale":
            return True
        past = self.pooled.past_of(failure)
        if not past or not past.ended:
            return False
        return past.ended > failure.wrote

    def is_crossed(self, failure):
        past = self.pooled.past_of(failure)
        return failure.error in UNREADABLE and past and past.stray > failure.wrote

    def judge_failure(self, failure):
        what = f"request {' '.join(map(str, failure))}"
        if failure.error == "HUNG":
            self.verdict.blame("hung", what)
        elif self.is_crossed(failure):
            self.verdict["crossed"] += 1
        elif self.is_lost(failure):
            self.verdict["lost"] += 1
        elif failure.error == "WRONG":
            self.verdict.blame("wrong", what)
        elif self.cell.mode.kind == "rate":
            refused = failure.error == "ECONNREFUSED"
            self.verdict["refused_with" if refused else "others_with"] += 1
        else:
            self.verdict.blame("above", what)

    def judge_without(self):
        """What must succeed does, or nothing is proved."""
        for failure in self.without.failures.values():
            if self.cell.mode.kind == "rate" and failure.error != "HUNG":
                refused = failure.error == "ECONNREFUSED"
                self.verdict["refused_without" if refused else "others_without"] += 1
            elif self.kinds[failure.fault] != "fatal" or failure.error in ("WRONG", "HUNG"):
                self.verdict.blame("broken", f"without the library: {failure}")

    def judge_server(self, run, who):
        server = run.server
        for key in ("duplicates", "thrice"):
            self.verdict.blame("twice", f"{who}: {server[key]} {key}", server[key])
        for key in ("malformed", "mixed", "after_goodbye"):
            if key != "mixed" or self.cell.mode.word == "hosts":
                self.verdict.blame("above", f"{who}: {server[key]} {key}", server[key])
        self.verdict.blame("broken", f"{who}: {server['left']} connections left", server["left"])

    def judge(self):
        self.judge_without()
        self.judge_server(self.without, "without the library")
        self.judge_server(self.pooled, "with the library")
        for number, failure in self.pooled.failures.items():
            if self.cell.mode.kind == "rate" or number not in self.without.failures:
                self.judge_failure(failure)
        for who, run in ("without", self.without), ("with", self.pooled):
            hangs = run.client["hangs"] - sum(f.error == "HUNG" for f in run.failures.values())
            self.verdict.blame("hung", f"{who} the library: a call that does not return",
                               max(hangs, 0))
        if self.verdict.complaints:
            self.verdict.complaints = [self.story()]
        return self.verdict

    def story(self):
        cell = self.cell
        lines = [f"{cell.mode.word}, {shown(cell.variant)}, {cell.requests} requests: "
                 f"--seed {cell.seed} --mode {cell.mode.word} --variant {shown(cell.variant)} "
                 f"--requests {cell.requests}"]
        lines += self.verdict.complaints[:3]
        lines += self.pooled.complaints.splitlines()[:6]
        return "\n  ".join(lines)


def try_cell(cell, kinds):
    try:
        return Judge(cell, kinds, Run(cell, False), Run(cell, True)).judge()
    except (OSError, ValueError, RuntimeError, subprocess.TimeoutExpired) as error:
        verdict = Verdict({"requests": cell.requests})
        verdict.blame("broken", f"{cell}: {error!r}")
        return verdict


def judge_rates(verdict):
    """Where chance decides which requests fail, more of them must not be more than chance.

    Five times the standard deviation of the difference, as they come in clusters.
    """
    for what in "refused", "others":
        without, pooled = verdict[f"{what}_without"], verdict[f"{what}_with"]
        most = without + 5 * (2 * (without + 4)) ** 0.5
        if pooled > most:
            verdict.blame("above", f"{what}: {without} without the library, {pooled} with it",
                          int(pooled - most) + 1)


# ---- the matrix ----

def shown(variant):
    return ",".join(map(str, variant))


def cells_of(place, mode, chosen, requests, seed):
    """requests are spread over as many variants as are worth it; other modes begin with others.

    A single cell has the seed that was asked for, so that it can be repeated.
    """
    number = max(1, min(len(chosen), requests // LEAST))
    share = [requests // number + (n < requests % number) for n in range(number)]
    first = place * number
    return [Cell(mode, chosen[(first + n) % len(chosen)],
                 seed if len(chosen) == 1 else seed * 1_000_003 + first + n, share[n])
            for n in range(number)]


def try_mode(place, mode, chosen, requests, seed, kinds, executor):
    verdict = Verdict()
    cells = cells_of(place, mode, chosen, requests, seed)
    for one in executor.map(lambda cell: try_cell(cell, kinds), cells):
        verdict.add(one)
    judge_rates(verdict)
    return verdict


def row(word, verdict):
    return f"{word:20}" + "".join(
        f"{verdict[figure]:>{max(len(title), 6) + 2}}" for figure, title in zip(FIGURES, TITLES))


def heading():
    return f"{'mode':20}" + "".join(f"{title:>{max(len(title), 6) + 2}}" for title in TITLES)


def parse_options(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", default="", help="only this one")
    parser.add_argument("--variant", default="", help="only this one: IO,THREADS,PIECES")
    parser.add_argument("--list", action="store_true", help="print modes and variants, and stop")
    return parser.parse_args(argv)


def select(options):
    chosen_modes = [(place, mode) for place, mode in enumerate(modes())
                    if options.mode in ("", mode.word)]
    chosen = [variant for variant in variants() if options.variant in ("", shown(variant))]
    if not chosen_modes or not chosen:
        sys.exit("matrix: no such mode or variant; --list names them")
    return chosen_modes, chosen


def show_all():
    for mode in modes():
        print(f"{mode.word:20}{mode.kind:10}{mode.what}")
    print("\n".join(map(shown, variants())))


def main(argv):
    options = parse_options(argv)
    if options.list:
        return show_all()
    chosen_modes, chosen = select(options)
    kinds = {mode.word: mode.kind for mode in modes()}
    total = Verdict()
    share = -(-options.requests // len(chosen_modes))
    print(f"seed {options.seed}\n{heading()}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(JOBS) as executor:
        for place, mode in chosen_modes:
            verdict = try_mode(place, mode, chosen, share, options.seed, kinds, executor)
            print(row(mode.word, verdict), flush=True)
            total.add(verdict)
    print(row("total", total))
    for complaint in total.complaints[:20]:
        print(f"\n{complaint}")
    return 1 if total.bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
