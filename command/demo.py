"""`sppool demo`: a program of its own, as it needs a checkout to build and is not installed."""

import os

from command.common import HOME, Failure
from command.run import execute, own_environment

SUMMARY = 'show what the pool does to real programs'
HELP = '''\
Usage: scripts/sppool demo [--requests N]

Installs what is missing, builds, starts a server on loopback, and runs unmodified programs
without and with the pool. Exit status: 0 if every program read the same bytes both times, 1 if not,
2 for a usage error.

  --requests N   requests that each program makes (200)'''


def main(arguments):
    program = os.path.join(HOME, 'scripts', 'demo')
    if not os.path.isfile(program):
        raise Failure('the demo builds from source: run scripts/sppool demo in a checkout')
    return execute(program, [program, *arguments], own_environment())
