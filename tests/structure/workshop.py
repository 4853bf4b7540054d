"""What the tests of scripts/ share: a directory to make files in, and TAP."""

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
CC = os.environ.get('CC', 'cc').split()


class Workshop:
    """A directory of files for one test, and the checks to run on them."""

    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        return os.path.join(self.directory, name)

    def file(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def library(self, code):
        path = self.path('lib.so')
        source = self.file('lib.c', code)
        subprocess.run([*CC, '-w', '-fno-builtin', '-shared', '-fPIC', '-o', path, source],
                       check=True)
        return path

    def program(self, code, *options):
        path = self.path('show')
        source = self.file('show.c', code)
        subprocess.run([*CC, '-w', *options, '-o', path, source], check=True)
        return path

    def archive(self, *codes):
        objects = []
        for number, code in enumerate(codes):
            source = self.file(f'part{number}.c', code)
            objects.append(source[:-1] + 'o')
            subprocess.run([*CC, '-w', '-fno-builtin', '-c', '-o', objects[-1], source],
                           check=True)
        path = self.path('lib.a')
        subprocess.run(['ar', 'rc', path, *objects], check=True)
        return path

    @staticmethod
    def interpreter_of(program):
        """The dynamic loader that the program names."""
        headers = subprocess.run(['readelf', '-l', program], check=True, stdout=subprocess.PIPE,
                                 text=True).stdout
        return re.search(r'program interpreter: ([^]]+)', headers)[1]

    @staticmethod
    def multiarch():
        return sysconfig.get_config_var('MULTIARCH')


def options_of(help_text):
    """The options that a --help documents, in its synopsis or its list."""
    named = re.findall(r'^  (--[a-z-]+)|\[(--[a-z-]+)', help_text, re.MULTILINE)
    return {first or second for first, second in named}


class Skip(Exception):
    """Raised by a test that cannot be run here, with the reason."""


def error_of(test):
    """What goes wrong in the test, or None."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            test(Workshop(directory))
        except Skip:
            raise
        except Exception as error:  # whatever it is, the next test is run
            return f'{type(error).__name__}: {error}'
    return None


def run_tests(tests, needs):
    """Runs the tests, each in a new directory; returns whether one failed. NEEDS names for a test
    the command without which it is skipped."""
    print(f'1..{len(tests)}')
    failed = False
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace('_', ' ')
        if test in needs and not shutil.which(needs[test]):
            print(f'ok {number} - {name} # SKIP {needs[test]} is not installed')
            continue
        try:
            error = error_of(test)
        except Skip as why:
            print(f'ok {number} - {name} # SKIP {why}')
            continue
        failed = failed or error is not None
        print(f'{"ok" if error is None else "not ok"} {number} - {name}')
        if error:
            print('# ' + error.replace('\n', '\n# '))
    return failed
