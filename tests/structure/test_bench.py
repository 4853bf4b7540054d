#!/usr/bin/python3
"""Each part of scripts/bench measures what it says: a little of everything, so that every row is
there and every number means something. How long anything takes is nobody's business here.

Speaks TAP. The build directory is $SPPOOL_BUILD, or build.
"""

import json
import os
import re
import subprocess
import sys

from workshop import ROOT, Skip, run_tests

BUILD = os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build'))
LITTLE = ('--runs 1 --seconds 0.02 --share 100 --starts 2 --batches 2 --points 20 --series 5 '
          '--rounds 200 --requests 3 --far-requests 2 --port-requests 1500 --distances 1').split()

ALL = {'legacy', 'libsppool', 'HAProxy', 'nginx', 'rewritten'}
DIRECT = {'legacy', 'libsppool', 'rewritten'}
CROWDS = ['service points with a connection each', 'connections of one service point']
BOTH = {'without', 'with'}

# part: {table: ({work: contestants})}
EXPECTED = {
    'calls': {'calls': dict.fromkeys(
        ['read-file', 'write-file', 'recv-unix', 'open-close-file', 'close-bad-number',
         'socket-connect-close', 'socket-connect-exchange-close'], BOTH)},
    'tracked': {'tracked': dict.fromkeys(['read-1k', 'recv-1k', 'write-1k', 'send-1k'], BOTH)},
    'first-byte': {'first-byte': {'first-byte': BOTH}},
    'start': {'start': {'start-true': BOTH}},
    'memory': {'memory': dict.fromkeys(['memory-alone', 'memory-beside-another'], BOTH)},
    'cycle': {'cycle': dict.fromkeys(['cycle', 'exchange'], BOTH)},
    'contest': {table: dict.fromkeys(['1 thread', '4 threads'], ALL)
                for table in ('contest', 'contest-latency', 'contest-cpu')},
    'one-processor': {'one-processor': {
        **dict.fromkeys(['1k, 1 thread', '1k, 4 threads'], ALL),
        **dict.fromkeys(['0', '100k', '10m', 'chunked/1k'], DIRECT)}},
    'threads': {'threads': dict.fromkeys(['1', '2', '4', '8', '16', '64'], DIRECT)},
    'bodies': {'bodies': dict.fromkeys(
        ['0', '1k', '100k', '10m', 'chunked/1k', 'chunked/100k', 'chunked/10m'], DIRECT)},
    'clients': {'clients': {
        **dict.fromkeys(['python3 requests.get', 'python3 http.client', 'php fsockopen'], ALL),
        'redis-benchmark -k 0': DIRECT}},
    'distance': {f'distance-{path}': {'1 ms': DIRECT} for path in ('1k', '100k')},
    'points': {'points': {f'{name}, SP_KEEPER={keeper}': {'10', '20'}
                          for name in ('points-same', 'points-in-turn') for keeper in '01'}},
    'crowds': {'crowds': {f'{count} {what}': {'libsppool'}
                          for count in (1, 10, 20) for what in CROWDS},
               'crowd-memory': {what: {'libsppool'} for what in CROWDS}},
}
# Few of something may well take no more memory.
MAY_BE_ZERO = ['crowd-memory']


def bench(workshop, *options):
    """What it prints, and bench.json."""
    result = subprocess.run(
        [os.path.join(ROOT, 'scripts', 'bench'), '--build', BUILD, '--output', workshop.directory,
         *LITTLE, *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        timeout=300)
    assert result.returncode == 0 and not result.stderr, result
    with open(workshop.path('bench.json'), encoding='utf-8') as file:
        return result.stdout, json.load(file)


def rows_of(found, name):
    """{work: {contestant: row}}"""
    rows = {}
    for table in found['tables']:
        if table['name'] == name:
            for row in table['rows']:
                rows.setdefault(row['work'], {})[row['contestant']] = row
    assert rows, f'no table {name}: {found}'
    return rows


def expect_table(found, name, expected):
    rows = rows_of(found, name)
    assert {work: set(contestants) for work, contestants in rows.items()} == expected, rows
    for contestants in rows.values():
        for row in contestants.values():
            assert row['median'] > 0 or name in MAY_BE_ZERO, row
            assert row['least'] <= row['median'] <= row['most'], row
            assert len(row['values']) >= 1, row


def skip_without_root(found):
    """Links need root; nothing else is skipped, as scripts/setup installs all programs."""
    for part, why in found['skipped'].items():
        assert part in ('distance', 'ports') and os.geteuid() != 0, found['skipped']
        raise Skip(why)


def part_measures(part):
    def test(workshop):
        output, found = bench(workshop, '--parts', part)
        skip_without_root(found)
        for name, expected in EXPECTED[part].items():
            expect_table(found, name, expected)
            assert all(work in output for work in expected), output
    test.__name__ = f'{part}_is_measured'
    return test


def counts_are_exact(workshop):
    """Without the library the kernel is asked exactly what the program asks it; with it, never for
    another connection."""
    _, found = bench(workshop, '--parts', 'counts')
    calls = rows_of(found, 'system-calls')
    assert calls['cycle']['without']['median'] == 3, calls
    assert calls['exchange']['without']['median'] == 5, calls
    assert 'cycle: connect' not in calls and 'exchange: connect' not in calls, calls
    instructions = rows_of(found, 'instructions')
    for what in 'cycle', 'exchange':
        without, with_it = (instructions[what][name]['median'] for name in ('without', 'with'))
        assert 20 < without < with_it, instructions


def ports_run_out_without_the_library(workshop):
    _, found = bench(workshop, '--parts', 'ports')
    skip_without_root(found)
    rows = {work: {name: row['median'] for name, row in contestants.items()}
            for work, contestants in rows_of(found, 'ports').items()}
    assert rows['answered']['libsppool'] == 1500, rows
    assert rows['EADDRNOTAVAIL']['libsppool'] == 0, rows
    assert rows['EADDRNOTAVAIL']['legacy'] > 0, rows
    assert rows['failed otherwise'] == {'legacy': 0, 'libsppool': 0}, rows
    assert rows['in TIME_WAIT afterwards']['legacy'] > 900, rows
    assert rows['in TIME_WAIT afterwards']['libsppool'] <= 8, rows


def a_link_takes_its_time(workshop):
    """No request is answered sooner than a round trip; a new connection needs another."""
    _, found = bench(workshop, '--parts', 'distance', '--distances', '30')
    skip_without_root(found)
    rows = rows_of(found, 'distance-1k')['30 ms']
    assert rows['rewritten']['least'] >= 30000, rows
    assert rows['libsppool']['least'] >= 30000, rows
    assert rows['legacy']['least'] >= 60000, rows


def targets_are_judged(workshop):
    output, found = bench(workshop, '--parts', 'tracked')
    judged = {target['what']: target for target in found['targets']}
    expected = {f'tracked {call}() of 1 KB, ns more' for call in ('read', 'write')}
    assert set(judged) == expected, judged
    for target in judged.values():
        assert target['met'] == (target['found'] <= target['bound']), target
        what = re.escape(target['what'])
        missed = re.search(rf'^  {what} .* by [0-9.]+ \(', output, re.MULTILINE)
        assert target['met'] == (missed is None), output


def plots_are_drawn(workshop):
    bench(workshop, '--parts', 'contest')
    with open(workshop.path('contest.svg'), encoding='utf-8') as file:
        plot = file.read()
    assert plot.startswith('<?xml') and plot.rstrip().endswith('</svg>'), plot[:200]
    for name in ALL:
        assert f'>{name}<' in plot, name


def an_unknown_part_is_an_error(_workshop):
    result = subprocess.run([os.path.join(ROOT, 'scripts', 'bench'), '--parts', 'nothing'],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 2 and 'no part nothing' in result.stderr, result


if __name__ == '__main__':
    sys.exit(run_tests([
        *map(part_measures, EXPECTED), counts_are_exact, ports_run_out_without_the_library,
        a_link_takes_its_time, targets_are_judged, plots_are_drawn,
        an_unknown_part_is_an_error], {}))
