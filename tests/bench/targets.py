"""What is aimed at, and by how much it is missed: on 2 processors and loopback, with nginx, 1 KB
and 4 threads, unless it says otherwise."""

from collections import namedtuple

from bench.calls import WHERE
from bench.contest import SIDECARS
from command.table import aligned

Target = namedtuple('Target', 'what sense bound find')
LEAST, MOST = 'at least', 'at most'


def _of(name, work, contestant, other):
    return lambda report: report.ratio(name, work, contestant, other)


def _of_best_sidecar(report):
    ratios = [report.ratio('contest', '4 threads', 'libsppool', sidecar) for sidecar in SIDECARS]
    return None if None in ratios else min(ratios)


def _added(name, work):
    return lambda report: report.added(name, work)


def _found(name, work, contestant='with'):
    return lambda report: report.median(name, work, contestant)


def _many_threads(report):
    many, eight = (report.median('threads', count, 'libsppool') for count in ('64', '8'))
    return many / eight if many and eight else None


TARGETS = [
    Target('throughput, of the rewritten client', LEAST, 0.95,
           _of('contest', '4 threads', 'libsppool', 'rewritten')),
    Target('throughput, of the legacy client', LEAST, 3.5,
           _of('contest', '4 threads', 'libsppool', 'legacy')),
    Target('throughput, of the best sidecar', LEAST, 2, _of_best_sidecar),
    Target('20 ms round trip: time of a request, of the rewritten client', MOST, 1.02,
           _of('distance-1k', '20 ms', 'libsppool', 'rewritten')),
    Target('a reused cycle, ns', MOST, 1500, _found('cycle', 'cycle')),
    Target('a reused cycle, system calls', MOST, 6, _found('system-calls', 'cycle')),
    Target('untracked read(), ns more', MOST, 5, _added('calls', 'read-file')),
    Target('untracked close(), ns more', MOST, 5, _added('calls', 'close-bad-number')),
    Target('tracked read() of 1 KB, ns more', MOST, 100, _added('tracked', 'read-1k')),
    Target('tracked write() of 1 KB, ns more', MOST, 100, _added('tracked', 'write-1k')),
    Target('10 MB, throughput of the legacy client', LEAST, 0.99,
           _of('bodies', '10m', 'libsppool', 'legacy')),
    Target('64 threads, throughput of 8', LEAST, 0.9, _many_threads),
    Target('start, us more than an empty library', MOST, 100, _added('start', 'start-true')),
    Target('a parked connection, bytes of user memory', MOST, 1024,
           lambda report: report.median('crowd-memory', WHERE['together'], 'libsppool')),
]


def judge(report):
    """Says, of the targets that were measured, which are met."""
    rows = []
    for target in TARGETS:
        value = target.find(report)
        if value is None:
            continue
        met = value >= target.bound if target.sense == LEAST else value <= target.bound
        missed = abs(value - target.bound)
        report.targets.append({'what': target.what, 'sense': target.sense, 'bound': target.bound,
                               'found': value, 'met': met})
        rows.append([target.what, f'{target.sense} {target.bound:g}', f'{value:.4g}',
                     '' if met else f'by {missed:.3g} ({100 * missed / target.bound:.0f} %)'])
    if rows:
        report.say('\ntargets:')
        for line in aligned(['<', '<target', 'found', '<missed'], rows):
            report.say(f'  {line}')
