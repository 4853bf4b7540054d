"""Programs that are not ours. Each script prints the microseconds of one request."""

import functools
import re

from bench import servers
from bench.contest import AGAINST, CONTESTANTS, DIRECT, on_one_processor
from harness import Failure, need

# The arguments of each script: port, how many requests, whether to keep the connection ("1").
REQUESTS = """
import sys, time, requests
port, count, keep = sys.argv[1:]
get = requests.Session().get if keep == '1' else requests.get
url = f'http://127.0.0.1:{port}/1k'
get(url)
start = time.perf_counter()
for _ in range(int(count)):
    get(url).raise_for_status()
print((time.perf_counter() - start) / int(count) * 1e6)
"""

HTTP_CLIENT = """
import sys, time, http.client
port, count, keep = sys.argv[1:]
connection = http.client.HTTPConnection('127.0.0.1', int(port))
def get():
    connection.request('GET', '/1k')
    assert len(connection.getresponse().read()) == 1024
    if keep != '1':
        connection.close()
get()
start = time.perf_counter()
for _ in range(int(count)):
    get()
print((time.perf_counter() - start) / int(count) * 1e6)
"""

FSOCKOPEN = """
[, $port, $count, $keep] = $argv;
$stream = null;
function get() {
    global $stream, $port, $keep;
    $stream ??= fsockopen('127.0.0.1', (int)$port);
    fwrite($stream, "GET /1k HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n");
    $length = 0;
    while (($line = fgets($stream)) !== "\\r\\n")
        if (sscanf(strtolower($line), 'content-length: %d', $found) === 1)
            $length = $found;
    if (strlen(stream_get_contents($stream, $length)) !== 1024)
        exit(1);
    if ($keep !== '1') {
        fclose($stream);
        $stream = null;
    }
}
get();
$start = hrtime(true);
for ($i = 0; $i < (int)$count; $i++)
    get();
echo (hrtime(true) - $start) / $count / 1000, "\\n";
"""


def by_script(bench, ports, contestant, count, argv):
    arguments = [ports[contestant.server], count, int(contestant.keep)]
    return float(bench.run([*argv, *arguments], contestant.preload))


def python(script):
    return functools.partial(by_script, argv=['/usr/bin/python3', '-c', script])


def php(bench, ports, contestant, count):
    return by_script(bench, ports, contestant, count, [need('php'), '-r', FSOCKOPEN, '--'])


def redis_benchmark(bench, ports, contestant, count):
    # It counts milliseconds: of few requests it says that they were infinitely fast.
    argv = [need('redis-benchmark'), '-p', ports['redis'], '-c', 10, '-t', 'get',
            '-n', 5000 + 10 * count, '-k', int(contestant.keep), '--csv']
    rate = re.search(r'^"GET","([0-9.]+)"', bench.run(argv, contestant.preload), re.MULTILINE)
    if not rate:
        raise Failure('redis-benchmark did not say how many')
    return 1e6 / float(rate[1])


CLIENTS = {
    'python3 requests.get': (python(REQUESTS), CONTESTANTS),
    'python3 http.client': (python(HTTP_CLIENT), CONTESTANTS),
    'php fsockopen': (php, CONTESTANTS),
    'redis-benchmark -k 0': (redis_benchmark, DIRECT),  # neither of the others speaks RESP
}


def clients(bench):
    """Rewritten means: with requests.Session, with the connection left open, with -k 1."""
    table = bench.report.table('clients', 'a request of a real client, all on one processor', 'us',
                               AGAINST)
    with on_one_processor(), servers.all_of_them() as ports:
        for name, (measure, contestants) in CLIENTS.items():
            for contestant in bench.in_turn(contestants):
                taken = measure(bench, ports, contestant, bench.options.requests)
                table.add(name, contestant.name, taken)
    bench.report.show(table)
