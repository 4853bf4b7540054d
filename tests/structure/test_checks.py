#!/usr/bin/python3
"""The structure checks of scripts/ can fail: each is fed something wrong, and something right.

Speaks TAP. The compiler is $CC, or cc.
"""

import os
import re
import subprocess
import sys

from workshop import ROOT, run_tests

TABLE = '''/* INTERPOSED(int, commented_out, (int fd)) */
INTERPOSED(int, connect,
	(int fd, const void *address,
	unsigned length))
INTERPOSED(int,     close,   (int fd))
'''
LIBRARY = 'int connect(void) { return 0; }\nint close(void) { return 0; }\n'


def check(name, *arguments):
    """What a check finds: a list of lines, empty exactly if the check is content."""
    result = subprocess.run([os.path.join(ROOT, 'scripts', name), *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    findings = result.stdout.splitlines()
    assert result.returncode == (1 if findings else 0), (result.returncode, result.stdout)
    assert not result.stderr, result.stderr
    return findings


def finds(findings, *names):
    """Exactly these names, each in a line of its own, in this order."""
    assert len(findings) == len(names), findings
    for finding, name in zip(findings, names):
        assert name in finding, findings


def exports_and_rows_may_agree(workshop):
    finds(check('check-exports', workshop.library(LIBRARY), workshop.file('t.inc', TABLE)))


def a_row_without_export_is_found(workshop):
    table = workshop.file('t.inc', TABLE + 'INTERPOSED(int, dup, (int fd))\n')
    finds(check('check-exports', workshop.library(LIBRARY), table), 'dup: in ')


def an_export_without_row_is_found(workshop):
    library = workshop.library(LIBRARY + 'int commented_out(void) { return 0; }\n')
    finds(check('check-exports', library, workshop.file('t.inc', TABLE)),
          'commented_out: exported')


def an_export_that_the_library_looks_for_is_found(workshop):
    table = workshop.file('t.inc', TABLE)
    for use in ('void end(void) { close(); }',
                'int (*end(void))(void) { return close; }',
                'int (*end)(void) = close;'):
        library = workshop.library(LIBRARY + f'__attribute__((visibility("hidden"))) {use}\n')
        finds(check('check-exports', library, table), 'close: exported, and looked for')


def a_row_given_twice_is_found(workshop):
    table = workshop.file('t.inc', TABLE + 'INTERPOSED(int, close, (int fd))\n')
    finds(check('check-exports', workshop.library(LIBRARY), table), 'close: 2 rows')


def a_table_without_rows_is_found(workshop):
    finds(check('check-exports', workshop.library('static int nothing;'),
                workshop.file('t.inc', '')), 'no rows')


def includes_within_the_pool_are_allowed(workshop):
    workshop.file('pool/trackers/a.c', '#include <string.h>\n#include "pool/tracker.h"\n')
    finds(check('check-layering', '--sources', workshop.directory))


def an_include_of_shim_is_found(workshop):
    workshop.file('pool/a.c', '#include "shim/libc.h"\n')
    workshop.file('pool/b.h', '\n # include "../shim/libc.h"\n')
    finds(check('check-layering', '--sources', workshop.directory), 'a.c:1:', 'b.h:2:')


def an_include_of_dlfcn_is_found(workshop):
    workshop.file('pool/trackers/a.c', '#include <dlfcn.h>\n')
    finds(check('check-layering', '--sources', workshop.directory), 'dlfcn.h')


def a_pool_that_only_copies_memory_is_allowed(workshop):
    archive = workshop.archive('void f(char *a) { memcpy(a, a + 9, 9); other(strlen(a)); }',
                               'void other(int n) {}')
    finds(check('check-layering', '--archive', archive))


def a_pool_that_calls_getenv_is_found(workshop):
    archive = workshop.archive('void f(void) { getenv("HOME"); }')
    finds(check('check-layering', '--archive', archive), 'calls getenv:')


def a_pool_that_calls_close_is_found(workshop):
    archive = workshop.archive('void f(void) { close(3); memcpy((char *)1, (char *)2, 3); }')
    finds(check('check-layering', '--archive', archive), 'calls close:')


def a_library_may_call_dlsym(workshop):
    library = workshop.library('void *f(void) { return dlsym((void *)-1, "close"); }')
    finds(check('check-layering', '--library', library))


def a_library_that_allocates_prints_or_exits_is_found(workshop):
    names = ('abort', 'calloc', 'exit', 'fprintf', 'free', 'getenv', 'malloc', 'pthread_once',
             'realloc', 'setlocale', 'snprintf', 'strdup')
    calls = ''.join(f'{name}(0, 0); ' for name in names)
    library = workshop.library(f'void f(void) {{ {calls} }}')
    finds(check('check-layering', '--library', library),
          *(f'calls {name}:' for name in names))


def a_library_with_thread_local_storage_that_allocates_is_found(workshop):
    library = workshop.library('__thread int counter; int *f(void) { return &counter; }')
    finds(check('check-layering', '--library', library), 'calls __tls_get_addr:')


def formatted_code_is_allowed(workshop):
    finds(check('check-format', workshop.file('a.c', 'int f(void)\n{\n\treturn 0;\n}\n')))


def unformatted_code_is_found(workshop):
    workshop.file('good.h', 'int f(void);\n')
    workshop.file('bad.h', 'int  f(void);\n')
    finds(check('check-format', workshop.directory), 'bad.h:1:')


def fuzzing_fails_however_the_target_does(workshop):
    """libFuzzer ends with 77 when it found something, which meson would count as skipped."""
    for status in 0, 1, 77:
        target = workshop.file('target', f'#!/bin/sh\nexit {status}\n')
        os.chmod(target, 0o700)
        result = subprocess.run([os.path.join(ROOT, 'scripts', 'fuzz'), target, 'corpus'],
                                stderr=subprocess.PIPE, text=True)
        assert result.returncode == bool(status), (status, result.returncode)
        assert (f'ended with {status}' in result.stderr) == bool(status), result.stderr


def sppool_and_meson_agree_on_the_version(_workshop):
    with open(os.path.join(ROOT, 'meson.build'), encoding='utf-8') as file:
        version = re.search(r"^\s*version: '([^']+)'", file.read(), re.MULTILINE)[1]
    answer = subprocess.run([os.path.join(ROOT, 'scripts', 'sppool'), '--version'], check=True,
                            stdout=subprocess.PIPE, text=True).stdout
    assert answer == f'sppool {version}\n', (answer, version)


TESTS = (
    exports_and_rows_may_agree,
    a_row_without_export_is_found,
    an_export_without_row_is_found,
    an_export_that_the_library_looks_for_is_found,
    a_row_given_twice_is_found,
    a_table_without_rows_is_found,
    includes_within_the_pool_are_allowed,
    an_include_of_shim_is_found,
    an_include_of_dlfcn_is_found,
    a_pool_that_only_copies_memory_is_allowed,
    a_pool_that_calls_getenv_is_found,
    a_pool_that_calls_close_is_found,
    a_library_may_call_dlsym,
    a_library_that_allocates_prints_or_exits_is_found,
    a_library_with_thread_local_storage_that_allocates_is_found,
    formatted_code_is_allowed,
    unformatted_code_is_found,
    fuzzing_fails_however_the_target_does,
    sppool_and_meson_agree_on_the_version,
)

NEEDS = {  # test: the command without which it is skipped
    formatted_code_is_allowed: 'clang-format',
    unformatted_code_is_found: 'clang-format',
}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
