#!/usr/bin/python3
"""sppool check says of a program what is so, whatever file it is given, and executes nothing of it.

The library is the one of $SPPOOL_BUILD, or build, as the names of its functions matter. Speaks TAP.
The compiler is $CC, or cc.
"""

import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys

from workshop import CC, ROOT, run_tests

sys.path.insert(0, ROOT)
from command import check as module  # noqa: E402  (found through the line above)
from command import loader  # noqa: E402
from command.common import Failure  # noqa: E402
from command.elf import Elf, Malformed, is_elf  # noqa: E402

SPPOOL = os.path.join(ROOT, 'scripts', 'sppool')
BUILD = os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build'))
LIBRARY = os.path.join(os.path.abspath(BUILD), 'shim', 'libsppool.so')
NOBODY = 65534
COMPARED = 10  # programs of this system that are compared with what ldd and nm say of them
MUTATIONS = 400 * (10 if os.environ.get('SPPOOL_LONG') else 1)

CONNECTS = '''
#include <sys/socket.h>
#include <unistd.h>
int main(void) { close(socket(AF_INET, SOCK_STREAM, 0)); return connect(3, 0, 0) + read(0, 0, 0); }
'''
CALLS = 'int {0}(); int main(void) {{ return {0}(); }}'
NOTHING = 'int main(void) { return 0; }'
NEVER_RUNS = '''
#include <fcntl.h>
__attribute__((constructor)) static void trace(void) { creat(TRACE, 0600); }
int in_library(void) { return 0; }
'''


def sppool(*arguments, prefix=(), **variables):
    environment = {'PATH': os.environ['PATH'], 'SPPOOL_LIBRARY': LIBRARY, **variables}
    result = subprocess.run([*prefix, SPPOOL, 'check', *arguments], env=environment, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, errors='surrogateescape')
    assert 'Traceback' not in result.stderr, result.stderr
    return result


def says(program, verdict, status, **options):
    """The last line is this verdict, in text as in JSON; returns the text and the JSON."""
    result = sppool(program, **options)
    assert (result.returncode, result.stderr) == (status, ''), result
    assert re.fullmatch(verdict, result.stdout.splitlines()[-1]), result.stdout
    as_json = sppool('--json', program, **options)
    report = json.loads(as_json.stdout)
    assert as_json.returncode == status and report['can_help'] == (status == 0), as_json
    assert re.fullmatch(verdict, report['verdict']), report
    return result.stdout, report


def refuses(program, reason, status=2, **options):
    """No verdict, but one line."""
    result = sppool(program, **options)
    assert (result.returncode, result.stdout) == (status, ''), result
    assert re.fullmatch(f'sppool: .*{reason}.*\n', result.stderr), result


def shared(workshop, name, code, *options):
    """A library of this file name and soname."""
    path = workshop.path(name)
    source = workshop.file('shared.c', code)
    subprocess.run([*CC, '-w', '-shared', '-fPIC', f'-Wl,-soname,{os.path.basename(name)}',
                    '-o', path, source, *options], check=True)
    return path


def program_with(workshop, code, *libraries, options=None):
    """A program linked with these libraries; it finds them, unless the options say otherwise."""
    if options is None:
        options = [f'-Wl,-rpath,{workshop.directory}']
    return workshop.program(code, *options, '-Wl,--no-as-needed', '-Wl,--allow-shlib-undefined',
                            *libraries)


def symbols_by_nm(path, which):
    listing = subprocess.run(['nm', '-D', which, '--format=posix', path], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {line.split()[0].partition('@')[0] for line in listing.splitlines()}


# What can be helped


def a_program_that_connects_can_be_helped(workshop):
    show = workshop.program(CONNECTS)
    text, report = says(show, 'can help', 0)
    assert {'close', 'connect', 'read', 'socket'} <= set(report['imports']['show']), report
    assert 'show: close connect read socket' in text, text
    assert report['functions'] == len(symbols_by_nm(LIBRARY, '--defined-only')), report
    assert report['linked'] == 'dynamically' and report['connects'] == ['show'], report
    # The option may stand on either side; JSON is one object.
    assert json.loads(sppool(show, '--json').stdout) == report


def a_program_whose_library_connects_can_be_helped(workshop):
    library = shared(workshop, 'libnet.so', CALLS.format('connect').replace('main', 'net'))
    program = program_with(workshop, NOTHING, library)
    says(program, 'cannot help: .*makes connections.*', 1)  # to local sockets, for all it knows
    shared(workshop, 'libnet.so', 'int net(void) { return connect() + getaddrinfo(); }')
    _, report = says(program, 'can help', 0)
    assert report['connects'] == ['libnet.so'], report


def a_program_that_does_not_connect_cannot(workshop):
    says(workshop.program(NOTHING), 'cannot help: neither it nor .* other hosts', 1)
    says(workshop.program(CALLS.format('execv')), 'cannot help: neither .*check those', 1)
    says(workshop.program(CALLS.format('dlopen')), 'can help if what it loads.*', 0)


def tls_libraries_are_seen(workshop):
    for name in ('libssl.so.3', 'libgnutls.so.30', 'libnss3.so', 'libmbedtls.so.14'):
        program = program_with(workshop, CONNECTS, shared(workshop, name, 'int nothing;'))
        text, report = says(program, 'can help without TLS only', 0)
        assert report['tls'] == [name] and re.search(f' TLS +{name}\n', text), text
    program = program_with(workshop, CONNECTS,
                           shared(workshop, 'libsslike.so.1', 'int nothing;'))
    says(program, 'can help', 0)
    _, report = says(workshop.program('int SSL_write(void) { return 0; }' + CONNECTS, '-rdynamic'),
                     'can help without TLS only', 0)
    assert report['tls'] == ['inside the program'], report


def programs_that_are_known_are_named(workshop):
    show = workshop.program(CONNECTS)
    for name, verdict, status in (
            ('java', 'can help', 0), ('aria2c', 'not likely.*', 1),
            ('bash', 'not likely to help: .*check them', 1), ('curl', 'not likely.*itself.*', 1),
            ('php8.2', 'can help', 0), ('php-fpm8.2', 'can help', 0), ('curler', 'can help', 0)):
        path = shutil.copy(show, workshop.path(name))
        text, _ = says(path, verdict, status)
        assert ('SP_SEE_PLUGINS=1' in text) == name.startswith('php'), text
        # By another name it is the same program.
        os.symlink(path, workshop.path('alternative'))
        says(workshop.path('alternative'), verdict, status)
        os.unlink(workshop.path('alternative'))


def libraries_that_matter_are_noted(workshop):
    for name, word in (('liburing.so.2', 'io_uring'), ('libseccomp.so.2', 'seccomp'),
                       ('libcurl-gnutls.so.4', 'handle')):
        program = program_with(workshop, CONNECTS, shared(workshop, name, 'int nothing;'))
        assert word in says(program, 'can help', 0)[0], name


def what_check_asks_for_is_what_the_library_answers(_workshop):
    answered = symbols_by_nm(LIBRARY, '--defined-only')
    for names in (module.CONNECT, module.LOAD, module.EXECUTE):
        assert names <= answered, names - answered


# What cannot


def a_static_program_cannot(workshop):
    for option in ('-static', '-static-pie'):
        _, report = says(workshop.program(CONNECTS, option),
                         'cannot help: it is linked statically', 1)
        assert report['linked'] == 'statically' and not report['imports'], report


def a_go_program_cannot(workshop):
    verdict = 'cannot help: it is a Go program: .*'
    hey = shutil.which('hey')
    _, report = says(hey, verdict, 1)
    assert report['go'] and report['linked'] == 'dynamically', report
    # Without sections there is the note.
    with open(hey, 'rb') as file:
        whole = bytearray(file.read())
    whole[40:48] = bytes(8)
    whole[58:64] = bytes(6)
    stripped = workshop.path('stripped')
    with open(stripped, 'wb') as file:
        file.write(whole)
    os.chmod(stripped, 0o755)
    says(stripped, verdict, 1)
    mark = '__attribute__((section(".go.buildinfo"))) int buildinfo = 1;\n'
    says(workshop.program(mark + CONNECTS), verdict, 1)


def a_program_for_another_architecture_cannot(workshop):
    show = workshop.program(CONNECTS)
    with open(show, 'r+b') as file:
        file.seek(18)
        file.write(struct.pack('<H', 183))
    _, report = says(show, 'cannot help: it is built for another architecture .*', 1)
    assert report['architecture'] == 'aarch64', report


def a_program_for_musl_cannot(workshop):
    loader_path = workshop.path('ld-musl-here.so.1')
    os.symlink(workshop.interpreter_of('/bin/true'), loader_path)
    says(workshop.program(CONNECTS, f'-Wl,--dynamic-linker={loader_path}'),
         'cannot help: it uses musl.*', 1)


def a_program_that_changes_privileges_cannot(workshop):
    show = workshop.program(CONNECTS)
    os.chmod(show, 0o4755)
    text, report = says(show, 'can help', 0)  # for its owner
    assert report['privileged'] and re.search(' note +it is setuid', text), text
    if os.getuid() != 0:
        return
    verdict = 'cannot help: it runs with other privileges than yours.*'
    os.chmod(workshop.directory, 0o755)
    as_nobody = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
    says(show, verdict, 1, prefix=as_nobody)
    os.chmod(show, 0o2755)
    says(show, verdict, 1, prefix=as_nobody)
    os.chmod(show, 0o2745)  # without group execution it is not setgid
    says(show, 'can help', 0, prefix=as_nobody)
    os.chmod(show, 0o755)
    says(show, 'can help', 0, prefix=as_nobody)
    # cap_net_bind_service, effective: capabilities(7), revision 2
    os.setxattr(show, 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0))
    says(show, verdict, 1, prefix=as_nobody)
    assert says(show, 'can help', 0)[1]['privileged']


def a_program_that_would_not_start_cannot(workshop):
    library = shared(workshop, 'libgone.so', 'int nothing;')
    user = shared(workshop, 'libuser.so', 'int nothing2;', '-Wl,--no-as-needed', library)
    program = program_with(workshop, CONNECTS, user)
    os.unlink(library)
    text, report = says(program, 'cannot help: it does not start .*libgone.so', 1)
    assert {'name': 'libgone.so', 'needed_by': 'libuser.so'} in report['missing'], report
    assert re.search(' missing +libgone.so, needed by libuser.so\n', text), text
    program = workshop.program(CONNECTS, '-Wl,--dynamic-linker=/no/such/loader')
    says(program, 'cannot help: it does not start .*/no/such/loader', 1)


# Which file it is about


def a_script_is_judged_by_its_interpreter(workshop):
    show = workshop.program(CONNECTS, '-static')
    script = executable(workshop, 'script', f'#! {show} one argument\n')
    again = executable(workshop, 'again', f'#!{script}\n')
    verdict = f'cannot help: its interpreter {show} is linked statically'
    for path in (script, again):
        text, report = says(path, verdict, 1)
        assert report['program'] == path and report['executes'] == show, report
        assert re.search(f' executes +{show}\n', text), text
    found = executable(workshop, 'found', '#!/usr/bin/env -S LC_ALL=C show -x\n')
    says(found, verdict, 1, PATH=f'{workshop.directory}:{os.environ["PATH"]}')


def executable(workshop, name, text):
    path = workshop.file(name, text)
    os.chmod(path, 0o755)
    return path


def a_text_is_a_script_for_the_shell(workshop):
    _, report = says(executable(workshop, 'text', 'echo hello\n'), 'not likely.*check them', 1)
    assert report['executes'] == os.path.realpath('/bin/sh'), report


def a_script_that_leads_nowhere_is_no_program(workshop):
    for line in ('#!/no/such/interpreter', '#!/usr/bin/env no-such-program', '#!', '#! ',
                 f'#!{workshop.path("script")}'):
        refuses(executable(workshop, 'script', line + '\n'), '')


def a_program_is_looked_for_in_path(workshop):
    show = workshop.program(CONNECTS)
    path = f'/nonexistent:{workshop.directory}:{os.environ["PATH"]}'
    assert says('show', 'can help', 0, PATH=path)[1]['program'] == show


# Libraries are found as ld.so finds them


def libraries_are_those_that_ldd_names(_workshop):
    for program in programs_of_this_system():
        listing = subprocess.run(['ldd', program], stdout=subprocess.PIPE, text=True).stdout
        by_ldd = {os.path.realpath(path)
                  for path in re.findall(r'(?:=> |^\s)(/\S+)', listing, re.MULTILINE)}
        objects, missing = loader.load(program, Elf(program))
        found = {os.path.realpath(each.path) for each in objects[1:]}
        assert (found, missing) == (by_ldd, []), (program, found ^ by_ldd, missing)


def symbols_are_those_that_nm_names(_workshop):
    for program in [*programs_of_this_system(), LIBRARY]:
        undefined, defined = Elf(program).symbols
        for ours, option in ((undefined, '--undefined-only'), (defined, '--defined-only')):
            theirs = {name for name in symbols_by_nm(program, option) if len(name) <= 255}
            assert ours == theirs, (program, option, ours ^ theirs)


def programs_of_this_system():
    everything = sorted({os.path.realpath(entry.path) for entry in os.scandir('/usr/bin')})
    programs = [path for path in everything
                if os.path.isfile(path) and is_elf(path) and Elf(path).interpreter]
    return programs[::max(1, len(programs) // COMPARED)]


def what_ld_so_searches_is_searched(workshop):
    """Each way to find a library is tried where no other leads to it, and ld.so finds it, too."""
    os.makedirs(workshop.path('apart/deeper'))
    library = shared(workshop, 'apart/libapart.so', 'int apart(void) { return 7; }')
    uses = 'int apart(void); int main(void) { return apart(); }'
    apart = os.path.dirname(library)
    by_rpath = ['-Wl,--disable-new-dtags', '-Wl,-rpath,' + apart]
    by_runpath = ['-Wl,--enable-new-dtags', '-Wl,-rpath,/nonexistent:' + apart]
    by_origin = ['-Wl,--enable-new-dtags', '-Wl,-rpath,$ORIGIN/apart']
    for options, variables in ((by_rpath, {}), (by_runpath, {}), (by_origin, {}),
                               ([], {'LD_LIBRARY_PATH': f'/nonexistent:{apart}'})):
        finds(program_with(workshop, uses, library, options=options), True, variables)
    finds(program_with(workshop, uses, library, options=[]), False, {})
    # An RPATH holds for the libraries of a library, a RUNPATH does not, and hides it.
    code = 'int apart(void); int use(void) { return apart(); }'
    user = shared(workshop, 'apart/libuser.so', code, library)
    uses = 'int use(void); int main(void) { return use(); }'
    finds(program_with(workshop, uses, user, options=by_rpath), True, {})
    finds(program_with(workshop, uses, user, options=by_runpath), False, {})
    shared(workshop, 'apart/libuser.so', code, library, '-Wl,--enable-new-dtags',
           '-Wl,-rpath,/nonexistent')
    finds(program_with(workshop, uses, user, options=by_rpath), False, {})
    shared(workshop, 'apart/libuser.so', code, library, '-Wl,--enable-new-dtags',
           '-Wl,-rpath,${ORIGIN}')
    finds(program_with(workshop, uses, user, options=by_runpath), True, {})


def a_runpath_hides_an_rpath_of_the_same_file(workshop):
    """Linkers do not make both; a file may have both all the same."""
    os.makedirs(workshop.path('apart'))
    library = shared(workshop, 'apart/libapart.so', 'int apart(void) { return 7; }')
    user = shared(workshop, 'libuser.so', 'int apart(void); int use(void) { return apart(); }',
                  library)
    directory = workshop.directory
    program = program_with(
        workshop, 'int use(void); int main(void) { return use(); }', user,
        options=['-Wl,--disable-new-dtags', f'-Wl,-rpath,{directory}/apart:{directory}',
                 f'-Wl,--depaudit={directory}'])
    whole = bytearray(bytes_of(program))
    (start, size), = ((at, size) for kind, at, _, size in Elf(program).segments if kind == 2)
    depaudit, = (at for at in range(start, start + size, 16)
                 if struct.unpack_from('<Q', whole, at)[0] == 0x6ffffefb)
    for tag, expected in ((21, True), (29, False)):  # DT_DEBUG, DT_RUNPATH
        struct.pack_into('<Q', whole, depaudit, tag)
        write(program, whole)
        finds(program, expected, {})


def the_cache_of_ld_so_is_read(workshop):
    os.makedirs(workshop.path('apart'))
    library = shared(workshop, 'apart/libapart.so', 'int apart(void) { return 7; }')
    program = program_with(workshop, 'int apart(void); int main(void) { return apart(); }', library,
                           options=[])
    cache = workshop.path('cache')
    assert loader.load(program, Elf(program), cache)[1] == [('libapart.so', 'show')]
    # As ld.so.cache has it: the header, entries, strings. One for a better processor comes first.
    strings = b'libapart.so\0' + os.fsencode(library) + b'\0/nonexistent/libapart.so\0'
    start, better = 48 + 2 * 24, len(strings) - 25
    entries = struct.pack('=iIIIQ', 0x303, start, start + better, 0, 1 << 62)
    entries += struct.pack('=iIIIQ', 0x303, start, start + 12, 0, 0)
    header = struct.pack('=20sII20x', b'glibc-ld.so.cache1.1', 2, len(strings))
    for older_format in (b'', b'ld.so-1.7.0\0' + bytes(36)):
        write(cache, older_format + header + entries + strings)
        assert loader.read_cache(cache)['libapart.so'] == [library, '/nonexistent/libapart.so']
        objects, missing = loader.load(program, Elf(program), cache)
        assert library in [each.path for each in objects] and not missing, missing


def a_program_that_exports_nothing_has_imports(workshop):
    """Then its hash table says nothing of its symbols. Older ones have a table of another kind."""
    for options in (['-nostartfiles', '-Wl,-e,main', '-Wl,--hash-style=gnu'],
                    ['-Wl,--hash-style=sysv'], ['-no-pie']):
        _, report = says(workshop.program(CONNECTS, *options), 'can help', 0)
        assert report['imports']['show'] == ['close', 'connect', 'read', 'socket'], report
    library = shared(workshop, 'lib.so', 'int apart(void) { return 7; }', '-nostdlib',
                     '-Wl,--hash-style=sysv')
    assert 'apart' in Elf(library).symbols[1]


def finds(program, expected, variables):
    started = subprocess.run([program], env=variables, stderr=subprocess.DEVNULL)
    assert started.returncode == (7 if expected else 127), (program, started)
    report = json.loads(sppool('--json', program, **variables).stdout)
    lacks = [each['name'] for each in report['missing']]
    assert lacks == ([] if expected else ['libapart.so']), (expected, report)


def a_library_for_another_machine_is_passed_over(workshop):
    os.makedirs(workshop.path('other'))
    library = shared(workshop, 'libtwice.so', 'int twice(void) { return 7; }')
    other = shutil.copy(library, workshop.path('other'))
    with open(other, 'r+b') as file:
        file.seek(18)
        file.write(struct.pack('<H', 183))
    program = program_with(workshop, 'int twice(void); int main(void) { return twice(); }', library,
                           options=[f'-Wl,-rpath,{workshop.path("other")}:{workshop.directory}'])
    _, report = says(program, 'cannot help: neither.*', 1)
    assert {'name': 'libtwice.so', 'path': library} in report['libraries'], report


def nothing_of_it_is_executed(workshop):
    trace = workshop.path('trace')
    code = f'#define TRACE "{trace}"\n{NEVER_RUNS}'
    library = shared(workshop, 'libtraced.so', code)
    program = program_with(workshop, code + CONNECTS, library)
    says(program, 'can help', 0)
    says(executable(workshop, 'script', f'#!{program}\n'), 'can help', 0)
    assert not os.path.exists(trace)
    subprocess.run([program])
    assert os.path.exists(trace)  # so that it would have been seen


# Bad input


def what_is_no_program_is_refused_in_one_line(workshop):
    refuses('no-such-program', 'no-such-program: not found')
    refuses('', 'not found')
    refuses(workshop.directory, 'not an executable file')
    refuses(workshop.file('text', 'x'), 'not an executable file')
    refuses(executable(workshop, 'binary', 'x\0y'), 'neither an ELF file nor a script')
    refuses(shared(workshop, 'lib.so', 'int nothing;', '-Wl,--no-as-needed', '-lm'),
            'shared library')
    refuses('--', 'needs one PROGRAM')
    refuses('--what', 'unknown option')
    refuses(workshop.program(NOTHING), 'no such file', 127, SPPOOL_LIBRARY='/nonexistent.so')
    os.mkfifo(workshop.path('fifo'), 0o755)
    refuses(workshop.path('fifo'), 'not an executable file')


def a_file_that_cannot_be_read_is_refused_in_one_line(workshop):
    show = workshop.program(CONNECTS)
    os.chmod(show, 0o711)
    if os.getuid() == 0:
        os.chmod(workshop.directory, 0o755)
        prefix = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
        refuses(show, 'Permission denied', prefix=prefix)


def what_a_name_does_to_a_terminal_is_not_done(workshop):
    library = shared(workshop, 'lib\x1b[2J\n.so', 'int nothing;')
    program = program_with(workshop, CONNECTS, library)
    os.unlink(library)
    name = workshop.path('\x1b]0;owned\x07\udcff')
    os.rename(program, name)
    result = sppool(name)
    assert result.returncode == 1 and r'lib\x1b[2J\n.so' in result.stdout, result
    assert r'\x1b]0;owned\x07\xff' in result.stdout, result
    assert not re.search('[^\n -~]', result.stdout), result
    for locale in ('C', 'C.UTF-8', 'nonsense'):
        assert sppool(name, LC_ALL=locale).stdout == result.stdout, locale
        assert json.loads(sppool('--json', name, LC_ALL=locale).stdout)['program'] == name, locale


def only_failures_in_one_line(path):
    """What examine() raises, if anything, is a Failure; returns whether it did."""
    module.find_library = lambda: LIBRARY
    try:
        report = module.examine(path)
        '\n'.join(module.text_of(report)).encode(errors='backslashreplace')
        json.dumps(report)
    except Failure as failure:
        assert failure.status == 2 and str(failure), failure
        return True
    return False


def truncated_programs_are_refused_in_one_line(workshop):
    whole = bytes_of(workshop.program(CONNECTS))
    path = executable(workshop, 'cut', '')
    refused = 0
    lengths = [*range(0, 1200, 7), *range(1200, len(whole), max(1, len(whole) // 150))]
    for length in lengths:
        write(path, whole[:length])
        refused += only_failures_in_one_line(path)
    assert refused > len(lengths) // 2, (refused, len(lengths))
    write(path, whole[:100])
    refuses(path, 'truncated')


def mutated_programs_give_no_traceback(workshop):
    chance = random.Random(4)
    path = executable(workshop, 'mutant', '')
    library = shared(workshop, 'libnet.so', CONNECTS.replace('main', 'net'))
    whole = bytes_of(program_with(workshop, CONNECTS, library))
    headers = interesting_places(whole)
    verdicts = [0, 0]
    for _ in range(MUTATIONS):
        mutant = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.choice(headers)
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice((0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 63,
                                   (1 << 64) - 1, chance.getrandbits(64), len(whole)))
            mutant[at:at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, 'little')
        write(path, mutant)
        verdicts[only_failures_in_one_line(path)] += 1
    assert min(verdicts) > MUTATIONS // 20, verdicts


def interesting_places(whole):
    """Where headers, the dynamic section, hash tables, symbols and relocations are."""
    (_, _, _, _, segments_at, sections_at, _, _, _, segment_count,
     _, section_count, _) = struct.unpack_from('<HHIQQQIHHHHHH', whole, 16)
    places = [*range(4, 64), *range(segments_at, segments_at + 56 * segment_count)]
    places += range(sections_at, sections_at + 64 * section_count)
    for at in range(sections_at, sections_at + 64 * section_count, 64):
        kind, offset, size = struct.unpack_from('<4xI16xQQ', whole, at)
        # RELA, HASH, DYNAMIC, NOTE, REL, DYNSYM, GNU_HASH
        if kind in (4, 5, 6, 7, 9, 11, 0x6ffffff6):
            places += list(range(offset, offset + size)) * (4 if kind == 6 else 1)
    return places


def garbage_gives_no_traceback(workshop):
    chance = random.Random(5)
    path = executable(workshop, 'garbage', '')
    for _ in range(300):
        start = chance.choice((b'', b'\x7fELF', b'\x7fELF\2\1\1', b'\x7fELF\1\2\1', b'#!', b'#! /'))
        write(path, start + chance.randbytes(chance.randint(0, 3000)))
        only_failures_in_one_line(path)


def a_hostile_file_costs_no_more_than_its_size(workshop):
    """Tables that overlap and chains that run on: counts that a small file may claim."""
    whole = bytes_of(workshop.program(CONNECTS))
    path = executable(workshop, 'hostile', '')
    notes = next(at for at in range(64, 64 + 56 * 14, 56) if segment_type(whole, at) == 4)
    mutant = bytearray(whole) + bytes(1 << 20)
    struct.pack_into('<Q', mutant, 32, notes)
    struct.pack_into('<HH', mutant, 54, 0, 0xffff)  # the same header, very often
    struct.pack_into('<Q', mutant, notes + 8, 0)  # each says that all is notes
    struct.pack_into('<Q', mutant, notes + 32, len(mutant))
    write(path, mutant)
    refuses(path, 'tables are many times')
    # 100000 libraries are needed, none of which is there.
    names = b''.join(b'%06d\0' % n for n in range(100000))
    dynamic = b''.join(struct.pack('<QQ', 1, 7 * n) for n in range(100000))
    dynamic = struct.pack('<QQQQ', 5, len(whole), 10, len(names)) + dynamic
    mutant = bytearray(whole) + names + dynamic
    for at in range(64, 64 + 56 * 14, 56):
        if segment_type(whole, at) == 1 and struct.unpack_from('<Q', whole, at + 8)[0] == 0:
            struct.pack_into('<Q', mutant, at + 32, len(mutant))
        elif segment_type(whole, at) == 2:
            struct.pack_into('<Q', mutant, at + 8, len(whole) + len(names))
            struct.pack_into('<Q', mutant, at + 32, len(dynamic))
    write(path, mutant)
    _, report = says(path, 'cannot help: it does not start as it is, for want of 000000', 1)
    assert 1000 < len(report['missing']) < 10000, len(report['missing'])


def segment_type(elf, at):
    return struct.unpack_from('<I', elf, at)[0]


def a_broken_cache_of_ld_so_is_no_cache(workshop):
    chance = random.Random(6)
    whole = bytes_of(loader.CACHE)
    assert '/lib' in loader.read_cache(loader.CACHE)['libc.so.6'][-1]
    path = workshop.path('cache')
    for number in range(200):
        mutant = bytearray(whole[:chance.randint(0, 4000)] if number % 2 else whole[:20000])
        for _ in range(chance.randint(0, 5)):
            if mutant:
                mutant[chance.randrange(len(mutant))] = chance.getrandbits(8)
        write(path, mutant)
        loader.read_cache(path)
    assert loader.read_cache(workshop.path('none')) == {}


def bytes_of(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, data):
    with open(path, 'wb') as file:
        file.write(data)


TESTS = (
    a_program_that_connects_can_be_helped,
    a_program_whose_library_connects_can_be_helped,
    a_program_that_does_not_connect_cannot,
    tls_libraries_are_seen,
    programs_that_are_known_are_named,
    libraries_that_matter_are_noted,
    what_check_asks_for_is_what_the_library_answers,
    a_static_program_cannot,
    a_go_program_cannot,
    a_program_for_another_architecture_cannot,
    a_program_for_musl_cannot,
    a_program_that_changes_privileges_cannot,
    a_program_that_would_not_start_cannot,
    a_script_is_judged_by_its_interpreter,
    a_text_is_a_script_for_the_shell,
    a_script_that_leads_nowhere_is_no_program,
    a_program_is_looked_for_in_path,
    libraries_are_those_that_ldd_names,
    symbols_are_those_that_nm_names,
    what_ld_so_searches_is_searched,
    a_runpath_hides_an_rpath_of_the_same_file,
    the_cache_of_ld_so_is_read,
    a_program_that_exports_nothing_has_imports,
    a_library_for_another_machine_is_passed_over,
    nothing_of_it_is_executed,
    what_is_no_program_is_refused_in_one_line,
    a_file_that_cannot_be_read_is_refused_in_one_line,
    what_a_name_does_to_a_terminal_is_not_done,
    truncated_programs_are_refused_in_one_line,
    mutated_programs_give_no_traceback,
    garbage_gives_no_traceback,
    a_hostile_file_costs_no_more_than_its_size,
    a_broken_cache_of_ld_so_is_no_cache,
)

NEEDS = {
    a_go_program_cannot: 'hey',
    a_program_that_changes_privileges_cannot: 'setpriv',
    a_file_that_cannot_be_read_is_refused_in_one_line: 'setpriv',
}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
