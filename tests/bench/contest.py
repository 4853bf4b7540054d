"""The same requests, made in the ways that there are of not opening a connection for each: side by
side, in turn."""

import contextlib
import os
from collections import namedtuple

from bench import servers
from bench.servers import BODIES
from harness import Failure

Contestant = namedtuple('Contestant', 'name server preload keep')

LEGACY = Contestant('legacy', 'origin', False, False)
LIBRARY = Contestant('libsppool', 'origin', True, False)
REWRITTEN = Contestant('rewritten', 'origin', False, True)
CONTESTANTS = [
    LEGACY,
    LIBRARY,
    Contestant('HAProxy', 'haproxy', False, False),
    Contestant('nginx', 'nginx', False, False),
    REWRITTEN,
]
DIRECT = [LEGACY, LIBRARY, REWRITTEN]
SIDECARS = ['HAProxy', 'nginx']

AGAINST = ('legacy', 'rewritten')


def make_requests(bench, contestant, path, address='127.0.0.1', *, port, **limits):
    """What bench-requests says of them. The limits are its options."""
    argv = [bench.program('bench-requests'), *(['--keep'] if contestant.keep else [])]
    for option, value in limits.items():
        argv += [f'--{option}', value]
    argv += [address, port, path]
    return bench.numbers(argv, contestant.preload)


def without_failures(contestant, counted):
    if counted['failed'] or counted['no-port']:
        raise Failure(f'{contestant.name}: requests failed: {counted}')
    return counted


def compete(bench, tables, work, contestants, path, threads, ports=None):
    """The tables, by what bench-requests calls it, get a row of each contestant."""
    ports = ports or bench.ports
    for contestant in bench.in_turn(contestants):
        counted = without_failures(contestant, make_requests(
            bench, contestant, path, port=ports[contestant.server], threads=threads,
            seconds=bench.options.seconds, warm=1))
        counted['requests/s'] = counted['requests'] / counted['seconds']
        for name, table in tables.items():
            table.add(work, contestant.name, counted[name])


def contest(bench):
    """1 KB, of 1 thread and of 4: all contestants."""
    tables = {said: bench.report.table(name, title, unit, AGAINST) for said, name, title, unit in [
        ('requests/s', 'contest', '1 KB responses of a local nginx', 'requests/s'),
        ('microseconds', 'contest-latency', 'one such request', 'us'),
        ('cpu', 'contest-cpu', "the client's processor time for one", 'us'),
    ]}
    for threads, work in (1, '1 thread'), (4, '4 threads'):
        compete(bench, tables, work, CONTESTANTS, '/1k', threads)
    for table in tables.values():
        bench.report.show(table)


@contextlib.contextmanager
def on_one_processor():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def one_processor(bench):
    """Client and servers on one processor. Where they have two, the scheduler decides each time
    whether one has to be woken up on the other, which takes longer than a request does. Here what
    is measured is the work that there is in all, and it is nearly the same in every run."""
    table = bench.report.table('one-processor', 'a request, all on one processor', 'us', AGAINST)
    tables = {'microseconds': table}
    with on_one_processor(), servers.all_of_them() as ports:
        for threads, work in (1, '1k, 1 thread'), (4, '1k, 4 threads'):
            compete(bench, tables, work, CONTESTANTS, '/1k', threads, ports)
        for path in '0', '100k', '10m', 'chunked/1k':
            compete(bench, tables, path, DIRECT, f'/{path}', 1, ports)
    bench.report.show(table)


THREADS = [1, 2, 4, 8, 16, 64]


def threads(bench):
    """1 KB, of more and more threads."""
    table = bench.report.table('threads', '1 KB responses, by threads', 'requests/s', AGAINST)
    for count in THREADS:
        compete(bench, {'requests/s': table}, str(count), DIRECT, '/1k', count)
    bench.report.show(table)


def bodies(bench):
    """Of all sizes, by length and in chunks."""
    table = bench.report.table('bodies', 'by the body, 1 thread', 'requests/s', AGAINST)
    for path in [*BODIES, 'chunked/1k', 'chunked/100k', 'chunked/10m']:
        compete(bench, {'requests/s': table}, path, DIRECT, f'/{path}', 1)
    bench.report.show(table)
