#!/usr/bin/python3
"""What meson installs is complete, where it belongs, and works from wherever it is moved to.

The build directory is $SPPOOL_BUILD, or build. Speaks TAP.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys

from workshop import ROOT, run_tests

sys.path.insert(0, ROOT)
from command import tables  # noqa: E402  (found through the line above)
from command.main import COMMANDS  # noqa: E402

BUILD = os.path.abspath(os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build')))
STATS = {'version': 1, 'pid': 1, 'program': 'x', 'connects': 2, 'opened': 1, 'reused': 1,
         'parked': 2, 'discarded': {'dead': 1}, 'refused': {'tls': 1}, 'service_points': []}


def installed(workshop):
    """Installs, and moves the prefix; returns where it is then."""
    destination = workshop.path('destination')
    subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', destination],
                   check=True, stdout=subprocess.DEVNULL)
    scripts, = glob.glob(f'{destination}/**/bin', recursive=True)
    return shutil.move(os.path.dirname(scripts), workshop.path('moved'))


def sppool(prefix, *arguments):
    """What it says; nothing but the path is in its environment, and it is not in the checkout."""
    result = subprocess.run([os.path.join(prefix, 'bin', 'sppool'), *arguments], cwd=prefix,
                            text=True, env={'PATH': os.environ['PATH'],
                                             'XDG_RUNTIME_DIR': os.path.dirname(prefix)},
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert 'Traceback' not in result.stderr, result
    return result


def every_command_works(workshop):
    prefix = installed(workshop)
    library = sppool(prefix, 'library').stdout.strip()
    assert library.startswith(prefix) and os.path.isfile(library), library
    for command in COMMANDS:
        assert sppool(prefix, command, '--help').stdout.startswith('Usage: '), command
    assert sppool(prefix, 'run', '--', 'sh', '-c', 'echo $LD_PRELOAD').stdout == f'{library}\n'
    checked = json.loads(sppool(prefix, 'check', '--json', '/usr/bin/python3').stdout)
    assert checked['can_help'] and 'connect' in checked['imports']['python3'], checked
    stats = workshop.file('stats', json.dumps(STATS))
    explained = sppool(prefix, 'explain', stats).stdout
    for table, word in ((tables.refusals(), 'tls'), (tables.discards(), 'dead')):
        assert f'1  {word}: {dict(table)[word]}' in explained, explained
    assert 'in a checkout' in sppool(prefix, 'demo').stderr


def nothing_is_missing(workshop):
    prefix = installed(workshop)
    modules = {name for name in os.listdir(os.path.join(ROOT, 'command')) if name.endswith('.py')}
    with open(os.path.join(ROOT, 'command', 'tables.py'), encoding='utf-8') as file:
        read = set(re.findall(r"'(\w+\.inc)'", file.read()))
    for directory, wanted in (('command', modules), ('pool', read)):
        there = set(os.listdir(os.path.join(prefix, 'share', 'sppool', directory)))
        assert there == wanted, there ^ wanted
    for path in ('share/man/man1/sppool.1', 'share/man/man3/sppool.3', 'share/man/man7/libsppool.7',
                 'share/bash-completion/completions/sppool', 'share/zsh/site-functions/_sppool'):
        assert os.path.getsize(os.path.join(prefix, path)) > 500, path
    for directory, _, names in os.walk(prefix):
        for name in names:
            path = os.path.join(directory, name)
            executable = os.access(path, os.X_OK) and not name.endswith('.so')
            assert executable == (directory == os.path.join(prefix, 'bin')), path


def no_page_has_anything_left_to_fill_in(workshop):
    prefix = installed(workshop)
    for page in glob.glob(f'{prefix}/share/man/man*/*'):
        with open(page, encoding='utf-8') as file:
            assert not re.search('@[A-Z_]+@', file.read()), page


TESTS = (
    every_command_works,
    nothing_is_missing,
    no_page_has_anything_left_to_fill_in,
)


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, {}))
