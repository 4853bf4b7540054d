"""`sppool run`: becomes the program, with the library in its environment."""

import errno
import os
import re
import signal

from command.common import CANNOT_EXECUTE, NOT_FOUND, USAGE, Failure, parse_options, say
from command.directory import location, make
from command.elf import is_elf
from command.library import find_library
from command.programs import find_program, obstacle

SUMMARY = 'run a program under the pool'
HELP = '''\
Usage: sppool run [--stats[=FILE]] [--log[=LEVEL]] [--no-status] [--] PROGRAM [ARGUMENTS...]

Runs PROGRAM with libsppool in front of LD_PRELOAD. A program that cannot be helped (static, Go,
setuid, another architecture) is named on stderr and runs all the same, without the library.

  --stats[=FILE]   write statistics at exit to FILE, or to "-" (sets SP_STATS)
  --log[=LEVEL]    log to stderr; 0 to 3, 2 where not given (sets SP_LOG)
  --no-status      have no status page. With one, sppool ps, top, set, flush and metrics see the
                   program while it runs; it is found in the directory SP_STATUS_DIR, which is
                   $XDG_RUNTIME_DIR/sppool or /tmp/sppool-UID where you have not set it

The library is the one named by SPPOOL_LIBRARY, or else the one built in this checkout, or else
the installed one. Exit status: the program's; 127 where the program or the library is not found
or does not load; 126 where the program cannot be executed; 2 for a usage error.'''

# The options, and the settings that they stand for
SETTINGS = {'--stats': b'SP_STATS', '--log': b'SP_LOG'}


def main(arguments):
    options, command = parse_options(arguments, {'--stats': '-', '--log': '2',
                                                 '--no-status': True})
    if not command:
        raise Failure('run needs a PROGRAM', USAGE)
    program = find_program(command[0])
    library = find_library()

    environment = own_environment()
    for option, variable in SETTINGS.items():
        if option in options:
            environment[variable] = os.fsencode(options[option])
    reason = obstacle(program, library)
    if reason:
        say(f'{command[0]} runs without the pool: {reason}')
    else:
        environment = with_preload(environment, library)
        if '--no-status' in options:
            environment.pop(b'SP_STATUS_DIR', None)
        else:
            environment = with_status(environment)
    return execute(program, command, environment)


def with_preload(environment, library):
    """ENVIRONMENT with the library in LD_PRELOAD: before the others, unless it is among them."""
    others = environment.get(b'LD_PRELOAD', b'')
    entries = [os.path.realpath(entry) for entry in re.split(b'[ :]+', others) if entry]
    library = os.fsencode(library)
    if os.path.realpath(library) in entries:
        return environment
    return {**environment, b'LD_PRELOAD': b':'.join(filter(None, [library, others]))}


def with_status(environment):
    """ENVIRONMENT with the directory of status pages, which is there then and has no leftovers."""
    path = location()
    if not path.startswith('/'):
        return environment  # of which the library complains
    try:
        with make(path) as directory:
            directory.remove_leftovers()
    except (Failure, OSError) as error:
        say(f'no status page (see sppool run --help): {error}')
        return {name: value for name, value in environment.items() if name != b'SP_STATUS_DIR'}
    return {**environment, b'SP_STATUS_DIR': os.fsencode(path)}


def own_environment():
    """The environment that sppool was started with. In the C locale python adds LC_CTYPE to its
    own (PEP 538), which would reach the program; /proc has the environment as it came."""
    environment = dict(os.environb)
    try:
        with open('/proc/self/environ', 'rb') as file:
            if not any(entry.startswith(b'LC_CTYPE=') for entry in file.read().split(b'\0')):
                environment.pop(b'LC_CTYPE', None)
    except OSError:
        pass
    return environment


def execute(program, command, environment):
    """Becomes the program; a text that names no interpreter goes to the shell, as by execvp(3)."""
    # Python ignores these two, and what is ignored stays so across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        try:
            os.execve(program, command, environment)
        except OSError as error:
            if error.errno != errno.ENOEXEC or is_elf(program):
                raise
            os.execve('/bin/sh', ['sh', program, *command[1:]], environment)
    except FileNotFoundError:
        raise Failure(f'{command[0]}: its interpreter is not found', NOT_FOUND) from None
    except OSError as error:
        raise Failure(f'{command[0]}: {error.strerror}', CANNOT_EXECUTE) from None
