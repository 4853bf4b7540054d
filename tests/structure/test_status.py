#!/usr/bin/python3
"""sppool ps, top, set, flush, explain --pid and metrics: what they make of status pages, which are
written here by hand: good ones, broken ones, and those of liars. Speaks TAP.

What they make of the library's own pages is in tests/preload/test_status.py.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import pages
from pages import HEAD, Other, entry, head_patched, memory, patched, row, shown
from workshop import ROOT, run_tests

from command import explain, metrics, page, ps, tables, top
from command.common import Failure

SPPOOL = os.path.join(ROOT, 'scripts', 'sppool')
NOBODY = 65534
DEADLINE_S = 60  # ends what hangs, decides nothing else
ME = os.getpid()
LIVE = ('ps', 'top', 'metrics')
MUTANTS = 30000 if os.environ.get('SPPOOL_LONG') else 600


def two_rows():
    return [row(1, 'www.contoso.com', '10.0.0.1', 80, opened=3, reused=9, busy=1, tls=4, ledger=4,
                _dead=2),
            row(2, '::1', '::1', 8080, 'unknown', opened=5, reused=0, in_use=0,
                idle_since=pages.now_ms() - 300000)]


def sppool(*arguments, where=None, prefix=(), status=0, **environment):
    """What it prints, and says on stderr. WHERE is SP_STATUS_DIR."""
    env = {'PATH': os.environ['PATH'], **environment}
    if where:
        env['SP_STATUS_DIR'] = where
    result = subprocess.run([*prefix, SPPOOL, *map(str, arguments)], env=env, timeout=DEADLINE_S,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    said = result.stderr.decode()
    assert 'Traceback' not in said and result.returncode == status, result
    return result.stdout.decode(), said


def refuses(reason, *arguments, status=1, **options):
    text, said = sppool(*arguments, status=status, **options)
    assert re.fullmatch(f'sppool: .*{reason}.*\n', said), (reason, said)
    return text


def me(rows=None, **counters):
    return pages.page(ME, two_rows() if rows is None else rows,
                      **{'connects': 17, 'opened': 8, 'reused': 9, **counters})


def look(directory):
    """What the pages there say, and what is said of those that cannot be read."""
    complaints = []
    return list(page.processes(directory, lambda failure: complaints.append(str(failure)))), complaints


# ---- the layout ----

SHOW_LAYOUT = '''
#include <stdio.h>
#include "pool/status_page.h"
#define AT(field) (unsigned long)offsetof(struct status_page, field)
#define IN_ROW(field) (unsigned long)offsetof(struct status_row, field)
int main(void)
{
	printf("%lu %lu %lu %lu %lu %lu %lu %lu\\n", (unsigned long)sizeof(struct status_page),
		AT(defaults), AT(request), AT(answer), AT(words), AT(rows), AT(sequence), AT(made_ms));
	printf("%lu %lu %lu %lu %lu\\n", (unsigned long)sizeof(struct status_row), IN_ROW(settings),
		IN_ROW(protocol), IN_ROW(address), IN_ROW(name));
	printf("%lu %lu %lu %lu\\n", IN_ROW(keeps_until_ms), IN_ROW(quarantined_until_ms),
		IN_ROW(keeps_ms), IN_ROW(is_habit));
	printf("%d %lu %s", STATUS_LAYOUT, (unsigned long)sizeof(STATUS_MAGIC), STATUS_MAGIC);
}
'''


def the_layout_is_that_of_the_header(workshop):
    program = workshop.program(SHOW_LAYOUT, '-I', ROOT)
    said = subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    assert list(map(int, said[:8])) == [
        pages.SIZE, page.HEAD.size, pages.REQUEST_AT, pages.ANSWER_AT, pages.WORDS_AT,
        pages.ROWS_AT, page.SEQUENCE_AT, pages.TIMES_AT], said
    texts = pages.ROW_TEXTS_AT
    assert list(map(int, said[8:13])) == [pages.ROW_SIZE, page.ROW.size, texts, texts + 16,
                                          texts + 80], said
    learned = pages.LEARNED_AT
    assert list(map(int, said[13:17])) == [learned, learned + 8, learned + 16, learned + 20], said
    assert page.LEARNED.size == pages.ROW_SIZE - learned
    assert said[17:] == [str(page.LAYOUT), str(len(page.MAGIC)), 'sppool'], said
    assert page.HEAD.size == pages.MORE_AT and page.MAGIC == b'sppool\n\0'


# ---- what is shown ----


def ps_lists_processes(workshop):
    with shown(workshop.directory, me()), Other(workshop.directory) as other:
        text, said = sppool('ps', where=workshop.directory)
        lines = [line.split() for line in text.splitlines()]
        assert said == '' and len(lines) == 3, (text, said)
        assert lines[0][0] == 'PID' and [line[0] for line in lines[1:]] == \
            sorted([str(ME), str(other.pid)], key=int), text
        mine, = (line for line in lines if line[0] == str(ME))
        assert re.fullmatch(r'\d\d:\d\d:\d\d', mine[2]), text
        assert mine[3:] == ['2', '2', '1', '8', '9', '52', '%', 'on'], text
        listed = json.loads(sppool('ps', '--json', f'--dir={workshop.directory}')[0])
        described, = (process for process in listed if process['pid'] == ME)
        assert described['counters']['connects'] == 17 and described['service_points'] == 2
        assert abs(described['since'] - (time.time() - 60)) < 40, described
    with shown(workshop.directory, pages.page(ME, off=1, since=1)):
        text, _ = sppool('ps', where=workshop.directory)
        assert text.splitlines()[1].split()[-1] == 'off', text
    with shown(workshop.directory, pages.page(ME, since=(1 << 64) - 1)):
        described, = json.loads(sppool('ps', '--json', where=workshop.directory)[0])
        assert abs(described['since'] - time.time()) < DEADLINE_S, 'a time that is still to come'


def no_process_is_no_failure(workshop):
    for where in workshop.directory, workshop.path('none'):
        for command in LIVE:
            text, said = sppool(command, where=where)
            assert said == (f'sppool: no process has a page in {where}\n' if command == 'ps' else '')
        assert json.loads(sppool('ps', '--json', where=where)[0]) == []
        assert json.loads(sppool('top', '--json', where=where)[0])['service_points'] == []


def top_shows_service_points(workshop):
    with shown(workshop.directory, me()):
        text, said = sppool('top', where=workshop.directory)
        assert said == '' and '1 process, 2 service points, 2 in use, 1 parked' in text, text
        assert '8 opened, 9 reused (52 %)' in text, text
        titles, first, second = (line.split() for line in text.splitlines()[-3:])
        assert titles[:3] == ['PID', 'HOST:PORT', 'PROTO'], text
        assert first[:8] == [str(ME), 'www.contoso.com:80', 'http', '2', '1', '0', '3', '9'], text
        assert re.search(r'75 % +1\.[012] +- 9: ledger 4, tls 4, busy 1$', text, re.MULTILINE), text
        assert second[:3] == [str(ME), '[::1]:8080', 'unknown'], text
        assert re.search(r' 0 % +0\.5 +5m 0$', text, re.MULTILINE), text
        # Of one process there is no need to say which.
        text, _ = sppool('top', '--once', ME, where=workshop.directory)
        assert text.splitlines()[-2].startswith('www.contoso.com:80'), text
        found = json.loads(sppool('top', '--json', ME, where=workshop.directory)[0])
        point = found['service_points'][0]
        assert (point['host'], point['refused']) == ('www.contoso.com',
                                                     {'busy': 1, 'tls': 4, 'ledger': 4}), point
        assert point['discarded'] == {'dead': 2} and set(point['settings']) == set(pages.KEYS)


# ---- what is learned of servers ----


def learned_rows():
    """What is known of servers, said by pages: (row, keeps_ms, quarantined_ms at most, habit)."""
    now = pages.now_ms()
    later, far = now + 300000, now + 90000000
    return [
        (row(1, 'nothing'), 0, 0, False),
        (row(2, 'short', keeps_ms=4000, keeps_until=later, habit=1), 4000, 0, True),
        (row(3, 'once', keeps_ms=4000, keeps_until=later), 4000, 0, False),
        (row(4, 'both', keeps_ms=800, keeps_until=later, habit=1, quarantined_until=later, tls=4,
             busy=1), 800, 300000, True),
        (row(5, 'bad', quarantined_until=later), 0, 300000, False),
        (row(6, 'over', keeps_ms=4000, keeps_until=now, habit=1, quarantined_until=now), 0, 0,
         False),
        (row(7, 'liar', keeps_ms=4000, keeps_until=far, habit=1, quarantined_until=far), 0, 0,
         False)]


def what_is_learned_is_shown_for_as_long_as_it_holds(workshop):
    cases = learned_rows()
    with shown(workshop.directory, me([case[0] for case in cases])):
        found = json.loads(sppool('top', '--json', where=workshop.directory)[0])['service_points']
        for point, (_, keeps_ms, quarantined_ms, habit) in zip(
                sorted(found, key=lambda point: point['id']), cases):
            assert (point['keeps_ms'], point['habit']) == (keeps_ms, habit), point
            assert quarantined_ms - 1000 * DEADLINE_S < point['quarantined_ms'] <= quarantined_ms, \
                point
        process, = json.loads(sppool('ps', '--json', where=workshop.directory)[0])
        assert [(learned['host'], learned['keeps_ms'], learned['habit'],
                 learned['quarantined_ms'] > 0) for learned in process['learned']] == [
                     ('short', 4000, True, False), ('once', 4000, False, False),
                     ('both', 800, True, True), ('bad', 0, False, True)], process
        assert set(process['learned'][0]) == {'host', 'address', 'port', 'keeps_ms', 'habit',
                                              'quarantined_ms'}, process
        text, _ = sppool('ps', where=workshop.directory)
        assert text.endswith('on, 2 quarantined\n'), text
        text, _ = sppool('top', ME, where=workshop.directory)
        for name, last in (('nothing', '- 0'), ('short', '- keeps 4.0s'), ('once', '- 0'),
                           ('both', r'- quarantined [45]m; keeps 0.8s; 5: tls 4, busy 1'),
                           ('bad', '- quarantined [45]m'), ('over', '- 0'), ('liar', '- 0')):
            assert re.search(rf'^{name}:80 .* {last}$', text, re.MULTILINE), (name, text)
        found, _ = metrics_of(workshop.directory)
        for name, expected in (('keeps_seconds', {'short': 4, 'once': 4, 'both': 0.8}),
                               ('keeps_habit', {'short': 1, 'once': 0, 'both': 1})):
            assert {dict(labels)['host']: value for (sample, labels), value in found.items()
                    if sample == f'sppool_service_point_{name}'} == expected, (name, found)
        seconds = {dict(labels)['host']: value for (sample, labels), value in found.items()
                   if sample == 'sppool_service_point_quarantined_seconds'}
        assert {host for host, value in seconds.items() if value} == {'both', 'bad'}, seconds
        assert len(seconds) == len(cases) and 300 - DEADLINE_S < seconds['bad'] <= 300, seconds
    with shown(workshop.directory, me([case[0] for case in cases], off=1)):
        text, _ = sppool('ps', where=workshop.directory)
        assert text.endswith(' off\n'), text


def what_is_learned_of_twins_is_one_metric(workshop):
    """Not its sum: their labels are the same, but not their servers."""
    later = pages.now_ms() + 300000
    with shown(workshop.directory, me([
            row(1, keeps_ms=4000, keeps_until=later, habit=1, quarantined_until=later),
            row(2, keeps_ms=800, keeps_until=later, habit=1)])):
        found, _ = metrics_of(workshop.directory)
        values = {name.split('point_')[1]: value for (name, _), value in found.items()
                  if 'point_' in name}
        assert values['keeps_seconds'] == 0.8 and values['keeps_habit'] == 1, values
        assert 0 < values['quarantined_seconds'] <= 300, values


def a_page_whose_rows_end_earlier_says_nothing_of_it(workshop):
    """As that of a library which learns nothing. What looks learned there is the id of the next."""
    short = head_patched(me([]), row_size=pages.LEARNED_AT)
    for number, each in enumerate((row(1, 'one'), row(pages.now_ms() + 300000, 'other'))):
        at = pages.ROWS_AT + number * pages.LEARNED_AT
        short[at:at + pages.LEARNED_AT] = each[:pages.LEARNED_AT]
    with shown(workshop.directory, short):
        found = json.loads(sppool('top', '--json', where=workshop.directory)[0])['service_points']
        assert [(point['host'], point['keeps_ms'], point['quarantined_ms'], point['habit'])
                for point in sorted(found, key=lambda point: point['id'])] == [
                    ('one', 0, 0, False), ('other', 0, 0, False)], found
    # And one that a later library has made longer is read as far as it is known.
    size = pages.ROW_SIZE + 8
    longer = head_patched(me([]), row_size=size, row_count=200)
    longer[pages.ROWS_AT + size:pages.ROWS_AT + size + pages.ROW_SIZE] = learned_rows()[1][0]
    with shown(workshop.directory, longer):
        point, = json.loads(sppool('top', '--json', where=workshop.directory)[0])['service_points']
        assert (point['host'], point['keeps_ms'], point['habit']) == ('short', 4000, True), point


def explain_says_what_is_learned_of_a_page(workshop):
    with shown(workshop.directory, me([case[0] for case in learned_rows()])):
        text, _ = sppool('explain', f'--pid={ME}', where=workshop.directory)
        assert re.search(r'^ +2  quarantined: .*(\n .*)*both:80 .* for [45]m more; bad:80 ', text,
                         re.MULTILINE), text
        assert re.search(r'^ +2  keeps: .*(\n .*)* short:80 \(10.0.0.1\) 4.0s; both:80 '
                         r'\(10.0.0.1\) 0.8s$', text, re.MULTILINE), text
        assert re.search(r'^ +1  may_keep: .*(\n .*)* once:80 ', text, re.MULTILINE), text


def the_protocol_of_a_rule_is_a_word(workshop):
    with open(os.path.join(ROOT, 'pool', 'rules.c'), encoding='utf-8') as file:
        words = re.findall(r'\[PROTO_\w+\] = "(\w+)"', file.read())
    assert words == list(page.PROTOCOLS) == ['auto', 'http', 'raw', 'resp', 'memcached'], words
    rows = [row(number, settings={'proto': number, 'limit': 1}) for number in range(6)]
    with shown(workshop.directory, me(rows)):
        found = json.loads(sppool('top', '--json', where=workshop.directory)[0])
        shown_as = {point['id']: point['settings']['proto'] for point in found['service_points']}
        assert shown_as == {**dict(enumerate(page.PROTOCOLS)), 5: 5}, shown_as
        assert {point['settings']['limit'] for point in found['service_points']} == {1}, found
        process, = json.loads(sppool('ps', '--json', where=workshop.directory)[0])
        assert process['defaults']['proto'] == 'auto', process


def service_points_of_one_name_are_told_apart(workshop):
    with shown(workshop.directory, me([
            row(1, 'localhost', '127.0.0.1', 80, opened=4), row(2, 'localhost', '::1', 80, opened=3),
            row(3, 'localhost', '', 80, opened=2), row(4, 'localhost', '::1', 81, opened=1)])):
        text, _ = sppool('top', ME, '--sort=opened', where=workshop.directory)
        names = sorted(re.split(r' +http ', line)[0] for line in text.splitlines()[-4:])
        assert names == ['localhost (127.0.0.1):80', 'localhost (::1):80', 'localhost:80',
                         'localhost:81'], text


def top_sorts_by_any_column(workshop):
    rows = [row(1, 'c', opened=1, reused=5, in_use=2, parked=0, made=pages.now_ms() - 1000000),
            row(2, 'a', opened=9, reused=0, in_use=0, parked=1, waiting=1, busy=1, idle_since=9),
            row(3, 'b', 'x', 80, 'b', opened=2, reused=6, in_use=1, parked=7, busy=9)]
    orders = {'host': 'abc', 'in-use': 'cba', 'parked': 'bac', 'waiting': 'abc', 'opened': 'abc',
              'reused': 'bca', 'reuse': 'cba', 'refused': 'bac', 'idle': 'abc', 'rate': 'abc',
              'protocol': 'bac', 'pid': 'abc'}
    assert set(orders) == set(top.SORTS)
    with shown(workshop.directory, me(rows)):
        for column, order in orders.items():
            view = top.View(workshop.directory, None, column)
            view.look()
            assert ''.join(line.point.host for line in view.lines) == order, column
    refuses('no column to sort by', 'top', '--sort=what', status=2)


def the_rate_is_that_between_two_looks(workshop):
    with shown(workshop.directory, me([row(1, opened=100, reused=0)])) as fd:
        view = top.View(workshop.directory, None, 'rate')
        view.look()
        assert 5 < view.lines[0].rate < 20, view.lines[0].rate
        view.look()
        assert view.lines[0].rate == 0, view.lines[0].rate
        os.pwrite(fd, row(1, opened=150, reused=7), pages.ROWS_AT)
        view.look()
        assert view.lines[0].rate > 1, view.lines[0].rate
        os.pwrite(fd, row(2, opened=3, reused=0), pages.ROWS_AT)
        view.look()  # another service point
        assert 0 < view.lines[0].rate < 1, view.lines[0].rate


def service_points_beyond_the_rows_are_counted(workshop):
    data = struct.pack('=I', 300)
    mine = me()
    mine[pages.TIMES_AT + 16:pages.TIMES_AT + 20] = data
    with shown(workshop.directory, mine):
        assert '298 service points cannot be shown' in sppool('top', where=workshop.directory)[0]


def explain_says_of_a_page_what_it_says_of_statistics(workshop):
    stats = {'version': 1, 'pid': ME, 'program': 'python3', 'connects': 17, 'opened': 8,
             'reused': 9, 'parked': 0, 'waited': 3, 'discarded': {'dead': 2}, 'refused': {'tls': 4},
             'service_points': [{'host': 'www.contoso.com', 'address': '10.0.0.1', 'port': 80,
                                 'protocol': 'http', 'opened': 3, 'reused': 9, 'parked': 1,
                                 'in_use': 2}]}
    with open('/proc/self/comm', encoding='ascii') as file:
        stats['program'] = file.read().strip()
    data = me(two_rows()[:1], waited=3, discarded={'dead': 2}, refused={'tls': 4})
    with shown(workshop.directory, data):
        for arguments in ([f'--pid={ME}', f'--dir={workshop.directory}'],
                          ['--pid', ME, '--dir', workshop.directory]):
            assert sppool('explain', *arguments)[0].splitlines() == list(explain.explain(stats))
        refuses('--pid or a FILE', 'explain', '--pid', ME, 'x', status=2)
    refuses('has no status page', 'explain', '--pid', ME, where=workshop.directory)


# ---- metrics ----

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9.]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
NAMES = r'sppool(_[a-z]+)+'


def samples_of(text):
    """{(name, labels): value} of what keeps to the format, which this is strict about."""
    assert text.endswith('\n') and '\r' not in text
    families, found, name = set(), {}, None
    lines = iter(text[:-1].split('\n'))
    for line in lines:
        if line.startswith('#'):
            name, meaning = re.fullmatch(rf'# HELP ({NAMES}) ([^\n]+)', line).group(1, 3)
            assert re.fullmatch(r'([^\\]|\\\\|\\n)+', meaning), line
            kind, = re.fullmatch(rf'# TYPE {name} (counter|gauge)', next(lines)).groups()
            assert name not in families, f'{name} in two places'
            assert name.endswith('_total') == (kind == 'counter'), line
            families.add(name)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample and sample[1] == name, line
        labels = tuple(LABEL.findall(sample[2] or ''))
        assert (name, labels) not in found, f'twice: {line}'
        found[name, labels] = float(sample[3])
    return found


def metrics_of(directory):
    text, said = sppool('metrics', where=directory)
    found = samples_of(text)
    # Another reader has the same.
    from prometheus_client.parser import text_string_to_metric_families
    others = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
              for family in text_string_to_metric_families(text) for sample in family.samples}
    mine = {(name, tuple(sorted((label, unescaped(value)) for label, value in labels))): value
            for (name, labels), value in found.items()}
    assert mine == others, set(mine.items()) ^ set(others.items())
    return found, said


def unescaped(value):
    return re.sub(r'\\(.)', lambda match: '\n' if match[1] == 'n' else match[1], value)


def metrics_keep_to_the_format(workshop):
    with shown(workshop.directory, me(refused={'tls': 4}, discarded={'dead': 2})), \
            Other(workshop.directory) as other:
        found, said = metrics_of(workshop.directory)
        assert said == '' and found['sppool_processes', ()] == 2, found
        text, _ = sppool('metrics', where=workshop.directory)
        assert '_parked_total close() calls' in text and '_opened_total Real connections that' in text, text
        with open('/proc/self/comm', encoding='ascii') as file:
            process = ('pid', str(ME)), ('program', file.read().strip())
        point = ('host', 'www.contoso.com'), ('port', '80'), ('protocol', 'http')
        for name, labels, value in (
                ('pool_on', (), 1), ('opened_total', (), 8), ('connects_total', (), 17),
                ('refused_total', [('reason', 'tls')], 4),
                ('discarded_total', [('reason', 'dead')], 2),
                ('service_point_reused_total', point, 9),
                ('service_point_connections_in_use', point, 2),
                ('service_point_refused_total', (*point, ('reason', 'ledger')), 4)):
            assert found[f'sppool_{name}', (*process, *labels)] == value, (name, found)
        started, = (value for (name, labels), value in found.items()
                    if name == 'sppool_start_time_seconds' and labels == process)
        assert abs(started - (time.time() - 60)) < 40, started
        assert any(('pid', str(other.pid)) in labels for _, labels in found), found


def labels_are_escaped(workshop):
    names = ['a"b\\c\nd\x1b[2J', '\u202eabc\u00e9', 'x} 1\nsppool_processes 7', b'\xff\xfe', '']
    rows = [row(number, name, protocol='"\\') for number, name in enumerate(names, 1)]
    with shown(workshop.directory, me(rows)):
        found, _ = metrics_of(workshop.directory)
        hosts = {dict(labels)['host'] for name, labels in found if 'in_use' in name}
        assert hosts == {r'a\"b\\c\\nd\\x1b[2J', '\\\\u202eabc\u00e9',
                         r'x} 1\\nsppool_processes 7', r'\\xff\\xfe', ''}, hosts


def service_points_of_one_name_are_one_metric(workshop):
    """As there may be with other local addresses: no sample may come twice."""
    with shown(workshop.directory, me([row(1, opened=2), row(2, address='10.0.0.2', opened=3)])):
        found, _ = metrics_of(workshop.directory)
        assert [value for (name, _), value in found.items()
                if name == 'sppool_service_point_opened_total'] == [5], found


def metrics_are_written_as_a_whole(workshop):
    target = workshop.file('out/sppool.prom', 'old')
    before = os.stat(target).st_ino
    os.chmod(target, 0o600)
    with shown(workshop.directory, me()):
        for name, mode in ('sppool.prom', 0o600), ('new.prom', 0o644):
            path = workshop.path(f'out/{name}')
            assert sppool('metrics', '--output', path, where=workshop.directory) == ('', '')
            with open(path, encoding='utf-8') as file:
                assert samples_of(file.read())['sppool_processes', ()] == 1
            assert stat.S_IMODE(os.lstat(path).st_mode) == mode, name
    assert os.stat(target).st_ino != before, 'written in place'
    assert set(os.listdir(workshop.path('out'))) == {'sppool.prom', 'new.prom'}


def metrics_replace_nothing_but_a_file(workshop):
    workshop.file('file', 'old')
    os.symlink('file', workshop.path('link'))
    os.symlink('nowhere', workshop.path('dangling'))
    os.mkfifo(workshop.path('fifo'))
    os.mkdir(workshop.path('directory'))
    names = sorted(os.listdir(workshop.directory))
    for name in 'link', 'dangling', 'fifo', 'directory':
        path = workshop.path(name)
        before = os.lstat(path)
        refuses(f'{path}: not a regular file', 'metrics', f'--output={path}')
        assert os.lstat(path).st_ino == before.st_ino, name
    assert os.readlink(workshop.path('link')) == 'file'
    with open(workshop.path('file'), encoding='ascii') as file:
        assert file.read() == 'old'
    path = workshop.path('none/x')
    refuses(f'{path}: No such file or directory', 'metrics', f'--output={path}')
    refuses('not a file', 'metrics', f'--output={workshop.directory}/', status=2)
    assert sorted(os.listdir(workshop.directory)) == names


# ---- requests ----


def asked(workshop, other, *arguments, **options):
    """What sppool prints for a request that is served, and the text that the process got."""
    other.serve_one()
    output = sppool(*arguments, where=workshop.directory, **options)
    expected, number, text = other.served()
    assert expected == number, 'not the answer\'s number and one more'
    return (*output, text)


def requests_are_what_the_library_understands(workshop):
    with Other(workshop.directory) as other:
        for arguments, text, printed in (
                (['set', other.pid, 'www.contoso.com:80', 'limit=4', 'idle=-1'],
                 'set www.contoso.com:80 limit=4 idle=-1',
                 'www.contoso.com:80: limit=4 idle=-1, for 7 service points'),
                (['set', other.pid, '[::1]:*', 'off=1'], 'set [::1]:* off=1', 'for 7'),
                (['set', other.pid, 'default', 'limit=4'], 'default limit=4', 'still to come'),
                (['set', other.pid, 'max-service-points=100'], 'cap 100',
                 'max-service-points=100: 7 service points gone'),
                (['flush', other.pid], 'flush *:*', '7 parked connections closed'),
                (['flush', '--wait=30', other.pid, '10.0.0.0/8:80'], 'flush 10.0.0.0/8:80',
                 '7 parked')):
            output, said, got = asked(workshop, other, *arguments)
            assert got == text and said == '' and printed in output, (output, said, got)
            assert output.startswith(f'{other.pid}: '), output


def what_the_library_says_is_said_and_escaped(workshop):
    with Other(workshop.directory) as other:
        for arguments in (['set', other.pid, 'bad:80', 'limit=4'], ['flush', other.pid, 'bad:*']):
            output, said, _ = asked(workshop, other, *arguments, status=1)
            assert (output, said) == ('', f'sppool: {other.pid}: no: \\x1b[2J\n'), said


def a_request_that_is_not_served_is_said_to_be_late(workshop):
    with Other(workshop.directory) as other:
        for command in (['set', other.pid, 'a:80', 'limit=1'], ['flush', other.pid]):
            text = refuses('will be tried at the program\'s next '
                           r'connect\(\) or close\(\).*SP_KEEPER=1' if command[0] == 'set' else
                           'earlier request was not carried out yet, so nothing was asked',
                           *command, '--wait=0.1', status=3, where=workshop.directory)
            assert text == ''
        other.serve_one()
        assert other.served() == ('1', '1', 'set a:80 limit=1'), 'the first was written over'
        # That one served, the next has its turn.
        assert asked(workshop, other, 'flush', other.pid)[2] == 'flush *:*'


def two_who_ask_at_once_have_their_turns(workshop):
    with Other(workshop.directory) as other:
        commands = [[SPPOOL, 'set', f'--wait={DEADLINE_S}', f'--dir={workshop.directory}',
                     str(other.pid), f'host{number}:80', 'limit=1'] for number in range(4)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                   for command in commands]
        served = []
        for _ in commands:
            other.serve_one()
            served.append(other.served())
        for number, process in enumerate(running):
            output, _ = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 0 and f'host{number}:80' in output, output
        assert sorted(text for _, _, text in served) == \
            [f'set host{number}:80 limit=1' for number in range(4)], served
        assert [number for _, number, _ in served] == ['1', '2', '3', '4'], served


def one_who_keeps_the_lock_keeps_nobody_for_ever(workshop):
    import fcntl
    with Other(workshop.directory) as other, open(workshop.path(str(other.pid)), 'rb') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refuses('somebody else is asking', 'flush', other.pid, '--wait=0', status=3,
                where=workshop.directory)


def a_process_that_ends_is_not_waited_for(workshop):
    with Other(workshop.directory) as other:
        asking = subprocess.Popen([SPPOOL, 'flush', f'--wait={DEADLINE_S}', str(other.pid)],
                                  env={**os.environ, 'SP_STATUS_DIR': workshop.directory},
                                  stderr=subprocess.PIPE, text=True)
        with open(f'/proc/{other.pid}/fd/{other.fd}', 'rb', buffering=0) as memory_of_it:
            while os.pread(memory_of_it.fileno(), 4, pages.REQUEST_AT) == bytes(4):
                time.sleep(0.01)
        other.process.kill()
        other.process.wait()
        _, said = asking.communicate(timeout=DEADLINE_S)
        assert (asking.returncode, said) == (1, f'sppool: {other.pid}: has ended\n'), said


def numbers_go_round(workshop):
    data = patched(me(), pages.REQUEST_AT, 0xffffffff)
    with shown(workshop.directory, patched(data, pages.ANSWER_AT, 0xffffffff)) as fd:
        refuses('not carried out yet', 'flush', ME, '--wait=0', status=3, where=workshop.directory)
        number, length = struct.unpack('=2I', os.pread(fd, 8, pages.REQUEST_AT))
        assert number == 0 and os.pread(fd, length, pages.REQUEST_AT + 8) == b'flush *:*'


def a_pool_that_is_off_is_not_asked(workshop):
    with shown(workshop.directory, pages.page(ME, off=1)) as fd:
        refuses('turned its pool off', 'flush', ME, where=workshop.directory)
        assert os.pread(fd, 4, pages.REQUEST_AT) == bytes(4)


def usage_errors_are_2(workshop):
    for arguments in (
            ['set'], ['set', 1], ['set', 1, 'a:80'], ['set', 1, 'a:80', 'limit'],
            ['set', 1, 'limit=4'], ['set', 1, 'max-service-points=x'],
            ['set', 1, 'max-service-points=4', 'limit=4'], ['set', 'x', 'a:80', 'limit=4'],
            ['set', -1, 'a:80', 'limit=4'], ['set', 1, 'a:80', 'limit=4; *:*'],
            ['set', 1, 'a:80;b:80', 'limit=4'], ['set', 1, 'a:80', 'limit=4\n'],
            ['set', 1, 'a:80#', 'limit=4'], ['set', 1, 'a:80', '=\x1b'], ['set', 1, '', 'a=1'],
            ['set', 1, 'a' * 600 + ':80', 'limit=4'], ['flush'], ['flush', 1, 'a:80', 'b:80'],
            ['flush', 1, '--wait=-1'], ['flush', 1, '--wait=nan'], ['flush', 1, '--wait=1e9'],
            ['flush', 0], ['flush', '1' * 20], ['top', 1, 2], ['top', '--interval=x'],
            ['top', '--what'], ['ps', 1], ['metrics', 1], ['ps', '--dir'], ['explain', '--pid=x']):
        refuses('', *arguments, status=2, where=workshop.directory)
    for value in '-1', 'x', '', '1.5':
        refuses(f'max-service-points={value}: not a number from 0 to 1000000', 'set', 1,
                f'max-service-points={value}', status=2, where=workshop.directory)
    for arguments in (['--requests'], ['--requests=0'], ['--requests', 'x'], ['what']):
        _, said = sppool('demo', *arguments, status=2)
        assert said == 'demo: usage: sppool demo [--requests N], N from 1 to 999999\n', said


def a_process_without_a_page_is_said_to_have_none(workshop):
    with subprocess.Popen(['true']) as ended:
        pass
    for command in (['top', '{}'], ['flush', '{}'], ['set', '{}', 'default', 'limit=1'],
                    ['explain', '--pid={}']):
        for pid, reason in ((ended.pid, 'there is no such process'), (ME, 'has no status page')):
            for where in workshop.directory, workshop.path('none'):
                refuses(f'{pid}: {reason}', *(word.format(pid) for word in command), where=where)


# ---- pages that are none ----


def lengthened(data, by):
    return bytes(data) + bytes(by)


BROKEN = {
    'too short': lambda data: data[:100],
    'is corrupt: its size': lambda data: lengthened(data, 64),
    'corrupt: its size$': lambda data: data[:pages.ROWS_AT],
    'too long': lambda data: head_patched(lengthened(data, 1 << 24), size=pages.SIZE + (1 << 24)),
    'is empty': lambda data: bytes(len(data)),
    'not one of libsppool': lambda data: b'sppool 2' + data[8:],
    'another version .layout 2.': lambda data: head_patched(data, layout=2),
    'that of process 1$': lambda data: head_patched(data, pid=1),
    'corrupt: its counts': lambda data: head_patched(data, counter_count=1001),
    'its counts$': lambda data: head_patched(data, setting_count=0xffffffff),
    'counts': lambda data: head_patched(data, row_count=0xffffffff),
    'corrupt: the size of its rows': lambda data: head_patched(data, row_size=600),
    'the size of its rows$': lambda data: head_patched(data, row_size=0),
    'corrupt: its parts overlap': lambda data: head_patched(data, rows_offset=64),
    'parts overlap, or': lambda data: head_patched(data, row_count=257),
    'overlap, or do not fit': lambda data: head_patched(data, words_offset=pages.SIZE - 8),
    'overlap.* fit': lambda data: head_patched(data, request_offset=0xfffffffc),
    'do not fit into it': lambda data: head_patched(data, answer_offset=pages.REQUEST_AT),
    'parts .* fit into it': lambda data: head_patched(data, words_size=0xffffffff),
    'fit into it$': lambda data: head_patched(data, counter_count=900),
    'not aligned': lambda data: head_patched(data, answer_offset=pages.WORDS_AT - 201,
                                             request_offset=pages.REQUEST_AT - 1 + 1,
                                             words_offset=pages.WORDS_AT),
    'corrupt: its words': lambda data: patched(data, pages.WORDS_AT, 0x1b, '=B'),
    'its words$': lambda data: head_patched(data, words_size=100),
    'the same word twice': lambda data: data.replace(b'opened\0', b'reused\0', 1),
    'always being written': lambda data: head_patched(data, sequence=1),
}


def broken_pages_are_refused_in_one_line(workshop):
    for reason, broken in BROKEN.items():
        if reason == 'not aligned':
            continue  # below
        with shown(workshop.directory, broken(me())):
            for command in (['top', ME], ['flush', ME]):
                if reason != 'always being written' or command[0] == 'top':
                    refuses(f'{ME}: .*{reason}', *command, where=workshop.directory)
    data = head_patched(me(), words_offset=pages.WORDS_AT + 2, words_size=2040)
    with shown(workshop.directory, head_patched(data, answer_offset=pages.ANSWER_AT + 2)):
        refuses('not aligned', 'flush', ME, where=workshop.directory)


def a_broken_page_hides_no_other(workshop):
    with shown(workshop.directory, me()[:4000]), Other(workshop.directory) as other:
        for command in LIVE:
            text = refuses(f'{ME}: its status page is corrupt', command, status=0,
                           where=workshop.directory)
            assert f'{other.pid}' in text, text
        assert 'sppool_unreadable_pages 1\n' in text, text


def what_is_no_page_is_refused_in_one_line(workshop):
    """Other files that the process has open; none of them is read, or waited for."""
    reader, writer = os.pipe()
    os.mkfifo(workshop.path('fifo'))  # to open it anew would be to wait for somebody who writes
    hung = os.open(workshop.path('fifo'), os.O_RDONLY | os.O_NONBLOCK)
    plain = os.open(workshop.file('plain', 'x' * 200000), os.O_RDONLY)
    directory, null = os.open('/', os.O_RDONLY), os.open('/dev/null', os.O_RDONLY)
    with memory(me(), seals=0) as unsealed, memory(me(), seals=pages.fcntl.F_SEAL_GROW) as half:
        for fd in reader, writer, hung, plain, directory, null, unsealed, half:
            with entry(workshop.directory, fd):
                refuses(f'{ME}: (what its entry names is no status page'
                        '|cannot be looked into: its entry names no file)', 'top', ME,
                        where=workshop.directory)
    for fd in reader, writer, hung, plain, directory, null:
        os.close(fd)


def what_is_no_entry_is_refused_in_one_line(workshop):
    path = workshop.path(str(ME))
    with shown(workshop.directory, me()) as fd:
        for text in ('x', 'sppool 1 x\n', f'sppool 2 {fd}\n', f'sppool 1 {fd}', 'sppool 1 -1\n',
                     f'sppool 1 {fd}\nsppool 1 {fd}\n', f'sppool 1 ../../1/fd/{fd}\n',
                     'sppool 1 ' + '9' * 5000 + '\n', ''):
            with entry(workshop.directory, fd, text=text):
                refuses(f'{ME}: its entry in .* is (not of libsppool\'s making|empty)', 'top', ME,
                        where=workshop.directory)
        os.symlink(workshop.file('elsewhere', f'sppool 1 {fd}\n'), path)
        refuses(f'{ME}: its entry in .*', 'top', ME, where=workshop.directory)
        os.unlink(path)
        for make in os.mkfifo, os.mkdir:
            make(path)
            refuses(f'{ME}: its entry in .* not of libsppool\'s making', 'top', ME,
                    where=workshop.directory)
            (os.rmdir if make == os.mkdir else os.unlink)(path)


def what_a_text_does_to_a_terminal_is_not_done(workshop):
    rows = [row(1, '\x1b[2J\x9b\r\nx', b'\x1b]0;x\x07', 80, b'\xff\x00\x1b', tls=3),
            row(2, b'\x1b' * 256, b'\xf0\x9f' * 32, 80, '\u202ea\n')]
    with shown(workshop.directory, me(rows)):
        for command in (['top'], ['top', '--json'], ['ps'], ['explain', '--pid', ME], ['metrics']):
            text, said = sppool(*command, where=workshop.directory)
            assert said == '' and not re.search('[^\n -~]', text), (command, text)
    with Other(workshop.directory, '\x1b[2J\n\udcff'):
        text, _ = sppool('ps', where=workshop.directory)
        assert not re.search('[^\n -~]', text) and r'\x1b[2J\n\xff' in text, text


def what_is_always_being_written_is_left_out(workshop):
    rows = [*two_rows(), *(row(n, sequence=2 * n + 1) for n in range(10, 250))]
    with shown(workshop.directory, me(rows)):
        text, said = sppool('top', where=workshop.directory)
        assert said == '' and '[::1]:8080' in text and 'www.contoso.com' in text, text
        found, _ = look(workshop.directory)
        assert (len(found[0].points), found[0].unread) == (2, 240), found


def a_row_is_never_seen_half_written(workshop):
    """A thread writes opened, then reused, always alike; a reader sees them alike."""
    with shown(workshop.directory, me([row(1, opened=0, reused=0)])) as fd:
        done = threading.Event()

        def write():
            at, number, sequence = pages.ROWS_AT, 0, 2
            while not done.is_set():
                number, sequence = number + 1, sequence + 2
                os.pwrite(fd, struct.pack('=I', sequence - 1), at)
                os.pwrite(fd, struct.pack('=Q', number), at + 32)
                time.sleep(0)
                os.pwrite(fd, struct.pack('=Q', number), at + 40)
                os.pwrite(fd, struct.pack('=I', sequence), at)
                time.sleep(0.0005)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = [point for _ in range(300) for process in look(workshop.directory)[0]
                    for point in process.points]
        finally:
            done.set()
            writer.join()
        assert len(seen) > 10 and seen[-1].opened > seen[0].opened, len(seen)
        assert all(point.opened == point.reused for point in seen)


def any_bytes_give_one_line_or_a_page(workshop):
    """A fuzzer with a fixed seed, in this process: no exception but Failure, and no terminal
    sequence, from whatever stands in a page."""
    chance = random.Random(11)
    numbers = [0, 1, 2, 7, 8, 63, 255, 256, 1000, 1 << 16, pages.ROWS_AT, pages.SIZE,
               1 << 31, (1 << 31) - 1, (1 << 32) - 1]
    whole = me([*two_rows(), row(3, 'x' * 256, 'y' * 64, 1, 'z' * 16)])
    page.ATTEMPTS, pause, page.PAUSE_S = 2, page.PAUSE_S, 0
    outcomes = {'read': 0, 'refused': 0}
    try:
        with memory(whole) as fd, entry(workshop.directory, fd):
            for number in range(MUTANTS):
                os.pwrite(fd, mutant(chance, whole, numbers, number), 0)
                outcomes['refused' if read_all(workshop.directory) else 'read'] += 1
        for number in range(MUTANTS // 10):
            data = mutant(chance, whole, numbers, number)[:chance.randrange(len(whole))]
            with shown(workshop.directory, data):
                assert read_all(workshop.directory), 'a page that was cut off was read'
    finally:
        page.ATTEMPTS, page.PAUSE_S = 20, pause
    assert min(outcomes.values()) > MUTANTS // 6, outcomes


def mutant(chance, whole, numbers, number):
    """Numbers of the head or of rows that are wild, or bytes that are, up to all of them."""
    data = bytearray(whole)
    kind = number % 5
    if kind == 0:
        for _ in range(chance.randint(1, 3)):
            struct.pack_into('=I', data, chance.choice(list(HEAD.values())), chance.choice(numbers))
    elif kind == 1:
        start = chance.choice([0, 64, pages.WORDS_AT, pages.ROWS_AT])
        for _ in range(chance.randint(1, 20)):
            data[start + chance.randrange(1000)] = chance.randrange(256)
    elif kind == 2:
        for _ in range(chance.randint(1, 10)):
            at = chance.choice([pages.TIMES_AT, pages.TIMES_AT, pages.MORE_AT, pages.ROWS_AT])
            at += 8 * chance.randrange(2 if at == pages.TIMES_AT else 240)
            struct.pack_into('=Q', data, at, chance.getrandbits(64) >> chance.randrange(64))
    elif kind == 3:
        # All of it would be 256 wild rows, for which there is no time each time.
        end = len(data) if number % 500 == 3 else pages.ROWS_AT + 8 * pages.ROW_SIZE
        data[pages.MORE_AT:end] = chance.randbytes(end - pages.MORE_AT)
        data[pages.WORDS_AT:pages.ROWS_AT] = whole[pages.WORDS_AT:pages.ROWS_AT]
    else:
        start = chance.randrange(len(data) - 3000)
        data[start:start + 3000] = chance.randbytes(3000)
    return data


def read_all(directory):
    """Shows what is there in every way; returns the complaints."""
    found, complaints = look(directory)
    shown_text = metrics.exposition(found, len(complaints))
    samples_of(shown_text)
    view = top.View(directory, None, 'rate')
    view.look()
    lines = [*view.summary(), *view.table(), *(' '.join(ps.row_of(process)) for process in found)]
    json.dumps([view.described(), [ps.described(process) for process in found]])
    for process in found:
        lines += map(explain.printable, explain.explain(explain.statistics_of(process)))
    bad = [line for line in (*lines, *complaints) if not line.isprintable()]
    assert not bad, bad
    return complaints


# ---- the directory ----


def leftovers_are_removed_and_nothing_else(workshop):
    with subprocess.Popen(['true']) as ended:
        pass
    closed = 900
    kept = ['text', '01', '0', 'x1', '99999999999', f'{ended.pid}.tmp']
    for name in kept:
        workshop.file(name, 'sppool 1 3\n')
    os.mkdir(workshop.path('sub'))
    for command in LIVE:
        workshop.file(str(ended.pid), 'sppool 1 3\n')
        workshop.file(str(ME), f'sppool 1 {closed}\n')
        workshop.file('9999999999', '')
        sppool(command, where=workshop.directory)
        assert sorted(os.listdir(workshop.directory)) == sorted([*kept, 'sub']), command
    # sppool run does not look into living processes.
    workshop.file(str(ended.pid), 'sppool 1 3\n')
    workshop.file(str(ME), f'sppool 1 {closed}\n')
    library = workshop.library('int nothing;')
    sppool('run', 'true', where=workshop.directory, SPPOOL_LIBRARY=library)
    assert set(kept) | {str(ME)} < set(os.listdir(workshop.directory))
    assert str(ended.pid) not in os.listdir(workshop.directory)


def an_entry_that_took_the_place_of_a_leftover_stays(workshop):
    """The process began anew (execve), after its old entry was read."""
    with page.open_directory(workshop.directory) as directory:
        workshop.file(str(ME), 'sppool 1 3\n')
        old = os.stat(workshop.path(str(ME)))
        os.rename(workshop.file('new', 'sppool 1 4\n'), workshop.path(str(ME)))
        directory.remove(ME, old)
        assert os.path.exists(workshop.path(str(ME)))
        directory.remove(ME, os.stat(workshop.path(str(ME))))
        assert not os.path.exists(workshop.path(str(ME)))


def a_page_that_is_only_being_made_is_waited_for(workshop):
    """The entry comes before the page, and is empty at first."""
    page.ATTEMPTS = 10000
    try:
        with memory(bytes(pages.SIZE)) as fd, entry(workshop.directory, fd, text='') as path:
            def finish():
                with open(path, 'w', encoding='ascii') as file:
                    file.write(f'sppool 1 {fd}\n')
                os.pwrite(fd, me(), 0)
            timer = threading.Timer(0.05, finish)
            timer.start()
            found, complaints = look(workshop.directory)
            timer.join()
            assert len(found) == 1 and not complaints, complaints
    finally:
        page.ATTEMPTS = 20


def only_the_users_own_directory_is_used(workshop):
    os.chmod(workshop.directory, 0o755)
    os.symlink(workshop.directory, workshop.path('link'))
    workshop.file('file', '')
    shared = workshop.path('shared')
    os.mkdir(shared)
    os.chmod(shared, 0o770)
    cases = [('link', 'not a directory, or a symbolic link'), ('link/', 'symbolic link'),
             ('file', 'not a directory'), ('shared', 'others may write to it'),
             ('x\0y', 'null byte')]
    library = workshop.library('int nothing;')
    show = ['sh', '-c', 'echo "<$SP_STATUS_DIR>"']
    for name, reason in cases:
        path = workshop.path(name)
        if '\0' not in path:
            for command in LIVE:
                refuses(reason, command, where=path)
            text, said = sppool('run', *show, where=path, SPPOOL_LIBRARY=library)
            assert text == '<>\n' and re.fullmatch(f'sppool: no status page.*{reason}.*\n', said), said
    if os.geteuid() != 0:
        return
    os.mkdir(workshop.path('other'), 0o700)
    os.chown(workshop.path('other'), NOBODY, NOBODY)
    refuses(f'belongs to user {NOBODY}', 'ps', where=workshop.path('other'))
    text, _ = sppool('run', *show, where=workshop.path('other'), SPPOOL_LIBRARY=library)
    assert text == '<>\n', text
    # Root may look at another's, but there, too, at the pages of that user only.
    with shown(workshop.path('other'), me()):
        refuses('not of libsppool\'s making', 'ps', '--dir', workshop.path('other'), status=0)
        os.chown(workshop.path(f'other/{ME}'), NOBODY, NOBODY)
        refuses('belongs to user 0', 'ps', '--dir', workshop.path('other'), status=0)
    as_nobody = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
    refuses('belongs to user 0', 'ps', where=workshop.directory, prefix=as_nobody)
    refuses('belongs to user 0', 'ps', f'--dir={workshop.directory}', prefix=as_nobody)


def who_may_not_be_looked_into_is_left_alone(workshop):
    as_user = []
    if os.geteuid() == 0:
        as_user = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
        os.chown(workshop.directory, NOBODY, NOBODY)
    path = workshop.file('1', 'sppool 1 3\n')
    if as_user:
        os.chown(path, NOBODY, NOBODY)
    for command in LIVE:
        refuses('1: may not be looked into', command, status=0, where=workshop.directory,
                prefix=as_user)
    assert os.path.exists(path)


def run_makes_the_directory_and_the_others_find_it(workshop):
    library = workshop.library('int nothing;')
    show = ['sh', '-c', 'echo "$SP_STATUS_DIR"']
    made = workshop.path('sppool')
    here = {'SPPOOL_LIBRARY': library, 'XDG_RUNTIME_DIR': workshop.directory}
    assert sppool('run', '--no-status', *show, **here) == ('\n', '') and not os.path.exists(made)
    assert sppool('run', '--no-status', *show, where='/x', **here) == ('\n', '')
    assert sppool('run', *show, **here) == (f'{made}\n', '')
    found = os.stat(made)
    assert stat.S_IMODE(found.st_mode) == 0o700 and found.st_uid == os.geteuid(), found
    with shown(made, me()):
        assert str(ME) in sppool('ps', **here)[0]
    named = workshop.path('named')
    assert sppool('run', *show, where=named, **here) == (f'{named}\n', '')
    assert stat.S_IMODE(os.stat(named).st_mode) == 0o700
    # The library complains of one that is relative; it is none that may be made here.
    assert sppool('run', *show, where='relative', **here) == ('relative\n', '')
    assert not os.path.exists('relative')
    for runtime in (workshop.path('none'), 'relative', '', None):
        where = {'XDG_RUNTIME_DIR': runtime} if runtime is not None else {}
        _, said = sppool('ps', **where)
        assert not said or said.endswith(f'in /tmp/sppool-{os.geteuid()}\n'), said


# ---- in a terminal ----


class Terminal:
    """A tmux of its own, in which a shell runs one command after the other."""

    def __init__(self, workshop, columns=110, lines=20):
        self.socket = workshop.path('tmux')
        self.environment = {**os.environ, 'SP_STATUS_DIR': workshop.directory, 'TMUX': '',
                            'LC_ALL': 'C.UTF-8'}
        self.tmux('-f', '/dev/null', 'new-session', '-d', '-x', columns, '-y', lines,
                  '-c', workshop.directory, 'sh')
        self.wait_for('^[#$]')

    def tmux(self, *arguments):
        return subprocess.run(['tmux', '-S', self.socket, *map(str, arguments)], check=True,
                              env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE_S).stdout.decode()

    def screen(self):
        return self.tmux('capture-pane', '-p')

    def state(self):
        """(alternate screen, cursor shown)"""
        return self.tmux('display-message', '-p', '#{alternate_on} #{cursor_flag}').strip()

    def wait_for(self, pattern):
        end = time.monotonic() + DEADLINE_S
        while not re.search(pattern, text := self.screen(), re.MULTILINE):
            if time.monotonic() > end:
                raise AssertionError(f'no {pattern!r} in\n{text}')
            time.sleep(0.05)
        return text

    def type(self, *keys):
        self.tmux('send-keys', *keys)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.tmux('kill-server')


def top_lives_in_a_terminal_and_leaves_it_as_it_was(workshop):
    with shown(workshop.directory, me()) as fd, Terminal(workshop) as terminal:
        terminal.type('stty -g > before; echo be\'\'gun', 'Enter')
        terminal.wait_for('^begun')
        for number, (keys, status) in enumerate(((['q'], 0), (['C-c'], 130), (['C-d'], 0))):
            terminal.type(f'{SPPOOL} top --interval=0.2; echo ended {number} $?', 'Enter')
            text = terminal.wait_for(r'\.contoso\.com:80')
            assert terminal.state() == '1 0' and 'begun' not in text, text
            if number == 0:
                in_life(terminal, fd)
            terminal.type(*keys)
            text = terminal.wait_for(f'^ended {number} {status}$')
            assert terminal.state() == '0 1' and 'begun' in text, text
            assert 'contoso' not in text, text
        terminal.type('stty -g | cmp - before && echo sa\'\'me', 'Enter')
        terminal.wait_for('^same')


def in_life(terminal, fd):
    """It looks again, sorts by other columns, and follows the size of the terminal."""
    text = terminal.screen()
    assert text.splitlines()[0].startswith('sppool top - '), text
    assert text.index('www.contoso.com') < text.index('[::1]:8080'), text
    os.pwrite(fd, row(1, 'new.contoso.com', opened=3), pages.ROWS_AT)
    terminal.wait_for(r'new\.contoso\.com:80')
    assert 'www' not in terminal.screen(), terminal.screen()
    terminal.type('s', 's')
    text = terminal.wait_for('sorted by host')
    assert text.index('[::1]:8080') < text.index('new.contoso.com'), text
    terminal.tmux('resize-window', '-x', '40', '-y', '5')
    terminal.wait_for(r'^ *PID HOST:PORT.{0,26}\+$')
    text = terminal.screen()
    assert 'new.contoso' not in text and len(text.splitlines()) <= 5, text
    terminal.type('Down')
    terminal.wait_for('new.contoso')
    terminal.tmux('resize-window', '-x', '110', '-y', '20')
    terminal.wait_for('REFUSED$')


def a_signal_leaves_the_terminal_as_it_was(workshop):
    with shown(workshop.directory, me()), Terminal(workshop) as terminal:
        for number, signal_number in enumerate((signal.SIGTERM, signal.SIGHUP, signal.SIGINT)):
            terminal.type(f'stty -g > before; sh -c "echo \\$\\$ > pid; exec {SPPOOL} top"; '
                          f'echo ended {number} $?; stty -g | cmp - before && echo same {number}',
                          'Enter')
            terminal.wait_for(r'www\.contoso\.com:80')
            with open(workshop.path('pid'), encoding='ascii') as file:
                os.kill(int(file.read()), signal_number)
            terminal.wait_for(f'^ended {number} {128 + signal_number}$')
            terminal.wait_for(f'^same {number}$')
            assert terminal.state() == '0 1'


def a_process_that_ends_ends_top_of_it(workshop):
    with Other(workshop.directory) as other, Terminal(workshop) as terminal:
        terminal.type(f'{SPPOOL} top --interval=0.1 {other.pid}; echo ended $?', 'Enter')
        terminal.wait_for('other:80')
        other.process.kill()
        other.process.wait()
        text = terminal.wait_for('^ended 0$')
        assert f'sppool: {other.pid} has ended\n' in text, text
        assert terminal.state() == '0 1'


def output_that_cannot_be_written_is_an_error(workshop):
    with shown(workshop.directory, me()), open('/dev/full', 'w', encoding='ascii') as full:
        for command in (['ps'], ['ps', '--json'], ['top'], ['top', '--json'], ['metrics']):
            result = subprocess.run([SPPOOL, *command], stdout=full, stderr=subprocess.PIPE,
                                    env={**os.environ, 'SP_STATUS_DIR': workshop.directory})
            assert (result.returncode, result.stderr) == (
                1, b'sppool: No space left on device\n'), result


TESTS = (
    the_layout_is_that_of_the_header,
    ps_lists_processes,
    no_process_is_no_failure,
    top_shows_service_points,
    what_is_learned_is_shown_for_as_long_as_it_holds,
    what_is_learned_of_twins_is_one_metric,
    a_page_whose_rows_end_earlier_says_nothing_of_it,
    explain_says_what_is_learned_of_a_page,
    the_protocol_of_a_rule_is_a_word,
    service_points_of_one_name_are_told_apart,
    top_sorts_by_any_column,
    the_rate_is_that_between_two_looks,
    service_points_beyond_the_rows_are_counted,
    explain_says_of_a_page_what_it_says_of_statistics,
    metrics_keep_to_the_format,
    labels_are_escaped,
    service_points_of_one_name_are_one_metric,
    metrics_are_written_as_a_whole,
    metrics_replace_nothing_but_a_file,
    requests_are_what_the_library_understands,
    what_the_library_says_is_said_and_escaped,
    a_request_that_is_not_served_is_said_to_be_late,
    two_who_ask_at_once_have_their_turns,
    one_who_keeps_the_lock_keeps_nobody_for_ever,
    a_process_that_ends_is_not_waited_for,
    numbers_go_round,
    a_pool_that_is_off_is_not_asked,
    usage_errors_are_2,
    a_process_without_a_page_is_said_to_have_none,
    broken_pages_are_refused_in_one_line,
    a_broken_page_hides_no_other,
    what_is_no_page_is_refused_in_one_line,
    what_is_no_entry_is_refused_in_one_line,
    what_a_text_does_to_a_terminal_is_not_done,
    what_is_always_being_written_is_left_out,
    a_row_is_never_seen_half_written,
    any_bytes_give_one_line_or_a_page,
    leftovers_are_removed_and_nothing_else,
    an_entry_that_took_the_place_of_a_leftover_stays,
    a_page_that_is_only_being_made_is_waited_for,
    only_the_users_own_directory_is_used,
    who_may_not_be_looked_into_is_left_alone,
    run_makes_the_directory_and_the_others_find_it,
    top_lives_in_a_terminal_and_leaves_it_as_it_was,
    a_signal_leaves_the_terminal_as_it_was,
    a_process_that_ends_ends_top_of_it,
    output_that_cannot_be_written_is_an_error,
)

NEEDS = {
    top_lives_in_a_terminal_and_leaves_it_as_it_was: 'tmux',
    a_signal_leaves_the_terminal_as_it_was: 'tmux',
    a_process_that_ends_ends_top_of_it: 'tmux',
}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
