"""`sppool check`: says before a program runs whether the library can help it. Executes nothing of
it, only reads."""

import json
import os
import re
import textwrap
from collections import namedtuple

from command.common import USAGE, Failure, parse_options, printable
from command.elf import Elf, Malformed
from command.library import answered_functions, find_library
from command.loader import load
from command.programs import (
    executed_files, find_program, has_privileges, is_static, reason_against, subject,
)

SUMMARY = 'say whether the library can help a program'
HELP = '''\
Usage: sppool check [--json] PROGRAM

Reads PROGRAM, the interpreter that its #! line names, and the libraries that it is linked with,
and says what stands in the library's way. Nothing of PROGRAM is executed. The last line is the
verdict:

  can help                       what it says to HTTP/1.x, redis and memcached servers may share
                                 connections
  can help without TLS only      it also has a TLS library, whose connections are left alone
  can help if ...                what it is linked with does not connect; what it loads later may
  not likely to help: ...        programs like this one are known not to gain
  cannot help: ...

  --json   all that was found, as one JSON object

Exit status: 0 if it can help, 1 if not; 2 where PROGRAM is no program that could be read, or for a
usage error; 127 where the library is not found or does not load.'''

# What functions stand for. Those of the library's are tested to be among those that it answers.
CONNECT = {'connect', '__connect'}
LOAD = {'dlopen', 'dlmopen'}
EXECUTE = {'execve', 'execv', 'execvp', 'execvpe', 'execl', 'execlp', 'execle', 'fexecve',
           'posix_spawn', 'posix_spawnp', 'popen', 'system'}
# A library that connects and has none of these speaks to local sockets, as libselinux does.
ADDRESSES = {'getaddrinfo', 'gethostbyname', 'gethostbyname2', 'gethostbyname_r',
             'gethostbyname2_r', 'inet_pton', 'inet_aton', 'inet_addr', '__inet_aton'}
# A program that defines one has a TLS library inside.
TLS_FUNCTIONS = {'SSL_write', 'gnutls_record_send', 'mbedtls_ssl_write', 'wolfSSL_write'}

TLS_LIBRARY = re.compile(
    r'lib(ssl|gnutls|nss3|ssl3|mbedtls|wolfssl|tls|s2n|bearssl|Qt\dNetwork)[-.].*')
# Libraries that are loaded to load others: languages, and frameworks with plugins.
LOADING_LIBRARY = re.compile(
    r'lib(ruby|python|perl|lua|jli|php|tcl|guile|mono|node|gmodule)[-.\d].*')

# Libraries that matter to the pool as such: (what is loaded, what that means)
LIBRARIES = (
    (r'liburing\..*', 'where it sets up an io_uring, the pool turns itself off'),
    (r'libseccomp\..*', 'where it installs a seccomp filter, the pool turns itself off'),
    (r'libcurl[-.].*', 'libcurl keeps connections itself for as long as a handle lives: programs '
                       'that make a new handle each time gain'),
)

# Programs by name: (name, what is known of it, is that why it is not likely to gain?)
OWN_POOL = 'it keeps its connections itself for as long as it runs'
PROGRAMS = (
    (r'php.*', 'PHP loads its extensions with RTLD_DEEPBIND, out of sight: SP_SEE_PLUGINS=1 makes '
               'their connections visible', False),
    (r'java', 'Java keeps its HTTP connections itself until it ends; its plain sockets gain', False),
    (r'node|nodejs', 'node keeps its HTTP connections itself; sockets that a program destroys gain',
     False),
    (r'ab|lynx|w3m', 'it asks for HTTP/1.0, without keep-alive', True),
    (r'siege', 'it says Connection: close, unless its settings say otherwise', True),
    (r'curl|wget|git|git-remote-https?|wrk|elinks|links|aria2c', OWN_POOL, True),
    (r'(r?ba|da|z|k|mk|a)?sh[\d.]*|fish|busybox',
     'the connections of a shell script are those of the programs that it runs, and each of those '
     'has a pool of its own: check them', True),
)

Finding = namedtuple('Finding', 'program path elf answered reason objects missing')


def main(arguments):
    options, rest = parse_options(arguments, {'--json': True}, anywhere=True)
    if len(rest) != 1:
        raise Failure('check needs one PROGRAM', USAGE)
    report = examine(rest[0])
    print(json.dumps(report, indent=2) if '--json' in options else '\n'.join(text_of(report)))
    return 0 if report['can_help'] else 1


def examine(name):
    """All that is found out about a program, as a JSON object."""
    try:
        program = find_program(name)
    except Failure as failure:
        raise Failure(failure, USAGE) from None
    library = find_library()
    path = binary_of(program)
    try:
        found = look_at(program, path, library)
        report = describe(found)
    except Malformed as error:
        raise Failure(f'{path}: {error}', USAGE) from None
    except OSError as error:
        raise Failure(f'{path}: {error.strerror}', USAGE) from None
    report['verdict'], report['can_help'] = verdict(found, report)
    return report


def binary_of(program):
    """The ELF file that executes the program; raises Failure where there is none."""
    path = executed_files(program)[-1]
    try:
        with open(path, 'rb') as file:
            start = file.read(256)
    except OSError as error:
        raise Failure(f'{path}: {error.strerror}', USAGE) from None
    if start.startswith(b'#!'):
        raise Failure(f'{path}: its #! line leads to no program', USAGE)
    if start.startswith(b'\x7fELF'):
        return path
    # What is no program at all the shell tries as a script, if it looks like text.
    if b'\0' in start.split(b'\n', 1)[0]:
        raise Failure(f'{path}: neither an ELF file nor a script', USAGE)
    return '/bin/sh'


def look_at(program, path, library):
    elf = Elf(path)
    if not elf.is_program or is_static(path, elf) and elf.needed:
        raise Malformed('a shared library, or something else that is no program')
    reason = reason_against(path, elf, library)
    objects, missing = ([], []) if reason else load(path, elf)
    return Finding(program, path, elf, answered_functions(library), reason, objects, missing)


def describe(found):
    elf = found.elf
    return {
        'version': 1,
        'program': found.program,
        'executes': os.path.realpath(found.path),
        'architecture': elf.machine_name,
        'linked': 'statically' if is_static(found.path, elf) else 'dynamically',
        'loader': os.fsdecode(elf.interpreter) if elf.interpreter else None,
        'go': elf.is_go,
        'privileged': has_privileges(found.path),
        'libraries': [{'name': each.name, 'path': each.path} for each in found.objects[1:]],
        'missing': [{'name': name, 'needed_by': user} for name, user in found.missing],
        'functions': len(found.answered),
        'imports': {each.name: sorted(each.imports & found.answered) for each in found.objects
                    if each.imports & found.answered},
        'connects': [each.name for each in found.objects if connects(each)],
        'tls': tls_of(found.objects),
        'notes': list(notes(found)),
    }


def connects(each):
    """Does it make connections to other hosts, going by what it imports?"""
    return bool(each.imports & CONNECT) and bool(not each.loader or each.imports & ADDRESSES)


def tls_of(objects):
    names = [each.name for each in objects[1:] if TLS_LIBRARY.fullmatch(each.name)]
    inside = any(each.defines & TLS_FUNCTIONS for each in objects[:1])
    return names or ['inside the program'] * inside


def loads_more(objects):
    return any(each.imports & LOAD and (not each.loader or LOADING_LIBRARY.fullmatch(each.name))
               for each in objects)


def known_of(path):
    """(what is known of the program, is that why it is not likely to gain?)"""
    name = os.path.basename(os.path.realpath(path))
    return next(((note, unlikely) for pattern, note, unlikely in PROGRAMS
                 if re.fullmatch(pattern, name)), (None, False))


def notes(found):
    known, unlikely = known_of(found.path)
    if known and not unlikely:
        yield known
    for pattern, note in LIBRARIES:
        for each in found.objects[1:]:
            if re.fullmatch(pattern, each.name):
                yield f'{each.name}: {note}'
    if loads_more(found.objects):
        yield 'it loads more while it runs (dlopen), which is not seen here'
    if has_privileges(found.path):
        yield ('it is setuid or setgid or has file capabilities: users whom that gives other '
               'privileges are not helped')


def verdict(found, report):
    """(the verdict, can the library help?)"""
    it = subject(found.program, found.path)
    if found.reason:
        return f'cannot help: {it} {found.reason}', False
    lacking = [each['name'] for each in report['missing']]
    if found.elf.interpreter and not os.path.exists(found.elf.interpreter):
        lacking.insert(0, report['loader'])
    if lacking:
        return f'cannot help: {it} does not start as it is, for want of {lacking[0]}', False
    known, unlikely = known_of(found.path)
    if unlikely:
        return f'not likely to help: {known}', False
    if report['connects']:
        return ('can help without TLS only' if report['tls'] else 'can help'), True
    if loads_more(found.objects):
        return 'can help if what it loads while it runs makes connections', True
    reason = f'neither {it} nor a library of it makes connections to other hosts'
    if any(each.imports & EXECUTE for each in found.objects[:1]):
        reason += '; each program that it runs has a pool of its own: check those'
    return f'cannot help: {reason}', False


# The same for people


def text_of(report):
    """The lines of a report."""
    yield printable(report['program'])
    if report['executes'] != os.path.realpath(report['program']):
        yield from entry('executes', report['executes'])
    yield from entry('architecture', report['architecture'])
    yield from entry('linked', linked(report))
    for each in report['missing']:
        yield from entry('missing', f'{each["name"]}, needed by {each["needed_by"]}')
    if report['tls']:
        yield from entry('TLS', ', '.join(report['tls']))
    if report['imports']:
        yield from imports(report)
    for note in report['notes']:
        yield from entry('note', note)
    yield printable(report['verdict'])


def linked(report):
    if not report['loader']:
        return report['linked']
    count = len(report['libraries'])
    return f'{report["linked"]}, by {report["loader"]}' + (f', {count} libraries' if count else '')


def imports(report):
    """Those of the program and of what connects; the others would be many."""
    first = next(iter(report['imports']))
    yield from entry('imports', f'of {report["functions"]} functions that the library answers:')
    for name, functions in report['imports'].items():
        if name == first or name in report['connects']:
            yield from entry('', f'{name}: {" ".join(functions)}')


def entry(label, text):
    yield from textwrap.wrap(printable(text), 100, initial_indent=f'  {label:14}',
                             subsequent_indent=' ' * (18 if not label else 16),
                             break_long_words=False, break_on_hyphens=False)
