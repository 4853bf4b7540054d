#!/usr/bin/python3
"""scripts/sppool run is invisible but for LD_PRELOAD: what it finds, refuses, passes on and says.

The library is a stand-in that does nothing, named by SPPOOL_LIBRARY; the programs show what
reached them. Speaks TAP. The compiler is $CC, or cc.
"""

import os
import re
import shutil
import struct
import subprocess
import sys

from workshop import ROOT, run_tests

sys.path.insert(0, ROOT)
from command.main import COMMANDS  # noqa: E402  (found through the line above)

SPPOOL = os.path.join(ROOT, 'scripts', 'sppool')
NOBODY = 65534

# Prints LD_PRELOAD and the arguments; ends with 42.
SHOW = r'''
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	const char *preload = getenv("LD_PRELOAD");
	printf("%s\n", preload ? preload : "(none)");
	for (int i = 0; i < argc; i++)
		printf("%s\n", argv[i]);
	return 42;
}
'''


def sppool(workshop, *arguments, **options):
    """Runs sppool with the stand-in library; keyword arguments are environment variables."""
    if not os.path.exists(workshop.path('lib.so')):
        workshop.library('int nothing;')
    environment = {'PATH': os.environ['PATH'], 'SPPOOL_LIBRARY': workshop.path('lib.so'),
                   'XDG_RUNTIME_DIR': workshop.directory}
    prefix = options.pop('prefix', [])
    environment.update(options)
    return subprocess.run([*prefix, SPPOOL, *arguments], env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


def helped(workshop, result, *argv):
    """The program ran with the library, with these arguments, and nobody said a word."""
    shown = ''.join(f'{line}\n' for line in (workshop.path('lib.so'), *argv))
    assert (result.returncode, result.stdout, result.stderr) == (42, shown, ''), result


def not_helped(result, reason, *argv):
    """The program ran without the library, and one line said why."""
    assert result.returncode == 42, result
    assert not argv or result.stdout == ''.join(f'{line}\n' for line in ('(none)', *argv)), result
    assert re.fullmatch(f'sppool: .* runs without the pool: .*{reason}.*\n', result.stderr), result


def fails(result, status, reason):
    """The program did not run, and one line said why."""
    assert (result.returncode, result.stdout) == (status, ''), result
    assert re.fullmatch(f'sppool: .*{reason}.*\n', result.stderr), result


def a_program_gets_the_library_and_its_arguments(workshop):
    show = workshop.program(SHOW)
    helped(workshop, sppool(workshop, 'run', show), show)
    helped(workshop, sppool(workshop, 'run', '--', show, '--', '-x', ''), show, '--', '-x', '')
    helped(workshop, sppool(workshop, 'run', show, '--stats'), show, '--stats')


def a_program_is_looked_for_in_path(workshop):
    show = workshop.program(SHOW)
    path = f'/nonexistent:{os.path.dirname(show)}'
    helped(workshop, sppool(workshop, 'run', 'show', PATH=path + ':/usr/bin'), 'show')


def a_preload_that_is_set_is_kept_behind_ours(workshop):
    show, library = workshop.program(SHOW), workshop.path('lib.so')
    other = shutil.copy(workshop.library('int nothing;'), workshop.path('other.so'))
    result = sppool(workshop, 'run', show, LD_PRELOAD=other)
    assert result.stdout == f'{library}:{other}\n{show}\n', result
    os.symlink(library, workshop.path('same.so'))
    for present in (f'{other}:{library}', f'{other} {workshop.path("same.so")}'):
        result = sppool(workshop, 'run', show, LD_PRELOAD=present)
        assert result.stdout == f'{present}\n{show}\n', result
    result = sppool(workshop, 'run', show, LD_PRELOAD=library,
                    SPPOOL_LIBRARY=workshop.path('same.so'))
    assert result.stdout == f'{library}\n{show}\n', result


def options_become_settings(workshop):
    def settings(*options):
        result = sppool(workshop, 'run', *options, 'env')
        return sorted(line for line in result.stdout.split('\n') if line.startswith('SP_'))
    status = f'SP_STATUS_DIR={workshop.path("sppool")}'
    assert settings() == [status]
    assert settings('--no-status') == []
    assert settings('--stats', '--log') == ['SP_LOG=2', 'SP_STATS=-', status]
    assert settings('--stats=a b', '--log=3', '--no-status') == ['SP_LOG=3', 'SP_STATS=a b']


def nothing_else_in_the_environment_changes(workshop):
    # LC_ALL unset in the C locale: there python would set LC_CTYPE.
    bare = {'PATH': os.environ['PATH'], 'SPPOOL_LIBRARY': workshop.library('int nothing;')}
    shown = subprocess.run([SPPOOL, 'run', '--no-status', 'env'], env=bare, stdout=subprocess.PIPE, text=True)
    bare['LD_PRELOAD'] = bare['SPPOOL_LIBRARY']
    assert sorted(shown.stdout.splitlines()) == sorted(f'{k}={v}' for k, v in bare.items()), shown


def broken_pipes_still_end_a_program(workshop):
    status = 'grep -E "^Sig(Ign|Blk|Cgt)" /proc/self/status'
    plain = subprocess.run(['sh', '-c', status], stdout=subprocess.PIPE, text=True)
    result = sppool(workshop, 'run', 'sh', '-c', status)
    assert result.stdout == plain.stdout, (result, plain)


def a_static_program_is_named_and_runs(workshop):
    show = workshop.program(SHOW, '-static')
    not_helped(sppool(workshop, 'run', show), 'statically', show)
    show = workshop.program(SHOW, '-static-pie')
    not_helped(sppool(workshop, 'run', show), 'statically', show)


def a_go_program_is_named_and_runs(workshop):
    mark = '__attribute__((section(".go.buildinfo"))) int buildinfo = 1;\n'
    show = workshop.program(mark + SHOW)
    not_helped(sppool(workshop, 'run', show), 'Go program', show)


def a_program_for_another_architecture_is_named(workshop):
    show = workshop.program(SHOW)
    with open(show, 'r+b') as file:
        file.seek(18)
        file.write(struct.pack('<H', 0xBEEF))
    result = sppool(workshop, 'run', show)
    assert result.returncode == 126, result  # the kernel does not run it either
    warning, error = result.stderr.splitlines()
    assert 'another architecture' in warning and 'Exec format error' in error, result


def a_program_for_musl_is_named_and_runs(workshop):
    loader = workshop.path('ld-musl-here.so.1')
    os.symlink(workshop.interpreter_of('/bin/true'), loader)
    show = workshop.program(SHOW, f'-Wl,--dynamic-linker={loader}')
    not_helped(sppool(workshop, 'run', show), 'musl', show)


def a_setuid_program_is_named_only_if_that_changes_privileges(workshop):
    show = workshop.program(SHOW)
    os.chmod(show, 0o6755)
    helped(workshop, sppool(workshop, 'run', show), show)
    if os.getuid() != 0:
        return
    os.chmod(workshop.directory, 0o755)
    as_nobody = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
    not_helped(sppool(workshop, 'run', show, prefix=as_nobody), 'privileges')
    # Where the kernel grants none, the program can be helped. The workshop is not nobody's to have
    # status pages in.
    run = ['run', '--no-status', show]
    helped(workshop, sppool(workshop, *run, prefix=[*as_nobody, '--no-new-privs']), show)
    os.chmod(show, 0o755)
    helped(workshop, sppool(workshop, *run, prefix=as_nobody), show)


def a_script_is_judged_by_its_interpreter(workshop):
    show = workshop.program(SHOW)
    script = workshop.file('script', f'#!{show} one argument\n')
    os.chmod(script, 0o755)
    helped(workshop, sppool(workshop, 'run', script, '-x'), show, 'one argument', script, '-x')
    again = workshop.file('again', f'#!{script}\n')
    os.chmod(again, 0o755)
    workshop.program(SHOW, '-static')
    not_helped(sppool(workshop, 'run', again), 'interpreter .*/show is linked statically')
    found = workshop.file('found', '#!/usr/bin/env -S LC_ALL=C show -x\n')
    os.chmod(found, 0o755)
    path = f'{workshop.directory}:{os.environ["PATH"]}'
    not_helped(sppool(workshop, 'run', found, PATH=path), 'interpreter .*/show is linked')


def a_script_without_interpreter_line_goes_to_the_shell(workshop):
    script = workshop.file('script', 'echo "$0" "$@"; exit 42\n')
    os.chmod(script, 0o755)
    result = sppool(workshop, 'run', script, 'a  b')
    assert (result.returncode, result.stdout, result.stderr) == (42, f'{script} a  b\n', ''), result


def a_broken_elf_file_is_left_to_the_kernel(workshop):
    with open(workshop.program(SHOW), 'rb') as file:
        whole = file.read()
    broken = [whole[:n] for n in (4, 5, 17, 40, 64, 100, 600)]
    broken += [whole[:at] + b'\xff' * 8 + whole[at + 8:] for at in range(4, 64, 4)]
    for number, content in enumerate(broken):
        path = workshop.path(f'broken{number}')
        with open(path, 'wb') as file:
            file.write(content)
        os.chmod(path, 0o755)
        result = sppool(workshop, 'run', path)
        assert 'Traceback' not in result.stderr, (number, result)


def a_program_that_is_not_there_is_127(workshop):
    fails(sppool(workshop, 'run', 'no-such-program'), 127, 'no-such-program: not found')
    fails(sppool(workshop, 'run', './no/such'), 127, './no/such: not found')
    fails(sppool(workshop, 'run', ''), 127, 'not found')
    script = workshop.file('script', '#!/no/such/interpreter\n')
    os.chmod(script, 0o755)
    fails(sppool(workshop, 'run', script), 127, 'interpreter')


def a_program_that_is_not_executable_is_126(workshop):
    fails(sppool(workshop, 'run', workshop.file('text', 'x')), 126, 'not an executable file')
    fails(sppool(workshop, 'run', workshop.directory), 126, 'not an executable file')


def a_library_that_does_not_load_runs_nothing(workshop):
    show = workshop.program(SHOW)
    for library, reason in (
            (workshop.path('missing.so'), 'no such file'),
            (workshop.file('text.so', 'not ELF'), 'does not load'),
            (workshop.file('with space.so', ''), 'space or colon'),
            (workshop.file('with:colon.so', ''), 'space or colon')):
        fails(sppool(workshop, 'run', show, SPPOOL_LIBRARY=library), 127, reason)
    # A sanitizer's library, for one, ends a program at start without a word of ld.so.
    ends = shutil.copy(workshop.library(
        'void _exit(int); __attribute__((constructor)) void f(void) { _exit(3); }'),
        workshop.path('ends.so'))
    fails(sppool(workshop, 'run', show, SPPOOL_LIBRARY=ends), 127, 'does not load')


def the_library_is_found_in_a_moved_prefix(workshop):
    library = workshop.library('int nothing;')
    for libdir in ('lib64', 'lib', f'lib/{workshop.multiarch()}'):
        prefix = workshop.path(libdir.replace('/', '-'))
        found = copied(prefix, 'bin', os.path.join('share', 'sppool'),
                       library, os.path.join(libdir, 'sppool'))
        assert found == f'{prefix}/{libdir}/sppool/libsppool.so\n', found
    checkout = workshop.path('checkout')
    found = copied(checkout, 'scripts', '', library, os.path.join('build', 'shim'))
    assert found == f'{checkout}/build/shim/libsppool.so\n', found


def copied(prefix, scripts, modules, library, libdir):
    """What sppool says of the library when all is copied to these places of a prefix."""
    os.makedirs(os.path.join(prefix, scripts))
    os.makedirs(os.path.join(prefix, libdir))
    shutil.copy(library, os.path.join(prefix, libdir, 'libsppool.so'))
    shutil.copytree(os.path.join(ROOT, 'command'), os.path.join(prefix, modules, 'command'))
    script = shutil.copy(SPPOOL, os.path.join(prefix, scripts))
    return subprocess.run([script, 'library'], env={'PATH': os.environ['PATH']},
                          stdout=subprocess.PIPE, text=True).stdout


def without_its_modules_it_says_so(workshop):
    script = shutil.copy(SPPOOL, workshop.path('sppool'))
    answer = subprocess.run([script, '--version'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    fails(answer, 1, 'its modules are neither in')


def usage_errors_are_2(workshop):
    for arguments in ([], ['run'], ['run', '--'], ['run', '--what', 'true'], ['what'],
                      ['library', 'x']):
        fails(sppool(workshop, *arguments), 2, '')


def every_command_has_help_and_a_version(workshop):
    assert {'run', 'demo'} <= set(COMMANDS), COMMANDS
    overview = sppool(workshop, '--help').stdout
    version = sppool(workshop, '--version').stdout
    assert version.startswith('sppool '), version
    for command in COMMANDS:
        assert f'\n  {command} ' in overview, (command, overview)
        assert sppool(workshop, command, '--version').stdout == version, command
        result = sppool(workshop, command, '--help')
        assert result.stdout.startswith('Usage: ') and result.returncode == 0, result
        assert f'sppool {command}' in result.stdout, result


def output_that_cannot_be_written_is_an_error(workshop):
    sppool(workshop, '--version')  # makes the library
    environment = {'PATH': os.environ['PATH'], 'SPPOOL_LIBRARY': workshop.path('lib.so')}
    for command in ('--help', 'library'):
        with open('/dev/full', 'w', encoding='ascii') as full:
            result = subprocess.run([SPPOOL, command], env=environment, stdout=full,
                                    stderr=subprocess.PIPE, text=True)
        assert result.returncode == 1, result
        assert result.stderr == 'sppool: No space left on device\n', result


def what_a_name_does_to_a_terminal_is_not_done(workshop):
    result = sppool(workshop, 'run', './a\x1b[2J\nb')
    assert result.stderr == 'sppool: ./a\\x1b[2J\\nb: not found\n', result


TESTS = (
    a_program_gets_the_library_and_its_arguments,
    a_program_is_looked_for_in_path,
    a_preload_that_is_set_is_kept_behind_ours,
    options_become_settings,
    nothing_else_in_the_environment_changes,
    broken_pipes_still_end_a_program,
    a_static_program_is_named_and_runs,
    a_go_program_is_named_and_runs,
    a_program_for_another_architecture_is_named,
    a_program_for_musl_is_named_and_runs,
    a_setuid_program_is_named_only_if_that_changes_privileges,
    a_script_is_judged_by_its_interpreter,
    a_script_without_interpreter_line_goes_to_the_shell,
    a_broken_elf_file_is_left_to_the_kernel,
    a_program_that_is_not_there_is_127,
    a_program_that_is_not_executable_is_126,
    a_library_that_does_not_load_runs_nothing,
    the_library_is_found_in_a_moved_prefix,
    without_its_modules_it_says_so,
    usage_errors_are_2,
    every_command_has_help_and_a_version,
    output_that_cannot_be_written_is_an_error,
    what_a_name_does_to_a_terminal_is_not_done,
)

NEEDS = {a_setuid_program_is_named_only_if_that_changes_privileges: 'setpriv'}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
