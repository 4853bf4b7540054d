"""References from tables to the tests that show what the tables say: traps.txt, facts.txt.

Claims are listed by the files that make them, which needs no build and no server.
"""

import functools
import glob
import os
import re
import subprocess
import sys

from workshop import ROOT

# Anything shorter stands everywhere.
SHORTEST = 8


@functools.lru_cache(maxsize=None)
def text_of(name):
    """The file with comments' stars and line breaks taken out, or nothing if it is not there."""
    path = os.path.join(ROOT, name)
    if not os.path.isfile(path):
        return ''
    with open(path, encoding='utf-8') as file:
        lines = [re.sub(r'^\s*(/\*|\*|#|//)\s', '', line) for line in file]
    return ' '.join(' '.join(lines).split())


@functools.lru_cache(maxsize=None)
def claims_of(path):
    if not os.path.isfile(path):
        return []
    return subprocess.run([sys.executable, path, '--list'], check=True, stdout=subprocess.PIPE,
                          text=True, timeout=60).stdout.splitlines()


def files(*pattern):
    return sorted(glob.glob(os.path.join(ROOT, *pattern)))


def is_claim(path, part):
    return any(part in claim for claim in claims_of(path))


def is_preload_claim(name, part):
    return is_claim(os.path.join(ROOT, 'tests', 'preload', name + '.py'), part)


def is_unit_test(name, part):
    return bool(re.search(rf'Test\(\w+, {re.escape(part)}[,)]', text_of(f'tests/unit/{name}.c')))


def is_stress(_name, part):
    return (bool(files('tests', 'stress', glob.escape(part) + '.c')) or
            any(is_claim(path, part) for path in files('tests', 'stress', 'test_*.py')))


def is_structure(_name, part):
    function = f"def {part.replace(' ', '_')}("
    return (os.path.isfile(os.path.join(ROOT, 'scripts', part)) or
            any(function in text_of(path) for path in files('tests', 'structure', 'test_*.py')))


def is_in_readme(_name, part):
    return part in text_of('README.md')


def is_design(_name, part):
    file, _, phrase = part.partition(': ')
    return len(phrase) >= SHORTEST and phrase in text_of(file)


KINDS = (
    (r'(test_\w+)', is_preload_claim),
    (r'unit (test-\w+)', is_unit_test),
    (r'(stress)', is_stress),
    (r'(structure)', is_structure),
    (r'(README)', is_in_readme),
    (r'(design)', is_design),
)

# A reference may have a semicolon in it, as sentences have; the next one begins with its kind.
NEXT = re.compile('; (?=' + '|'.join(f'{kind}: ' for kind, _ in KINDS).replace('(', '(?:') + ')')


def is_there(reference):
    kind, _, part = reference.partition(': ')
    for pattern, resolves in KINDS:
        match = re.fullmatch(pattern, kind)
        if match:
            return len(part) >= SHORTEST and resolves(match[1], part)
    return False


def rows_of(table, cells=3):
    """[number, ..., references] of each row, without the comment that says what they are."""
    with open(table, encoding='utf-8') as file:
        lines = [line.strip() for line in file]
    return [[cell.strip() for cell in line.split(' | ', cells - 1)]
            for line in lines if line and not line.startswith('#')]
