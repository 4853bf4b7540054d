"""Where the library is, and what it answers in libc's place."""

import os
import re
import subprocess
import sysconfig

from command.common import HOME, NOT_FOUND, USAGE, Failure
from command.elf import Elf, Malformed

SUMMARY = 'print the path of the library'
HELP = '''\
Usage: LD_PRELOAD=$(sppool library) PROGRAM [ARGUMENTS...]

Prints the path of the library that sppool run uses, for places where sppool run does not fit.'''


def main(arguments):
    if arguments:
        raise Failure('library takes no arguments', USAGE)
    os.write(1, os.fsencode(find_library()) + b'\n')  # whatever bytes its path is made of


def library_candidates():
    """Where the library may be, relative to this file, so that a moved prefix still works."""
    yield os.path.join(HOME, 'build', 'shim', 'libsppool.so')
    prefix = os.path.dirname(os.path.dirname(HOME))
    multiarch = sysconfig.get_config_var('MULTIARCH')
    for libdir in ([f'lib/{multiarch}'] if multiarch else []) + ['lib', 'lib64']:
        yield os.path.join(prefix, libdir, 'sppool', 'libsppool.so')


def find_library():
    """The absolute path of a library that loads; raises Failure where there is none."""
    named = os.environ.get('SPPOOL_LIBRARY')
    candidates = [named] if named else list(library_candidates())
    library = next(filter(os.path.isfile, candidates), None)
    if not library:
        if named:
            raise Failure(f'SPPOOL_LIBRARY={named}: there is no such file', NOT_FOUND)
        raise Failure('libsppool.so not found: build it (meson setup build && ninja -C build) '
                      'or name it in SPPOOL_LIBRARY', NOT_FOUND)
    library = os.path.abspath(library)
    if re.search('[ :]', library):
        raise Failure(f'{library} cannot be preloaded: a space or colon in its path would end '
                      'its entry in LD_PRELOAD', NOT_FOUND)
    complaint = loading_complaint(library)
    if complaint:
        raise Failure(f'{library} does not load: {complaint}', NOT_FOUND)
    return library


def loading_complaint(library):
    """What ld.so says against preloading the library, or None. It never fails a program over
    a preload, so what it writes to stderr is the only sign."""
    try:
        trial = subprocess.run(['/bin/true'], env={'LD_PRELOAD': library}, timeout=10,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if trial.stderr:
        return trial.stderr.decode(errors='replace').strip().splitlines()[0]
    return f'/bin/true ends with {trial.returncode}' if trial.returncode else None


def answered_functions(library):
    """The names of the functions that the library answers in libc's place: all that it exports."""
    try:
        return Elf(library).symbols[1]
    except (OSError, Malformed) as error:
        raise Failure(f'{library}: {error}', NOT_FOUND) from None
