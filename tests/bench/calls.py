"""What the library costs and saves call by call, at a program's start, and in memory. Start and
memory are compared with those under an empty library, as any preloaded library costs some."""

import contextlib
import re
import resource
import shutil
import statistics
import subprocess

from harness import Failure

MEANING = {
    'read-file': 'read() of a file: none of our business',
    'write-file': 'write() to a file: none of our business',
    'recv-unix': 'recv() from a Unix socket: none of our business',
    'open-close-file': 'open() and close() of a file: none of our business',
    'close-bad-number': 'close(-1)',
    'socket-connect-close': 'socket(), connect() and close(); reused with the library',
    'socket-connect-exchange-close': 'the same with one HTTP request and its answer',
    'read-1k': 'read() of 1 KB of a response',
    'recv-1k': 'recv() of 1 KB of a response',
    'write-1k': 'write() of 1 KB of a request',
    'send-1k': 'send() of 1 KB of a request',
}

# Private memory is what one process alone has. Of a library that is its file, too, until a second
# process has that library.
MEMORY = {
    'memory-alone': 'private memory of a process without sockets, the only one with its library',
    'memory-beside-another': 'the same beside a second process with its library',
}
MEMORY_RUNS = 21

FEW = 10
POINTS = {
    'points-same': 'socket(), connect() and close(), to the same service point again and again',
    'points-in-turn': 'the same, to each in turn; of many, the sockets and records are in no cache',
}


def spread(values):
    return f'{statistics.median(values):12.1f} ({min(values):.1f} to {max(values):.1f})'


def show(report, table, meanings, goal=''):
    for name in table.cells:
        report.say(f'\n{name}: {meanings[name]}\n'
                   f"  without {spread(table.values(name, 'without'))}\n"
                   f"  with    {spread(table.values(name, 'with'))}\n"
                   f'  added   {table.added(name):12.1f}{goal}')


def _without_and_with(bench, table, argv):
    for preload in bench.in_turn([False, True]):
        for name, value in bench.numbers(argv, preload).items():
            table.add(name, 'with' if preload else 'without', value)
    bench.report.say(f'\nnanoseconds, median of {bench.options.runs} runs in turn (least to most)')
    show(bench.report, table, MEANING)


def calls(bench):
    """Calls on what is not tracked, and on a connection as a whole."""
    _without_and_with(bench, bench.report.table('calls', 'one call, or series of calls', 'ns'),
                      [bench.program('bench-calls'), bench.options.share])


def tracked(bench):
    """Calls that move 1 KB over a tracked connection."""
    _without_and_with(bench, bench.report.table('tracked', 'one call that moves 1 KB', 'ns'),
                      [bench.program('bench-tracked'), bench.options.series])


def _start_first_byte(bench, replay):
    return subprocess.Popen([bench.program('bench-first-byte')],
                            env=bench.environment(True, SP_REPLAY=replay),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _measure_first_byte(process):
    """Nanoseconds until the first byte of the answer on a reused connection."""
    process.stdin.write('\n')
    process.stdin.flush()
    taken, connections = process.stdout.readline().split()
    if connections != '1':
        raise Failure(f'{connections} connections: they were not reused')
    return float(taken)


def first_byte(bench):
    """The same with what is kept to be sent once more (SP_REPLAY=1) as without."""
    batches = bench.options.batches
    table = bench.report.table('first-byte', 'from send() to the first byte of the answer', 'ns')
    with _start_first_byte(bench, '0') as without, _start_first_byte(bench, '1') as with_it:
        for batch in range(batches):
            pair = [('without', without), ('with', with_it)]
            for replay, process in pair if batch % 2 else reversed(pair):
                table.add('first-byte', replay, _measure_first_byte(process))
        without.stdin.close()
        with_it.stdin.close()
    bench.report.say(
        f'\nfirst-byte: from send() to the first byte of the answer, on a reused connection; '
        f'nanoseconds, median of {batches} medians in turn (least to most)\n'
        f"  SP_REPLAY=0 {spread(table.values('first-byte', 'without'))}\n"
        f"  SP_REPLAY=1 {spread(table.values('first-byte', 'with'))}\n"
        f"  added       {table.added('first-byte'):12.1f}\n"
        f"  ratio       {table.ratio('first-byte', 'with', 'without'):12.3f} (goal: at most 1.02)")


def _libraries(bench):
    return {'without': bench.program('libempty.so'), 'with': bench.library}


def start(bench):
    """A program's start and end."""
    rounds = bench.options.starts
    table = bench.report.table('start', 'true, from its start to its end', 'us')
    libraries = _libraries(bench)
    argv = [bench.program('bench-start'), rounds, *libraries.values(), shutil.which('true')]
    for line in bench.run(argv, False).splitlines():
        for name, taken in zip(libraries, line.split()):
            table.add('start-true', name, float(taken) / 1000)
    bench.report.say(f'\nmicroseconds, median of {rounds} runs in turn (least to most); '
                     'without: an empty library')
    show(bench.report, table, {'start-true': table.title}, ' (goal: at most 100)')


def _private_kib(bench, library):
    """What a process has to itself, as it sees it."""
    output = bench.run(['cat', '/proc/self/smaps_rollup'], library)
    return sum(map(int, re.findall(r'^Private_(?:Clean|Dirty): *(\d+) kB', output, re.MULTILINE)))


@contextlib.contextmanager
def _process_with(bench, library):
    """A process that has the library, and has read something."""
    with subprocess.Popen(['cat'], env=bench.environment(library), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write('\n')
        process.stdin.flush()
        process.stdout.readline()
        yield


def memory(bench):
    """Of a process without sockets."""
    table = bench.report.table('memory', 'private memory of a process', 'KiB')
    libraries = _libraries(bench)
    for name in MEMORY:
        for contestant, library in libraries.items():
            beside = name != 'memory-alone'
            with _process_with(bench, library) if beside else contextlib.nullcontext():
                for _ in range(MEMORY_RUNS):
                    table.add(name, contestant, _private_kib(bench, library))
    bench.report.say(f'\nKiB, median of {MEMORY_RUNS} runs (least to most); '
                     'without: an empty library')
    show(bench.report, table, MEMORY, ' (goal: at most 64)')


def _allow_descriptors(points):
    """RLIMIT_NOFILE, raised so far that so many connections may be parked, or as far as it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 5 * points + 2048  # a fifth may be parked, on numbers above 1024
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return soft
    if hard != resource.RLIM_INFINITY:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, wanted)))
            hard = max(hard, wanted)
        wanted = min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _many(bench):
    """As many as there shall be, or may be; and what there is to be said of that."""
    wanted = bench.options.points
    limit = _allow_descriptors(wanted)
    if limit == resource.RLIM_INFINITY or wanted <= limit // 5:
        return wanted, []
    return limit // 5, [f'(not {wanted}: a fifth of RLIMIT_NOFILE, which cannot be raised above '
                        f'{limit})']


def _measure_points(bench, count, where='apart', keeper='0'):
    """{measurement: nanoseconds of one round, or bytes}, with so many connections parked"""
    argv = [bench.program('bench-points'), count, bench.options.rounds, where]
    result = bench.numbers(argv, True, SP_MAX_PARKED=str(count), SP_MAX_SERVICE_POINTS=str(count),
                           SP_KEEPER=keeper)
    opened = int(result.pop('connections'))
    if opened != count:
        raise Failure(f'{opened} connections where {count} suffice: they were not reused')
    return result


def points(bench):
    """Few and many service points, with a connection parked at each. Raises a limit of ours."""
    many, reason = _many(bench)
    report, runs = bench.report, bench.options.runs
    table = report.table('points', 'by how many service points there are, SP_KEEPER=0 and 1', 'ns')
    report.say(f'\nnanoseconds with the library, median of {runs} runs in turn (least to most), '
               f'among {FEW} and {many} service points, with a connection parked at each')
    for line in reason:
        report.say(line)
    for keeper in '0', '1':
        for count in bench.in_turn([FEW, many]):
            result = _measure_points(bench, count, keeper=keeper)
            for name in POINTS:
                table.add(f'{name}, SP_KEEPER={keeper}', str(count), result[name])
        for name, meaning in POINTS.items():
            work = f'{name}, SP_KEEPER={keeper}'
            costs = [table.values(work, str(count)) for count in (FEW, many)]
            ratio = statistics.median(costs[1]) / statistics.median(costs[0])
            report.say(f'\n{work}: {meaning}\n'
                       f'  {FEW:<7} {spread(costs[0])}\n'
                       f'  {many:<7} {spread(costs[1])}\n'
                       f'  ratio   {ratio:12.2f} (goal: at most 1.20)')


WHERE = {
    'apart': 'service points with a connection each',
    'together': 'connections of one service point',
}


def crowds(bench):
    """From one parked connection to many, in as many places and in one. Raises a limit, too."""
    many, reason = _many(bench)
    counts = [count for count in (1, 10, 100, 1000) if count < many] + [many]
    times = bench.report.table('crowds', 'a reused cycle, by how many are parked', 'ns')
    sizes = bench.report.table('crowd-memory', f'user memory of each of {many}', 'bytes')
    for where, meaning in WHERE.items():
        private = {count: [] for count in counts}
        for count in bench.in_turn(counts):
            result = _measure_points(bench, count, where)
            times.add(f'{count} {meaning}', 'libsppool', result['points-in-turn'])
            private[count].append(result['private'])
        for few, enough in zip(private[counts[0]], private[many]):
            sizes.add(meaning, 'libsppool', (enough - few) / max(many - counts[0], 1))
    bench.report.show(times)
    for line in reason:
        bench.report.say(line)
    bench.report.show(sizes)
