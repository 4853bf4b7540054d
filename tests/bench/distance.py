"""Servers that are further away, and machines with few ports: over a link of the bench's own."""

import contextlib

from bench import servers
from bench.contest import AGAINST, DIRECT, LEGACY, LIBRARY, make_requests, without_failures
from bench.link import FAR, inside, link

PORT = 8080
PATHS = {'1k': '1 KB', '100k': '100 KB'}

# So many requests before it is measured: by then the window of a connection that is kept is open.
WARM = 3


@contextlib.contextmanager
def origin_behind_link(bench, round_trip=0, rate=0):
    with link(bench, round_trip, rate) as ends, contextlib.ExitStack() as stack:
        with inside(ends.far):
            stack.enter_context(servers.origin(f'listen {FAR}:{PORT};'))
        yield ends


def distance(bench):
    """1 KB and 100 KB over links of so many milliseconds: the direct contestants."""
    rate = bench.options.rate
    limited = f', {rate:g} bytes/s' if rate else ''
    tables = {path: bench.report.table(f'distance-{path}', f'{size} over a link, by its round '
                                       f'trip{limited}', 'us', AGAINST)
              for path, size in PATHS.items()}
    for round_trip in bench.options.distances:
        with origin_behind_link(bench, round_trip, rate) as ends, inside(ends.near):
            for path, table in tables.items():
                for contestant in bench.in_turn(DIRECT):
                    counted = without_failures(contestant, make_requests(
                        bench, contestant, f'/{path}', FAR, port=PORT, warm=WARM,
                        requests=bench.options.far_requests))
                    table.add(f'{round_trip:g} ms', contestant.name, counted['microseconds'])
    for table in tables.values():
        bench.report.show(table)


# What a machine has whose ports are nearly used up. Linux has 28232, if nobody says otherwise.
FIRST_PORT, LAST_PORT = 20000, 20999


def ports(bench):
    """Many requests to one address with few ephemeral ports: legacy and libsppool."""
    count = bench.options.port_requests
    title = (f'{count} requests to one address, {LAST_PORT - FIRST_PORT + 1} ephemeral ports, '
             '4 threads')
    table = bench.report.table('ports', title, 'how many', counted=True)
    for contestant in LEGACY, LIBRARY:
        # Each has a link of its own, as what lies in TIME_WAIT lies there for a minute. On
        # loopback it might not: there Linux uses a port again after a second (tcp_tw_reuse).
        with origin_behind_link(bench) as ends:
            ends.allow_ports(FIRST_PORT, LAST_PORT)
            with inside(ends.near):
                counted = make_requests(bench, contestant, '/1k', FAR, port=PORT, threads=4,
                                        requests=count)
            found = {
                'answered': counted['requests'],
                'EADDRNOTAVAIL': counted['no-port'],
                'failed otherwise': counted['failed'],
                'in TIME_WAIT afterwards': ends.time_wait(),
            }
        for work, value in found.items():
            table.add(work, contestant.name, value)
    bench.report.show(table)
