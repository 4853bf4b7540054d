"""`sppool ps`: which processes run under the pool."""

import json
import time

from command.common import REQUIRED, USAGE, Failure, parse_options, say
from command.directory import location
from command.page import processes
from command.table import aligned, cell, clock_time, percent

SUMMARY = 'list the processes under the pool'
HELP = '''\
Usage: sppool ps [--json] [--dir=DIR]

Lists the processes that run under the pool and have a status page: those started by sppool run, or
with SP_STATUS_DIR, once they have connected somewhere. For each: since when, how many service
points it has (hosts and ports), how many of its connections are in use and parked, how many
connections it opened, how many connect() calls were given a parked one, and whether its pool is on.
A pool turns itself off where it cannot keep its promise: see libsppool(7). Of service points that
are quarantined, as a reused connection has failed, nothing is reused for a while.

  --json      all that is known, as JSON
  --dir=DIR   the directory of status pages, where it is not SP_STATUS_DIR or the usual one

What is left in that directory of processes that have ended is removed.'''

TITLES = ('PID', '<PROGRAM', '<SINCE', 'POINTS', 'IN-USE', 'PARKED', 'OPENED', 'REUSED', 'REUSE',
          '<POOL')


def main(arguments):
    options, others = parse_options(arguments, {'--json': True, '--dir': REQUIRED}, anywhere=True)
    if others:
        raise Failure('ps takes no arguments', USAGE)
    complaints = []
    found = list(processes(options.get('--dir'), complaints.append))
    for complaint in complaints:
        say(complaint)
    if '--json' in options:
        print(json.dumps([described(process) for process in found]))
        return
    print('\n'.join(aligned(TITLES, map(row_of, found))))
    if not found and not complaints:
        say(f'no process has a page in {location(options.get("--dir"))}')


def uses(process):
    """(opened, reused) of a process."""
    return process.counters.get('opened', 0), process.counters.get('reused', 0)


def in_use(process):
    return sum(point.in_use for point in process.points)


def row_of(process):
    opened, reused = uses(process)
    return [str(process.pid), cell(process.program), clock_time(process.since, time.time()),
            *map(str, (process.service_points, in_use(process), process.parked, opened, reused)),
            percent(reused, opened + reused), state(process)]


def state(process):
    quarantined = sum(point.quarantined_ms > 0 for point in process.points)
    if process.off or not quarantined:
        return 'off' if process.off else 'on'
    return f'on, {quarantined} quarantined'


def described(process):
    """As JSON has it."""
    return {'pid': process.pid, 'program': process.program, 'since': round(process.since, 3),
            'off': process.off, 'service_points': process.service_points,
            'max_service_points': process.max_service_points, 'in_use': in_use(process),
            'parked': process.parked, 'max_parked': process.max_parked,
            'defaults': process.defaults, 'counters': process.counters,
            'discarded': process.discarded, 'refused': process.refused,
            'learned': [learned(point) for point in process.points
                        if point.keeps_ms or point.quarantined_ms]}


def learned(point):
    """What is known of the server, as sppool top --json has it for each service point."""
    return {name: getattr(point, name)
            for name in ('host', 'address', 'port', 'keeps_ms', 'quarantined_ms', 'habit')}
