#!/usr/bin/python3
"""What the README says is so: its tables are the tables of the code, and its commands run.

Speaks TAP. The build directory is $SPPOOL_BUILD, or build.
"""

import os
import re
import socket
import subprocess
import sys
import threading

from workshop import ROOT, run_tests

BUILD = os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build'))


def text_of(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


def rows_of(name, macro):
    """The rows of a table of the code: lists of what stands between the commas."""
    # In a comment at the top each table shows what its rows look like.
    text = text_of(name).split('*/', 1)[1]
    rows = re.findall(rf'^{macro}\((.*?)\)$', text, re.MULTILINE | re.DOTALL)
    assert rows, f'no rows in {name}'
    return [[cell.strip() for cell in re.findall(r'"[^"]*"|[^,\s][^,]*', row)] for row in rows]


def expect_row(cells):
    row = '| ' + ' | '.join(cell.strip('"') for cell in cells) + ' |'
    assert row in text_of('README.md').splitlines(), f'not in the README: {row}'


def every_setting_is_described(_workshop):
    for _field, variable, default, least, most, meaning in rows_of('pool/settings.inc', 'SETTING'):
        expect_row([variable, '', default, f'{least} to {most}', meaning])
    for _field, variable, key, *cells in rows_of('pool/settings.inc', 'POINT_SETTING'):
        default, least, most, meaning = cells
        expect_row([variable, key, default, f'{least} to {most}', meaning])


def every_refusal_is_described(_workshop):
    for _identifier, word, meaning in rows_of('pool/refusals.inc', 'REFUSAL'):
        expect_row([word, meaning])


def every_discard_is_described(_workshop):
    for _identifier, word, meaning in rows_of('pool/discards.inc', 'DISCARD'):
        expect_row([word, meaning])


def every_counter_is_described(_workshop):
    for _field, word, meaning in rows_of('pool/counters.inc', 'COUNTER'):
        expect_row([word, meaning])


def run(command, **options):
    return subprocess.run(command, shell=True, cwd=ROOT, text=True, timeout=300,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)


def succeeds(command):
    result = run(command)
    assert result.returncode == 0, result.stdout
    return result.stdout


def demo_shows_that_it_works(command, _workshop):
    assert 'python3 http.client' in succeeds(command + ' --requests 20')


def a_program_runs_under_the_pool(workshop):
    """The README's second command, with a program of ours for PROGRAM."""
    assert '    scripts/sppool run --stats=- -- PROGRAM ARGUMENTS...' in text_of('README.md')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        threading.Thread(target=answer_all, args=[listener], daemon=True).start()
        program = f"""import http.client
for _ in range(3):
    connection = http.client.HTTPConnection('127.0.0.1', {listener.getsockname()[1]})
    connection.request('GET', '/')
    print(connection.getresponse().read())
    connection.close()"""
        output = subprocess.run(
            ['scripts/sppool', 'run', '--stats=-', '--', sys.executable, '-c', program],
            cwd=ROOT, env={**os.environ, 'SPPOOL_LIBRARY': f'{BUILD}/shim/libsppool.so',
                           'XDG_RUNTIME_DIR': workshop.directory},
            check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert output.count("b'hello'") == 3, output
    assert '"connects":3,"opened":1,"reused":2,"waited":0,"over_limit":0,"parked":3,' in output, output


def answer_all(listener):
    connection, _ = listener.accept()
    with connection:
        while b'\r\n\r\n' in connection.recv(4096):
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')


def it_installs(command, workshop):
    succeeds(f'{command.replace("build", BUILD)} --no-rebuild --destdir {workshop.directory}')
    found = [os.path.join(directory, name)
             for directory, _, names in os.walk(workshop.directory) for name in names]
    assert any(re.search('/lib/.*sppool/libsppool.so$', path) for path in found), found
    sppool, = (path for path in found if path.endswith('/bin/sppool'))
    # The installed one finds the installed library, from wherever the prefix is.
    assert succeeds(f'{sppool} library').startswith(workshop.directory)


def bench_prints(command, workshop):
    """What each part of it measures is test_bench's."""
    few = '--runs 1 --seconds 0.02 --batches 2 --points 100 --requests 5'
    output = succeeds(f'{command} --quick {few} --output {workshop.directory} --build {BUILD}')
    assert 'read-file' in output, output
    assert re.search(r'^  4 threads  libsppool +[0-9]', output, re.MULTILINE), output
    for name in 'bench.txt', 'bench.json', 'contest.svg':
        assert os.path.getsize(workshop.path(name)), name
    assert re.search(r'^first-byte: .*\n  SP_REPLAY=0 .*\n  SP_REPLAY=1 .*\n  added .*\n  ratio +[0-9.]+ ',
                     output, re.MULTILINE), output
    ratios = re.findall(r'^points-.*\n  10 .*\n  100 .*\n  ratio +[0-9.]+ ', output, re.MULTILINE)
    assert len(ratios) == 4, output


def by_ci(_command, _workshop):
    """scripts/test does it, and CI is scripts/test."""


COMMANDS = {
    'scripts/sppool demo': demo_shows_that_it_works,
    'scripts/setup': by_ci,
    'meson setup build': by_ci,
    'ninja -C build': by_ci,
    'scripts/test': by_ci,
    'scripts/bench': bench_prints,
    'meson install -C build': it_installs,
}


def commands_of_the_readme():
    blocks = re.findall(r'^```sh\n(.*?)^```', text_of('README.md'), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def every_command_is_tried(_workshop):
    assert sorted(commands_of_the_readme()) == sorted(COMMANDS), commands_of_the_readme()


def trial(command):
    def test(workshop):
        COMMANDS[command](command, workshop)
    test.__name__ = command
    return test


if __name__ == '__main__':
    trials = [trial(command) for command in COMMANDS if COMMANDS[command] != by_ci]
    sys.exit(run_tests([every_setting_is_described, every_refusal_is_described,
                        every_discard_is_described, every_counter_is_described,
                        every_command_is_tried, a_program_runs_under_the_pool, *trials], {}))
