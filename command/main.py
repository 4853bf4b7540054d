"""The ways into libsppool for people: run a program under the pool, see that it pays."""

import importlib
import os
import sys

from command import VERSION
from command.common import USAGE, Failure, say

# Each is a module of this package, with main(arguments), SUMMARY and HELP.
COMMANDS = ('run', 'check', 'ps', 'top', 'set', 'flush', 'explain', 'metrics', 'library', 'demo')


def module_of(command):
    return importlib.import_module(f'command.{command}')


def show_help():
    print('Usage: sppool COMMAND [ARGUMENTS...]\n\n'
          'A hidden pool of TCP connections for programs that know nothing of it.\n')
    for name in COMMANDS:
        print(f'  {name:9} {module_of(name).SUMMARY}')
    print('\n  sppool COMMAND --help says more; --version prints the version.')


def dispatch(arguments):
    if not arguments:
        raise Failure('which command? see sppool --help', USAGE)
    name, *rest = arguments
    if name in ('-h', '--help', 'help'):
        return show_help()
    if name == '--version' or name in COMMANDS and rest[:1] == ['--version']:
        return print(f'sppool {VERSION}')
    if name not in COMMANDS:
        raise Failure(f'unknown command {name}; see sppool --help', USAGE)
    command = module_of(name)
    if rest and rest[0] in ('-h', '--help'):
        return print(command.HELP)
    return command.main(rest)


def main(arguments):
    """The exit status."""
    if sys.stdout:
        sys.stdout.reconfigure(errors='backslashreplace')  # whatever the locale cannot show
    try:
        status = dispatch(arguments)
        if sys.stdout:
            sys.stdout.flush()
        return status
    except Failure as failure:
        say(failure)
        return failure.status
    except BrokenPipeError:
        drop_output()  # the reader has gone
        return 0
    except OSError as error:
        say(f'{error.filename}: {error.strerror}' if error.filename else error.strerror)
        drop_output()
        return 1
    except KeyboardInterrupt:
        return 130


def drop_output():
    """Without this python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
