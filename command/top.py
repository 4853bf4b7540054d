"""`sppool top`: the service points of running programs, live."""

import json
import os
import sys
import time
from collections import Counter

from command.common import REQUIRED, USAGE, Failure, parse_options, say
from command.page import Ended, process_of, processes
from command.request import counted, pid_of, seconds_of
from command.screen import Screen
from command.table import aligned, cell, clock_time, host_and_port, percent, span

SUMMARY = 'watch the service points of running programs'
HELP = '''\
Usage: sppool top [--once] [--json] [--sort=COLUMN] [--interval=SECONDS] [--dir=DIR] [PID]

Shows the service points (hosts and ports) of all processes under the pool, or of one: what is
spoken there, how many connections are in use and parked, how many connect() calls wait at the
limit, how many connections were opened, how many connect() calls were given a parked one, how many
connections were closed instead of being parked and why (most frequent first; sppool explain
--pid=PID says more), since when nothing has been in use, and connect() calls per second. In the
last column there is also for how much longer nothing is reused, as a reused connection has failed
(quarantined), and beyond which time nothing is, as the server closes what is idle (keeps).

  --once               print it once; so it does where standard output is no terminal. The rate is
                       then that since the service point was made
  --json               the same with all that is known, as JSON
  --sort=COLUMN        pid, host, protocol, in-use, parked, waiting, opened, reused, reuse, refused,
                       idle or rate (which is the default)
  --interval=SECONDS   how often to look (2)
  --dir=DIR            the directory of status pages, where it is not SP_STATUS_DIR or the usual one

Keys: q ends it, s sorts by the next column, the arrow keys and the page keys move through a table
that is longer than the screen. With a PID it also ends when that process does.'''

INTERVAL_S = 2
INTERVAL_MIN_S = 0.1
REASONS_SHOWN = 3

# Columns by which can be sorted, largest first but for texts: {name: key of a line}
SORTS = {
    'rate': lambda line: (-line.rate, -line.uses),
    'pid': lambda line: line.process.pid,
    'host': lambda line: (line.point.host, line.point.port),
    'protocol': lambda line: line.point.protocol,
    'in-use': lambda line: -line.point.in_use,
    'parked': lambda line: -line.point.parked,
    'waiting': lambda line: -line.point.waiting,
    'opened': lambda line: -line.point.opened,
    'reused': lambda line: -line.point.reused,
    'reuse': lambda line: -line.point.reused / max(line.uses, 1),
    'refused': lambda line: -line.refused,
    'idle': lambda line: -line.idle,
}

# Short, as a terminal has 80 columns
TITLES = ('PID', '<HOST:PORT', '<PROTO', 'USE', 'PARK', 'WAIT', 'OPENED', 'REUSED', 'REUSE',
          'RATE', 'IDLE', '<REFUSED')


class Line:
    """A service point of a process, at the time NOW."""

    def __init__(self, process, point, now):
        self.process, self.point = process, point
        self.uses = point.opened + point.reused
        self.refused = sum(point.refused.values())
        self.idle = max(now - point.idle_since, 0) if point.idle_since else 0
        self.rate = self.uses / max(now - point.since, 1)

    def name(self):
        return self.process.pid, self.point.host, self.point.port

    def cells(self, many, with_address):
        point = self.point
        host = f'{point.host} ({point.address})' if with_address else point.host
        where = f'{cell(host)}:{point.port}' if with_address else host_and_port(host, point.port)
        cells = [where, cell(point.protocol),
                 *map(str, (point.in_use, point.parked, point.waiting, point.opened,
                            point.reused)),
                 percent(point.reused, self.uses), f'{self.rate:.1f}',
                 span(self.idle) if point.idle_since else '-', self.why()]
        return [str(self.process.pid), *cells] if many else cells

    def has_name(self):
        return self.point.address not in ('', self.point.host)

    def why(self):
        """What keeps connections from being reused now, and what has kept others."""
        point = self.point
        now = []
        if point.quarantined_ms:
            now.append(f'quarantined {span(point.quarantined_ms / 1000)}')
        if point.habit:
            now.append(f'keeps {span(point.keeps_ms / 1000)}')
        return '; '.join([*now, self.refusals()] if self.refused or not now else now)

    def refusals(self):
        """How many were closed, not parked, and the most frequent reasons."""
        reasons = sorted(self.point.refused.items(), key=lambda item: (-item[1], item[0]))
        if len(reasons) < 2:
            return ''.join(f'{count} {word}' for word, count in reasons) or '0'
        shown = ', '.join(f'{word} {count}' for word, count in reasons[:REASONS_SHOWN])
        return f'{self.refused}: {shown}' + (', ...' if reasons[REASONS_SHOWN:] else '')

    def described(self):
        """As JSON has it."""
        described = self.point._asdict()
        for name in 'since', 'idle_since':
            described[name] = round(described[name], 3)
        return {'pid': self.process.pid, 'program': self.process.program, **described,
                'rate': round(self.rate, 3)}


class View:
    """What there is to be seen, look by look."""

    def __init__(self, directory, pid, sort):
        self.directory, self.pid, self.sort = directory, pid, sort
        self.before = {}  # {service point: (uses, when)}
        self.found, self.lines, self.complaints, self.now = [], [], [], 0

    def look(self):
        self.complaints = []
        self.now = time.time()
        if self.pid:
            self.found = [process_of(self.directory, self.pid)]
        else:
            self.found = list(processes(self.directory, self.complaints.append))
        self.lines = [Line(process, point, self.now)
                      for process in self.found for point in process.points]
        self.take_rates()
        self.put_in_order()

    def take_rates(self):
        """Connects per second since the last look; since it was made, where it is new."""
        clock = time.monotonic()
        seen = {}
        for line in self.lines:
            key = line.process.pid, line.point.id
            uses, when = self.before.get(key, (0, clock))
            if uses <= line.uses and when < clock:
                line.rate = (line.uses - uses) / (clock - when)
            seen[key] = line.uses, clock
        self.before = seen

    def put_in_order(self):
        self.lines.sort(key=lambda line: (SORTS[self.sort](line), line.process.pid, line.point.host,
                                          line.point.port))

    def sort_by_next(self):
        names = list(SORTS)
        self.sort = names[(names.index(self.sort) + 1) % len(names)]
        self.put_in_order()

    def summary(self):
        opened = sum(process.counters.get('opened', 0) for process in self.found)
        reused = sum(process.counters.get('reused', 0) for process in self.found)
        points = sum(process.service_points for process in self.found)
        yield (f'sppool top - {clock_time(self.now, self.now)}  '
               f'{len(self.found)} process{"" if len(self.found) == 1 else "es"}, '
               f'{counted(points, "service point")}, '
               f'{sum(line.point.in_use for line in self.lines)} in use, '
               f'{sum(process.parked for process in self.found)} parked')
        yield (f'{opened} opened, {reused} reused ({percent(reused, opened + reused)}), '
               f'{sum(line.rate for line in self.lines):.1f}/s; sorted by {self.sort}')
        for process in self.found:
            if process.off:
                yield f'{process.pid} ({cell(process.program)}) has turned its pool off'
        if points > len(self.lines):
            yield f'{counted(points - len(self.lines), "service point")} cannot be shown'

    def table(self):
        many = len(self.found) != 1 or not self.pid
        titles = TITLES if many else TITLES[1:]
        # An address that a rule sets apart goes by the name that it has, as the others do.
        names = Counter(line.name() for line in self.lines)
        return list(aligned(titles, [line.cells(many, names[line.name()] > 1 and line.has_name())
                                     for line in self.lines], ' '))

    def described(self):
        return {'time': round(self.now, 3),
                'service_points': [line.described() for line in self.lines]}


def main(arguments):
    options, others = parse_options(arguments, {'--once': True, '--json': True, '--sort': REQUIRED,
                                                '--interval': REQUIRED, '--dir': REQUIRED},
                                    anywhere=True)
    if len(others) > 1:
        raise Failure('top takes one PID at most', USAGE)
    sort = options.get('--sort', 'rate')
    if sort not in SORTS:
        raise Failure(f'{sort}: no column to sort by; there are {", ".join(SORTS)}', USAGE)
    interval = seconds_of(options.get('--interval', str(INTERVAL_S)), '--interval')
    view = View(options.get('--dir'), pid_of(others[0]) if others else None, sort)
    if '--json' in options or '--once' in options or not sys.stdout or not os.isatty(1):
        print_once(view, '--json' in options)
        return 0
    view.look()  # what is wrong from the start is said on the plain screen
    try:
        return watch(view, max(interval, INTERVAL_MIN_S))
    except Ended:
        say(f'{view.pid} has ended')
        return 0


def print_once(view, as_json):
    view.look()
    for complaint in view.complaints:
        say(complaint)
    if as_json:
        print(json.dumps(view.described()))
        return
    print('\n'.join([*view.summary(), '', *view.table()]))


def watch(view, interval):
    """Until somebody ends it, or the process has; returns the exit status."""
    with Screen() as screen:
        first = 0
        after = time.monotonic() + interval
        while True:
            first = show(view, screen, first)
            key = screen.key(after)
            if key in ('q', 'end'):
                return screen.status
            if key == 's':
                view.sort_by_next()
            first += {'up': -1, 'down': 1, 'page up': -screen.rows // 2,
                      'page down': screen.rows // 2}.get(key, 0)
            if time.monotonic() >= after:
                view.look()
                after = time.monotonic() + interval


def show(view, screen, first):
    """Draws the table from its line FIRST on; returns which one that is, of those there are."""
    above = [*view.summary(), *(cell(complaint) for complaint in view.complaints[:2]), '']
    title, *lines = view.table()
    room = max(screen.rows - len(above) - 1, 1)
    first = max(min(first, len(lines) - room), 0)
    screen.draw([*above, title, *lines[first:first + room]], inverse=len(above))
    return first
