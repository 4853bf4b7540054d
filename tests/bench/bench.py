"""What the parts share: the options, the built programs, the servers and the report."""

import contextlib
import os
import pathlib
import subprocess

from bench import servers
from bench.results import Report
from harness import Failure

TIMEOUT = 300


class Bench:
    def __init__(self, options, build):
        self.options = options
        self.programs = pathlib.Path(build).absolute() / 'tests' / 'bench'
        self.library = pathlib.Path(build).absolute() / 'shim' / 'libsppool.so'
        self.report = Report()
        self._stack = contextlib.ExitStack()
        self._ports = None

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        return self._stack.__exit__(*reason)

    def program(self, name):
        return self.programs / name

    @property
    def ports(self):
        """Of the servers, by their names: started when the first part asks for them."""
        if self._ports is None:
            self._ports = self._stack.enter_context(servers.all_of_them())
        return self._ports

    def environment(self, preload, **settings):
        environment = {name: value for name, value in os.environ.items()
                       if name != 'LD_PRELOAD' and not name.startswith('SP_')}
        if preload:
            environment['LD_PRELOAD'] = str(self.library if preload is True else preload)
        return {**environment, **settings}

    def run(self, argv, preload, **settings):
        """What it prints. What it says on stderr only matters if it fails."""
        result = subprocess.run(list(map(str, argv)), env=self.environment(preload, **settings),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                timeout=TIMEOUT)
        if result.returncode:
            raise Failure(f'{argv[0]} failed ({result.returncode}): {result.stderr[-2000:]}')
        return result.stdout

    def numbers(self, argv, preload, **settings):
        """{name: number}, of a program that prints one of each on a line"""
        lines = self.run(argv, preload, **settings).splitlines()
        return {name: float(value) for name, value in map(str.split, lines)}

    def in_turn(self, contestants):
        """So many times each, every second time backwards, as a machine gets slower or faster."""
        contestants = list(contestants)
        for run in range(self.options.runs):
            yield from reversed(contestants) if run % 2 else contestants
