"""`sppool explain`: why connections were not reused, and what can be done about it."""

import json
import re
import sys
import textwrap

from command import advice, tables
from command.common import REQUIRED, USAGE, Failure, parse_options, printable
from command.page import process_of
from command.request import counted, pid_of
from command.table import percent, span

SUMMARY = 'say why connections were not reused'
HELP = '''\
Usage: sppool explain [FILE...]
       sppool explain --pid=PID [--dir=DIR]

Reads what a program wrote with SP_STATS (or sppool run --stats=FILE), and says how many connections
came from the pool, why the others did not, what can be done about that, what is learned of servers, and
which hosts and ports it is about. Without FILE, or with -, it reads standard input, in which the
statistics may stand among other output:

  sppool run --stats=- -- PROGRAM | sppool explain

  --pid=PID   of a program that is running, from its status page (see sppool ps)
  --dir=DIR   the directory of status pages, where it is not SP_STATUS_DIR or the usual one

Exit status: 0; 1 where the status page cannot be read; 2 where there are no statistics in FILE, or
for a usage error.'''

SIZE_MAX = 1 << 24
START = '{"version":'  # of the statistics, as the library writes them
POINTS_SHOWN = 20


def main(arguments):
    options, files = parse_options(arguments, {'--pid': REQUIRED, '--dir': REQUIRED},
                                   anywhere=True)
    if '--pid' in options:
        if files:
            raise Failure('explain takes --pid or a FILE', USAGE)
        process = process_of(options.get('--dir'), pid_of(options['--pid']))
        print('\n'.join(map(printable, explain(statistics_of(process)))))
        return
    first = True
    for name in files or ['-']:
        for stats in read_statistics(name):
            if not first:
                print()
            first = False
            print('\n'.join(map(printable, explain(stats))))


# Reading


def read_statistics(name):
    """The JSON objects that libsppool wrote into this file; raises Failure where there are none."""
    label = 'standard input' if name == '-' else name
    try:
        if name == '-':
            data = read_all(sys.stdin.buffer, label) if sys.stdin else b''
        else:
            with open(name, 'rb') as file:
                data = read_all(file, label)
    except (OSError, ValueError) as error:
        raise Failure(f'{label}: {getattr(error, "strerror", error)}', USAGE) from None
    found = list(objects_in(data.decode(errors='replace')))
    if not found:
        raise Failure(f'{label}: no statistics of libsppool in it (see SP_STATS)', USAGE)
    for stats in found:
        complaint = complaint_of(stats)
        if complaint:
            raise Failure(f'{label}: not the statistics of libsppool: {complaint}', USAGE)
    return found


def read_all(file, label):
    data = bytearray()
    while chunk := file.read(1 << 16):
        data += chunk
        if len(data) > SIZE_MAX:
            raise Failure(f'{label}: too large for statistics', USAGE)
    return data


def objects_in(text):
    """The statistics in a text: all of it, or what begins as they do, anywhere in a line."""
    try:
        whole = json.loads(text)
        return [whole] if isinstance(whole, dict) else []
    except (ValueError, RecursionError):
        return [stats for line in text.split('\n') for stats in objects_in_line(line)]


def objects_in_line(line):
    at = line.find(START)
    while at >= 0:
        try:
            stats, end = json.JSONDecoder().raw_decode(line, at)
            yield stats
        except (ValueError, RecursionError):
            end = at + len(START)  # cut, or somebody else's
        at = line.find(START, end)


def complaint_of(stats):
    """What is wrong with the statistics, or None. Members that are not known are left alone."""
    if stats.get('version') != 1:
        return 'its version is not 1'
    for name in ('connects', 'opened', 'reused', 'parked'):
        if not is_count(stats.get(name)):
            return f'{name} is no count'
    for name in ('discarded', 'refused'):
        if not isinstance(stats.get(name), dict) or not all(map(is_count, stats[name].values())):
            return f'{name} is no list of counts'
    if not isinstance(stats.get('service_points'), list):
        return 'service_points is no list'
    for point in stats['service_points']:
        if not isinstance(point, dict):
            return 'a service point is no object'
        for name in ('port', 'opened', 'reused', 'parked', 'in_use'):
            if not is_count(point.get(name)):
                return f'{name} of a service point is no count'
        for name in ('keeps_ms', 'quarantined_ms'):  # which older libraries do not have
            if not is_count(point.get(name, 0)):
                return f'{name} of a service point is no count'
    return None


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def statistics_of(process):
    """What SP_STATS would have said of a process that shows its status page."""
    counters = {name: 0 for name in ('connects', 'opened', 'reused', 'parked')}
    return {'version': 1, 'pid': process.pid, 'program': process.program, **counters,
            **process.counters, 'discarded': process.discarded, 'refused': process.refused,
            'service_points': [point._asdict() for point in process.points]}


# Explaining


def explain(stats):
    """The lines that explain these statistics, which may be a file's or a live process's."""
    yield from summary(stats)
    yield from reasons('Why connections were closed, not parked:',
                       stats['refused'], tables.refusals(), advice.REFUSED)
    yield from reasons('Why parked connections were closed without another use:',
                       stats['discarded'], tables.discards(), advice.DISCARDED)
    yield from learned(stats['service_points'])
    yield from service_points(stats['service_points'])


def summary(stats):
    connects, reused = stats['connects'], stats['reused']
    who = f'{stats.get("program", "a program")} (pid {stats.get("pid", "unknown")})'
    if not connects:
        yield f'{who} made no TCP connection'
        return
    yield (f'{who}: {counted(connects, "connection")}, {reused} of them from the pool '
           f'({percent(reused, connects)})')
    yield f'  {stats["opened"]} opened, {counted(stats["parked"], "time")} parked'
    if connects == 1 and stats['parked']:
        yield '  connected once: nothing to use again; each process has its own pool'
    # What only some have; their names say little, their meanings begin with "connect() calls".
    for counter in tables.counters():
        if counter.word not in ('connects', 'opened', 'reused', 'parked'):
            value = stats.get(counter.word)
            if is_count(value) and value:
                yield f'  {value} {counter.meaning if value != 1 else in_singular(counter.meaning)}'


def in_singular(meaning):
    """As said of one call, where the table speaks of calls that were, or did, something."""
    what, _, rest = meaning.partition(' that ')
    what = re.sub(r'(call|request|connection|time)s$', r'\1', what)
    return f'{what} that {re.sub("^were ", "was ", rest).replace("they are", "it is")}'


def reasons(title, counts, table, advices):
    """The reasons that occurred, most frequent first."""
    counts = {word: count for word, count in counts.items() if count}
    if not counts:
        return
    meanings = dict(table)
    yield ''
    yield title
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        meaning = meanings.get(word, 'a reason that this sppool does not know')
        yield from wrapped(f'{counts[word]:8}  ', f'{word}: {meaning}')
        yield from wrapped(' ' * 10, advices.get(word, 'Ask an sppool of the library\'s version.'))


def learned(points):
    """What the library has found out about servers, and what it therefore does."""
    found = {word: [] for word in advice.LEARNED}
    for point in points:
        keeps, quarantined = point.get('keeps_ms', 0), point.get('quarantined_ms', 0)
        if quarantined:
            found['quarantined'].append(f'{name_of(point)} for {span(quarantined / 1000)} more')
        if keeps:
            found['keeps' if point.get('habit') else 'may_keep'].append(
                f'{name_of(point)} {span(keeps / 1000)}')
    if not any(found.values()):
        return
    yield ''
    yield 'What is learned of servers:'
    for word, where in found.items():
        if where:
            meaning, what_to_do = advice.LEARNED[word]
            more = [f'and {len(where) - POINTS_SHOWN} more'] if len(where) > POINTS_SHOWN else []
            yield from wrapped(f'{len(where):8}  ', f'{word}: {meaning}')
            yield from wrapped(' ' * 10, '; '.join([*where[:POINTS_SHOWN], *more]))
            yield from wrapped(' ' * 10, what_to_do)


def wrapped(start, text):
    return textwrap.wrap(text, 100, initial_indent=start, subsequent_indent=' ' * 10,
                         break_long_words=False, break_on_hyphens=False)


def service_points(points):
    if not points:
        return
    yield ''
    yield 'Service points:'
    points = sorted(points, key=lambda point: (-point['opened'] - point['reused'], name_of(point)))
    shown = points[:POINTS_SHOWN]
    width = max(len(name_of(point)) for point in shown)
    for point in shown:
        uses = point['opened'] + point['reused']
        yield (f'  {name_of(point):{width}}  {str(point.get("protocol", "?")):8} '
               f'{point["opened"]} opened, {point["reused"]} reused '
               f'({percent(point["reused"], uses)}), {point["parked"]} parked, '
               f'{point["in_use"]} in use')
    if len(points) > len(shown):
        yield f'  and {len(points) - len(shown)} more'


def name_of(point):
    """host:port, with the address where the host is a name."""
    host, address = str(point.get('host', '?')), str(point.get('address', '?'))
    name = f'[{host}]' if ':' in host else host
    return f'{name}:{point["port"]}' + (f' ({address})' if address != host else '')
