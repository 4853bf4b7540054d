#!/usr/bin/python3
"""sppool explain says what the statistics say, has advice for every reason, and takes any file.

Speaks TAP. The library is the one of $SPPOOL_BUILD, or build.
"""

import json
import os
import random
import re
import subprocess
import sys

from workshop import ROOT, run_tests

sys.path.insert(0, ROOT)
from command import advice, explain, tables  # noqa: E402  (found through the line above)
from command.common import Failure  # noqa: E402

SPPOOL = os.path.join(ROOT, 'scripts', 'sppool')
BUILD = os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build'))
LIBRARY = os.path.join(os.path.abspath(BUILD), 'shim', 'libsppool.so')

POINT = {'host': 'www.contoso.com', 'address': '10.0.0.1', 'port': 80, 'protocol': 'http',
         'opened': 3, 'reused': 9, 'parked': 1, 'in_use': 2}
STATS = {'version': 1, 'pid': 42, 'program': 'fetch', 'connects': 12, 'opened': 3, 'reused': 9,
         'waited': 0, 'over_limit': 0, 'parked': 8, 'discarded': {'dead': 2},
         'refused': {'busy': 1, 'tls': 30, 'ledger': 1}, 'service_points': [POINT]}

# Three requests on one connection, one of which ends it, and one connection for nothing.
CLIENT = '''
import http.client, socket, threading
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
def serve(connection):
    with connection:
        while b"\\r\\n\\r\\n" in connection.recv(4096):
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
def accept():
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
for headers in ({}, {}, {"Connection": "close"}):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/", headers=headers)
    connection.getresponse().read()
    connection.close()
socket.create_connection(("127.0.0.1", port)).close()
print("done", end="")
'''


def sppool(*arguments, stdin=b''):
    result = subprocess.run([SPPOOL, *arguments], env={**os.environ, 'SPPOOL_LIBRARY': LIBRARY},
                            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b'Traceback' not in result.stderr, result.stderr
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def explained(workshop, *objects):
    files = [workshop.file(f'stats{number}', stats if isinstance(stats, str) else json.dumps(stats))
             for number, stats in enumerate(objects)]
    status, text, errors = sppool('explain', *files)
    assert (status, errors) == (0, ''), (status, errors)
    return text


def refuses(reason, *arguments, stdin=b''):
    status, text, errors = sppool('explain', *arguments, stdin=stdin)
    assert (status, text) == (2, ''), (status, text)
    assert re.fullmatch(f'sppool: .*{reason}.*\n', errors), errors


def expect_lines(text, *patterns):
    """Each pattern matches a line, in this order."""
    lines = iter(text.splitlines())
    for pattern in patterns:
        assert any(re.search(pattern, line) for line in lines), (pattern, text)


def every_reason_has_advice_and_no_other(_workshop):
    for table, advices in ((tables.refusals(), advice.REFUSED),
                           (tables.discards(), advice.DISCARDED)):
        words = [reason.word for reason in table]
        assert sorted(words) == sorted(advices), set(words) ^ set(advices)
        for word, text in advices.items():
            assert re.fullmatch('[A-Zs].*[.?]', text) and len(text) > 20, word


def the_tables_have_every_row(_workshop):
    """Counted by the preprocessor, which is not taken in by comments and line ends."""
    for name, macros, count in (
            ('refusals', ['REFUSAL'], len(tables.refusals())),
            ('discards', ['DISCARD'], len(tables.discards())),
            ('counters', ['COUNTER'], len(tables.counters())),
            ('settings', ['SETTING', 'POINT_SETTING', 'RULE_SETTING'], len(tables.settings()))):
        defines = ''.join(f'#define {macro}(...) ROW\n' for macro in macros)
        text = subprocess.run(['cc', '-E', '-P', '-x', 'c', '-I', ROOT, '-'], check=True,
                              input=f'{defines}#include "pool/{name}.inc"\n', text=True,
                              stdout=subprocess.PIPE).stdout
        assert text.split().count('ROW') == count > 0, (name, count, text)


def what_happened_is_said_most_frequent_first(workshop):
    text = explained(workshop, STATS)
    expect_lines(text, r'^fetch \(pid 42\): 12 connections, 9 of them from the pool \(75 %\)$',
                 '^  3 opened, 8 times parked$',
                 'Why connections were closed, not parked:',
                 '^ +30  tls: TLS: its keys belong to the program$', 'Let the program speak plain',
                 '^ +1  busy: an exchange', 'read each answer', '^ +1  ledger: ', 'SP_SEE_PLUGINS',
                 'Why parked connections were closed without another use:',
                 '^ +2  dead: the peer had closed', 'SP_MAX_IDLE_MS',
                 r'^  www.contoso.com:80 \(10.0.0.1\)  http +3 opened, 9 reused \(75 %\), '
                 '1 parked, 2 in use$')


def what_is_learned_has_a_meaning_and_advice(_workshop):
    for word, texts in advice.LEARNED.items():
        for text in texts:
            assert len(text) > 20 and re.fullmatch('[a-z_]+', word), word
        assert texts[1].endswith('.') and texts[1][0].isupper(), word


def what_is_learned_of_servers_is_said_and_where(workshop):
    assert 'learned' not in explained(workshop, STATS), 'an older library'
    quiet = {**POINT, 'keeps_ms': 0, 'quarantined_ms': 0, 'habit': False}
    assert 'learned' not in explained(workshop, {**STATS, 'service_points': [quiet]})
    points = [{**quiet, 'host': 'a', 'quarantined_ms': 3000},
              {**quiet, 'host': 'b', 'quarantined_ms': 120000, 'keeps_ms': 4000, 'habit': True},
              {**quiet, 'host': 'c', 'keeps_ms': 60000}]
    text = explained(workshop, {**STATS, 'service_points': points})
    expect_lines(text, '^What is learned of servers:$', '^ +2  quarantined: .*failed',
                 r'^ +a:80 \(10.0.0.1\) for 3.0s more; b:80 \(10.0.0.1\) for 2m more$',
                 '^ +See why the server', '^ +1  keeps: the server', r'^ +b:80 \(10.0.0.1\) 4.0s$',
                 'Raise its keep-alive', '^ +1  may_keep: ', r'^ +c:80 \(10.0.0.1\) 60s$',
                 '^Service points:$')
    many = [{**quiet, 'host': f'h{n}', 'keeps_ms': 1000, 'habit': True} for n in range(23)]
    text = explained(workshop, {**STATS, 'service_points': many})
    expect_lines(text, '^ +23  keeps:', 'and 3 more')
    assert 'h19:80 (10.0.0.1) 1.0s' in ' '.join(text.split()), text
    assert 'h20:80 (10.0.0.1) 1.0s' not in ' '.join(text.split()), text


def every_reason_is_explained(workshop):
    stats = {**STATS, 'refused': {reason.word: 1 for reason in tables.refusals()},
             'discarded': {reason.word: 2 for reason in tables.discards()}}
    text = explained(workshop, stats)
    for count, table in ((1, tables.refusals()), (2, tables.discards())):
        for reason in table:
            said = re.escape(f'{count}  {reason.word}: {reason.meaning}'[:60])
            assert re.search(f'^ +{said}', text, re.MULTILINE), (reason, text)
    assert 'does not know' not in text, text


def what_did_not_happen_is_not_mentioned(workshop):
    text = explained(workshop, {**STATS, 'refused': {}, 'discarded': {'dead': 0}})
    assert 'Why' not in text and 'waited' not in text, text
    text = explained(workshop, {**STATS, 'waited': 4, 'over_limit': 2})
    expect_lines(text, r'^  4 connect\(\) calls that waited',
                 r'^  2 connect\(\) calls that were let')
    nothing = {**STATS, 'connects': 0, 'opened': 0, 'reused': 0, 'parked': 0, 'refused': {},
               'discarded': {}, 'service_points': []}
    assert explained(workshop, nothing) == 'fetch (pid 42) made no TCP connection\n'


def one_is_said_in_the_singular(workshop):
    one = {**STATS, 'connects': 1, 'opened': 1, 'reused': 0, 'parked': 1, 'waited': 1,
           'over_limit': 1, 'replayed': 1, 'slipped_in': 1, 'failed': 1, 'quarantined': 1}
    expect_lines(explained(workshop, one), ': 1 connection, 0 of', '^  1 opened, 1 time parked$',
                 r'^  1 connect\(\) call that waited',
                 r'^  1 connect\(\) call that was let .* as it is non-blocking',
                 '^  1 request that was sent once more', '^  1 new connection that took',
                 '^  1 reused connection that failed',
                 '^  1 time that a service point\'s connections were not reused')


def who_connects_once_has_nothing_to_use_again(workshop):
    said = 'connected once: nothing to use again; each process has its own pool'
    once = {**STATS, 'connects': 1, 'opened': 1, 'reused': 0, 'parked': 1, 'discarded': {},
            'refused': {}}
    text = explained(workshop, once, {**once, 'pid': 43})
    assert text.count(said) == 2, text
    for other in ({'parked': 0, 'refused': {'tls': 1}}, {'connects': 2, 'opened': 2},
                  {'connects': 2, 'reused': 1}):
        assert said not in explained(workshop, {**once, **other}), other


def service_points_come_busiest_first(workshop):
    points = [{**POINT, 'host': f'h{n}', 'opened': n, 'reused': 0} for n in range(30)]
    points.append({**POINT, 'host': '::1', 'address': '::1', 'opened': 99, 'reused': 1})
    text = explained(workshop, {**STATS, 'service_points': points})
    expect_lines(text, r'^  \[::1\]:80  .* 99 opened, 1 reused \(1 %\)', '^  h29:80 ', '^  h28:80 ',
                 '^  and 11 more$')
    unused = {**POINT, 'opened': 0, 'reused': 0}
    assert '(-)' in explained(workshop, {**STATS, 'service_points': [unused]})


def words_of_another_version_do_no_harm(workshop):
    stats = {**STATS, 'refused': {'sunspots': 3}, 'news': [1], 'service_points': [
        {**POINT, 'protocol': 'gopher', 'weight': 3}]}
    expect_lines(explained(workshop, stats), '3  sunspots: .*does not know', 'gopher')


def several_files_are_explained_in_turn(workshop):
    text = explained(workshop, STATS, {**STATS, 'program': 'other'})
    expect_lines(text, '^fetch ', '^$', '^other ')


def statistics_are_found_among_other_output(workshop):
    line = json.dumps(STATS, separators=(',', ':'))
    mixed = f'{{"version":3}} [\n{{"version":\n\nhello{line}\n{{"version":1,"cut":{line[:-9]}\n'
    mixed = mixed.replace('{"version":3}', '')
    text = explained(workshop, mixed + line.replace('fetch', 'second') + 'bye\n')
    assert re.findall(r'^(\w+) \(pid', text, re.MULTILINE) == ['fetch', 'second'], text
    assert explained(workshop, json.dumps(STATS, indent=4)).startswith('fetch (pid 42)')


def standard_input_is_read_where_no_file_is_named(_workshop):
    data = json.dumps(STATS).encode()
    assert sppool('explain', stdin=data) == sppool('explain', '-', stdin=data)
    assert sppool('explain', stdin=data)[1].startswith('fetch (pid 42)')


def what_the_library_writes_is_explained(workshop):
    stats = workshop.path('stats')
    for target in (f'--stats={stats}', '--stats'):
        status, output, errors = sppool('run', '--no-status', target, '--', sys.executable, '-c', CLIENT)
        assert (status, errors) == (0, ''), errors
        status, text, errors = sppool('explain', *([stats] if 'stats=' in target else []),
                                      stdin=output.encode())
        assert status == 0, (errors, output)
        expect_lines(text,
                     r'^python3\S* \(pid \d+\): 4 connections, 2 of them from the pool \(50 %\)',
                     '1  asked_to_close: one side', '1  unused: nothing was ever sent',
                     r'127.0.0.1:\d+  http +2 opened, 2 reused \(50 %\)')


def what_is_no_statistics_is_refused_in_one_line(workshop):
    refuses('No such file', workshop.path('none'))
    refuses('Is a directory', workshop.directory)
    refuses('unknown option', '--what')
    for number, text in enumerate((
            '', 'hello', '{}', '[]', '1', 'null', '[' * 100000, '{"version":', '{"version":1}',
            '{"version":2}', '\0\xff{"version":1,', '"\\ud800"', '{"version":' * 3000,
            '{"version":' + '9' * 5000 + '}')):
        refuses('tatistics', workshop.file(f'bad{number}', text))
    refuses('too large', '/dev/zero')
    for name, value in (('version', 2), ('connects', '1'), ('connects', -1), ('opened', True),
                        ('reused', 1.5), ('parked', None), ('refused', []),
                        ('discarded', {'x': 'y'}), ('service_points', {}), ('service_points', [1]),
                        ('service_points', [{**POINT, 'port': 'http'}]),
                        ('service_points', [{**POINT, 'keeps_ms': None}]),
                        ('service_points', [{**POINT, 'quarantined_ms': -1}])):
        refuses('not the statistics of libsppool',
                workshop.file('bad', json.dumps({**STATS, name: value})))


def what_a_name_does_to_a_terminal_is_not_done(workshop):
    stats = {**STATS, 'program': '\x1b[2J\udc9b\n', 'refused': {'\x1b]0;x\x07': 1},
             'service_points': [{**POINT, 'host': 'a\r\x9b', 'protocol': '\u202e'}]}
    text = explained(workshop, stats)
    assert not re.search('[^\n -~]', text), text


def mutated_statistics_give_no_traceback(workshop):
    chance = random.Random(7)
    learned = {**POINT, 'keeps_ms': 4000, 'quarantined_ms': 1000, 'habit': True}
    sound = {**STATS, 'service_points': [learned]}
    whole = json.dumps(sound).encode()
    path = workshop.path('mutant')
    values = [None, -1, 1 << 70, 1.5, 'x', [], {}, [[]], {'a': 1}, True]
    outcomes = [0, 0]
    for number in range(1200):
        if number % 2:
            mutant = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                mutant[chance.randrange(len(mutant))] = chance.choice(b'{}[]",:0919e-\\ \xff\0')
        else:
            stats = json.loads(whole)
            for _ in range(chance.randint(1, 2)):
                place = chance.choice([stats, stats['refused'], stats['service_points'][0]])
                place[chance.choice(list(place))] = chance.choice(values)
                if not isinstance(stats['refused'], dict) or stats['service_points'] != [place]:
                    break
            mutant = json.dumps(stats).encode()
        with open(path, 'wb') as file:
            file.write(mutant)
        try:
            for stats in explain.read_statistics(path):
                '\n'.join(explain.explain(stats))
            outcomes[0] += 1
        except Failure as failure:
            assert failure.status == 2, failure
            outcomes[1] += 1
    assert min(outcomes) > 100, outcomes


TESTS = (
    every_reason_has_advice_and_no_other,
    the_tables_have_every_row,
    what_happened_is_said_most_frequent_first,
    what_is_learned_has_a_meaning_and_advice,
    what_is_learned_of_servers_is_said_and_where,
    every_reason_is_explained,
    what_did_not_happen_is_not_mentioned,
    one_is_said_in_the_singular,
    who_connects_once_has_nothing_to_use_again,
    service_points_come_busiest_first,
    words_of_another_version_do_no_harm,
    several_files_are_explained_in_turn,
    statistics_are_found_among_other_output,
    standard_input_is_read_where_no_file_is_named,
    what_the_library_writes_is_explained,
    what_is_no_statistics_is_refused_in_one_line,
    what_a_name_does_to_a_terminal_is_not_done,
    mutated_statistics_give_no_traceback,
)


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, {}))
