"""`sppool metrics`: all processes under the pool, in the text format of Prometheus."""

import contextlib
import operator
import os
import stat
import sys
import tempfile
import time

from command import tables
from command.common import REQUIRED, USAGE, Failure, parse_options, printable, say
from command.page import processes

SUMMARY = 'print metrics of all processes for Prometheus'
HELP = '''\
Usage: sppool metrics [--output=FILE] [--dir=DIR]

Prints what the status pages of all processes say (see sppool ps), in Prometheus' text format.

  --output=FILE   write to FILE instead, at once as a whole, as the textfile collector of
                  node_exporter wants it: FILE is replaced when all has been written, and keeps its
                  mode. What is there and is no regular file, a symbolic link too, is left alone
  --dir=DIR       the directory of status pages, where it is not SP_STATUS_DIR or the usual one'''

# Of a new file: whoever collects it is another user.
FILE_MODE = 0o644


def main(arguments):
    options, others = parse_options(arguments, {'--output': REQUIRED, '--dir': REQUIRED},
                                    anywhere=True)
    if others:
        raise Failure('metrics takes no arguments', USAGE)
    unreadable = []
    found = list(processes(options.get('--dir'), unreadable.append))
    for failure in unreadable:
        say(failure)
    data = exposition(found, len(unreadable)).encode()
    if '--output' in options:
        write_whole(options['--output'], data)
    elif sys.stdout:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)


def write_whole(path, data):
    """Whoever reads the file finds all of the old or all of the new."""
    if not os.path.basename(path):
        raise Failure(f'{path}: not a file\'s name', USAGE)
    try:
        replace(path, replaced_by(path), data)
    except (OSError, ValueError) as error:
        # Which may name the temporary file.
        raise Failure(f'{path}: {getattr(error, "strerror", error)}') from None


def replaced_by(path):
    """What lstat(2) says of the file that is to be replaced, or None. Anything but a file (a
    device, a pipe) would be gone, and who writes to a symbolic link means what it names."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Failure(f'{path}: not a regular file')
    return found


def replace(path, old, data):
    directory, name = os.path.split(path)
    # The collector looks at names that end in .prom only.
    fd, temporary = tempfile.mkstemp(dir=directory or '.', prefix=f'.{name[:100]}.', suffix='.tmp')
    try:
        with open(fd, 'wb') as file:
            file.write(data)
            if old:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) if old else FILE_MODE)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class Families:
    """Metrics by name, each with its samples in one place, however they come."""

    def __init__(self):
        self.families = {}

    def add(self, name, kind, meaning, labels, value, joined=operator.add):
        """LABELS as they are written. Samples that differ in nothing are one: their sum, or as
        they are JOINED."""
        _, _, samples = self.families.setdefault(name, (kind, meaning, {}))
        samples[labels] = joined(samples[labels], value) if labels in samples else value

    def lines(self):
        for name, (kind, meaning, samples) in self.families.items():
            yield f'# HELP {name} {escaped(meaning)}'
            yield f'# TYPE {name} {kind}'
            for labels, value in samples.items():
                yield f'{name}{{{labels}}} {value}' if labels else f'{name} {value}'


def escaped(text):
    return text.replace('\\', '\\\\').replace('\n', '\\n')


def written(**labels):
    return ','.join(f'{label}="{quoted(text)}"' for label, text in labels.items())


def quoted(text):
    return escaped(printable(str(text))).replace('"', '\\"')


def exposition(found, unreadable):
    families = Families()
    families.add('sppool_processes', 'gauge', 'Processes that have a status page.', '', len(found))
    families.add('sppool_unreadable_pages', 'gauge', 'Status pages that could not be read.', '',
                 unreadable)
    for process in found:
        add_process(families, process)
    for process in found:
        for point in process.points:
            add_point(families, process, point)
    return '\n'.join(families.lines()) + '\n'


def labels_of(process):
    return written(pid=process.pid, program=process.program)


def add_process(families, process):
    labels = labels_of(process)

    def gauge(name, meaning, value):
        families.add(f'sppool_{name}', 'gauge', meaning, labels, value)

    gauge('start_time_seconds', 'When the status page was made, since the epoch.',
          round(process.since, 3))
    gauge('pool_on', '0: the pool has turned itself off.', int(not process.off))
    gauge('service_points', 'Service points: hosts and ports.', process.service_points)
    gauge('service_points_limit', 'SP_MAX_SERVICE_POINTS (0: no cap).',
          process.max_service_points)
    gauge('connections_parked', 'Parked connections.', process.parked)
    gauge('connections_parked_limit', 'Parked connections at most.', process.max_parked)
    meanings = dict(tables.counters())
    for word, value in process.counters.items():
        families.add(f'sppool_{word}_total', 'counter', sentence(meanings.get(word, word)),
                     labels, value)
    add_reasons(families, '', labels, process)


def add_reasons(families, prefix, labels, counts):
    for name, meaning, reasons in (
            ('discarded', 'Parked connections that were closed without another use.',
             counts.discarded),
            ('refused', 'Connections that were closed, not parked.', counts.refused)):
        for word, value in reasons.items():
            families.add(f'sppool_{prefix}{name}_total', 'counter', meaning,
                         f'{labels},{written(reason=word)}', value)


def add_point(families, process, point):
    labels = f'{labels_of(process)},' + written(host=point.host, port=point.port,
                                                protocol=point.protocol)
    prefix = 'service_point_'
    for name, kind, meaning, value in (
            ('opened_total', 'counter', 'Connections to the service point that were opened.',
             point.opened),
            ('reused_total', 'counter', 'Uses of the service point that were given a parked one.',
             point.reused),
            ('connections_in_use', 'gauge', 'Connections of the service point in use.',
             point.in_use),
            ('connections_parked', 'gauge', 'Parked connections of the service point.',
             point.parked),
            ('connects_waiting', 'gauge', 'connect() calls that wait at the limit.',
             point.waiting),
            ('connections_limit', 'gauge', 'SP_CONNECTION_LIMIT (0: no limit).',
             point.settings.get('limit', 0))):
        families.add(f'sppool_{prefix}{name}', kind, meaning, labels, value)
    if point.idle_since:
        families.add(f'sppool_{prefix}idle_seconds', 'gauge',
                     'How long the service point has had no connection in use.', labels,
                     round(max(time.time() - point.idle_since, 0), 3))
    add_learned(families, prefix, labels, point)
    add_reasons(families, prefix, labels, point)


def add_learned(families, prefix, labels, point):
    families.add(f'sppool_{prefix}quarantined_seconds', 'gauge',
                 'For how much longer nothing of the service point is reused, as a reused '
                 'connection has failed.', labels, point.quarantined_ms / 1000, max)
    if point.keeps_ms:
        families.add(f'sppool_{prefix}keeps_seconds', 'gauge',
                     'For how long the server keeps idle connections, where that is learned.',
                     labels, point.keeps_ms / 1000, min)
        families.add(f'sppool_{prefix}keeps_habit', 'gauge',
                     '1: those that were idle for longer are not reused.', labels,
                     int(point.habit), max)


def sentence(text):
    return f'{text}.' if '(' in text.split()[0] else f'{text[0].upper()}{text[1:]}.'
