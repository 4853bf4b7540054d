#!/usr/bin/python3
"""Real client programs against real servers: the same output, and how many connections it took."""

import functools
import json
import os
import re
import tempfile
from pathlib import Path

import services
from harness import (
    TIMEOUT, Failure, Run, Skip, check_same, claim, environment, execute, expect, library, main,
    need, read_stats, read_witnessed, run_alone, scratch_directory,
)

PYTHON = "/usr/bin/python3"

HTTP_CLIENT = """
import hashlib, http.client, sys
for i in range(200):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/small")
    answer = connection.getresponse()
    print(answer.status, hashlib.sha256(answer.read()).hexdigest())
    connection.close()
"""

URLLIB = """
import hashlib, sys, urllib.request
for i in range(20):
    with urllib.request.urlopen("http://127.0.0.1:%s/small" % sys.argv[1]) as answer:
        print(answer.status, hashlib.sha256(answer.read()).hexdigest())
"""

REQUESTS = """
import hashlib, sys, requests
for i in range(200):
    answer = requests.get("http://127.0.0.1:%s/small" % sys.argv[1])
    print(answer.status_code, hashlib.sha256(answer.content).hexdigest())
"""

THREADS = """
import hashlib, sys, threading, http.client
seen, lock = {}, threading.Lock()
def work():
    for i in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
        connection.request("GET", "/small")
        body = hashlib.sha256(connection.getresponse().read()).hexdigest()
        connection.close()
        with lock:
            seen[body] = seen.get(body, 0) + 1
threads = [threading.Thread(target=work) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(seen)
"""

PYCURL = """
import hashlib, io, sys, pycurl
for i in range(50):
    body, handle = io.BytesIO(), pycurl.Curl()
    handle.setopt(pycurl.URL, "http://127.0.0.1:%s/small" % sys.argv[1])
    handle.setopt(pycurl.WRITEDATA, body)
    handle.perform()
    print(handle.getinfo(pycurl.RESPONSE_CODE), hashlib.sha256(body.getvalue()).hexdigest())
    handle.close()
"""

ASYNCIO = """
import asyncio, hashlib, sys
async def get():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    writer.write(b"GET /small HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n")
    await reader.readuntil(b"\\r\\n\\r\\n")
    print(hashlib.sha256(await reader.readexactly(1000)).hexdigest())
    writer.close()
    await writer.wait_closed()
async def main():
    for i in range(20): await get()
asyncio.run(main())
"""

SUBPROCESS = """
import http.client, subprocess, sys
for i in range(10):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/small")
    print(len(connection.getresponse().read()))
    connection.close()
    print(subprocess.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split())
"""

RUBY = """
require "net/http"; require "digest"
20.times do
  body = Net::HTTP.get(URI("http://127.0.0.1:#{ARGV[0]}/small"))
  puts Digest::SHA256.hexdigest(body)
end
"""

HTTP_TINY = """
use HTTP::Tiny; use Digest::SHA qw(sha256_hex);
for (1 .. 20) {
    my $answer = HTTP::Tiny->new->get("http://127.0.0.1:$ARGV[0]/small");
    print "$answer->{status} ", sha256_hex($answer->{content}), "\\n";
}
"""

LWP = """
use LWP::UserAgent; use Digest::SHA qw(sha256_hex);
for (1 .. 20) {
    my $answer = LWP::UserAgent->new->get("http://127.0.0.1:$ARGV[0]/small");
    print $answer->code, " ", sha256_hex($answer->content), "\\n";
}
"""

NODE = """
const http = require("http"), crypto = require("crypto");
const agent = AGENT;
function get(left) {
  if (!left) return;
  http.get({port: process.argv[2], host: "127.0.0.1", path: "/small", agent}, answer => {
    const hash = crypto.createHash("sha256");
    answer.on("data", data => hash.update(data));
    answer.on("end", () => { console.log(answer.statusCode, hash.digest("hex")); get(left - 1); });
  });
}
get(20);
"""

JAVA = """
import java.io.*; import java.net.*; import java.util.*;
public class Get {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        for (int i = 0; i < 20; i++) {
            URL url = new URL("http://127.0.0.1:" + port + "/small");
            URLConnection connection = url.openConnection();
            try (InputStream in = connection.getInputStream()) {
                System.out.println(Arrays.hashCode(in.readAllBytes()));
            }
            try (Socket socket = new Socket("127.0.0.1", port)) {
                socket.getOutputStream().write(
                    "GET /small HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n".getBytes());
                InputStream in = socket.getInputStream();
                String head = "";
                while (!head.endsWith("\\r\\n\\r\\n")) head += (char) in.read();
                System.out.println(Arrays.hashCode(in.readNBytes(1000)));
            }
        }
    }
}
"""

PHP_SOCKETS = r"""
for ($i = 0; $i < 20; $i++) {
    $socket = fsockopen("127.0.0.1", (int)$argv[1]);
    fwrite($socket, "GET /small HTTP/1.1\r\nHost: loopback\r\n\r\n");
    while (($line = fgets($socket)) !== "\r\n") if (str_starts_with($line, "HTTP")) echo $line;
    $body = "";
    while (strlen($body) < 1000) $body .= fread($socket, 1000 - strlen($body));
    echo hash("sha256", $body), "\n";
    fclose($socket);
}
"""

PHP_CONTENTS = """
for ($i = 0; $i < 20; $i++)
    echo hash("sha256", file_get_contents("http://127.0.0.1:$argv[1]/small")), "\\n";
"""

BASH = r"""
for i in 1 2 3 4 5; do
    exec 3<>/dev/tcp/127.0.0.1/$1
    printf 'GET /small HTTP/1.1\r\nHost: loopback\r\nConnection: close\r\n\r\n' >&3
    cat <&3 | tail -c 1000 | sha256sum
    exec 3<&- 3>&-
done
"""

PHP_SELECT = r"""
for ($i = 0; $i < 5; $i++) {
    $socket = fsockopen("127.0.0.1", (int)$argv[1]);
    fwrite($socket, "CLIENT INFO\r\n");
    $length = (int)substr(fgets($socket), 1);
    $info = fread($socket, $length + 2);
    preg_match('/ db=(\d+)/', $info, $db);
    echo "db $db[1]\n";
    fwrite($socket, "SELECT 3\r\n");
    echo fgets($socket);
    fclose($socket);
}
"""


class Clock:
    """What programs print of time and speed differs from run to run, and is taken out."""

    AB = re.compile(rb"^(Complete requests|Failed requests|Write errors|HTML transferred|"
                    rb"Document Length|Non-2xx responses):.*$", re.M)
    HTTPERF = re.compile(rb"^(Total: connections \d+ requests \d+ replies \d+|"
                         rb"Reply status: .*|Errors: .*)", re.M)
    WRK = re.compile(rb"^.*(?:Socket errors|Non-2xx).*$", re.M)


def only(pattern):
    return lambda output: b"\n".join(match[0] for match in pattern.finditer(output))


def observe(argv, preload):
    """One run against a fresh nginx: the run, connections and requests as nginx counted them."""
    with services.nginx() as server, scratch_directory() as scratch:
        stats_file = Path(scratch, "stats.json")
        words = [str(word).replace("{port}", str(server.port)) for word in argv]
        before = server.counters()
        stdout, stderr, status = execute(
            words, environment(preload, {}, str(stats_file)), cwd=scratch, timeout=2 * TIMEOUT
        )
        after = server.counters()
        stats, witnessed = read_stats(stats_file), read_witnessed(scratch)
        result = Run(stdout, stderr, status, [], stats, witnessed)
        # the second question about the counters is itself one connection and one request
        return result, after[0] - before[0] - 1, after[1] - before[1] - 1


def against_nginx(argv, without, at_most, normalise=None, same_stderr=True, same_requests=True):
    argv = [need(argv[0]), *argv[1:]]
    plain, plain_connections, plain_requests = observe(argv, False)
    expect(plain.status == 0, f"without the library: exit status {plain.status}\n{plain}")
    pooled, pooled_connections, pooled_requests = observe(argv, True)
    check_same(plain, pooled, normalise, same_stderr)
    if without is not None:
        expect(plain_connections == without, f"{plain_connections} without, {without} expected")
    if at_most is not None:
        expect(pooled_connections <= at_most,
               f"{pooled_connections} connections, at most {at_most} expected"
               f"\n{json.dumps(pooled.stats)}")
    if same_requests:
        expect(plain_requests == pooled_requests,
               f"{plain_requests} requests without, {pooled_requests} with")
    return plain, pooled


URL = "http://127.0.0.1:{port}/"
NO_REUSE_ASKED = ["-H", "Connection: close"]

# claim, command, connections without and at most with (None: does not matter)
PROGRAMS = [
    ("python http.client: 200 -> 1", [PYTHON, "-c", HTTP_CLIENT, "{port}"], 200, 1),
    ("python requests.get: 200 -> 1", [PYTHON, "-c", REQUESTS, "{port}"], 200, 1),
    ("python threads, 8 x 200: at most 8", [PYTHON, "-c", THREADS, "{port}"], 1600, 8),
    ("python pycurl, a new handle each: 50 -> 1", [PYTHON, "-c", PYCURL, "{port}"], 50, 1),
    ("python asyncio: 20 -> 1", [PYTHON, "-c", ASYNCIO, "{port}"], 20, 1),
    ("python urllib says Connection: close: unchanged", [PYTHON, "-c", URLLIB, "{port}"], 20, None),
    ("python subprocess beside http.client: unchanged", [PYTHON, "-c", SUBPROCESS, "{port}"], 10,
     None),
    ("ruby Net::HTTP.get: 20 -> 1", ["ruby", "-e", RUBY, "{port}"], 20, 1),
    ("perl HTTP::Tiny, a new object each: 20 -> 1", ["perl", "-e", HTTP_TINY, "{port}"], 20, 1),
    ("node, agent that keeps alive: unchanged",
     ["node", "-e", NODE.replace("AGENT", "new http.Agent({keepAlive: true})")
      .replace("process.argv[2]", "process.argv[1]"), "{port}"], None, None),
    ("node, no agent: unchanged",
     ["node", "-e", NODE.replace("AGENT", "false").replace("process.argv[2]", "process.argv[1]"),
      "{port}"], 20, 20),
    ("php fsockopen: 20 -> 1", ["php", "-r", PHP_SOCKETS, "{port}"], 20, 1),
    ("php file_get_contents: unchanged", ["php", "-r", PHP_CONTENTS, "{port}"], 20, 20),
    ("bash /dev/tcp with cat: unchanged", ["bash", "-c", BASH, "bash", "{port}"], 5, 5),
    ("curl: unchanged", ["curl", "-sS", URL + "small", URL + "small", URL + "large"], 1, 1),
    ("curl -0: unchanged", ["curl", "-sS0", URL + "small", URL + "small"], None, None),
    ("curl, Connection: close: unchanged",
     ["curl", "-sS", *NO_REUSE_ASKED, URL + "small", URL + "small"], 2, 2),
    ("curl, HEAD and an error: unchanged",
     ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}\n", URL + "none", "--next", "-sSI",
      "-o", "/dev/null", "-w", "%{http_code}\n", URL + "small"], None, None),
    ("wget: unchanged", ["wget", "-q", "-O", "-", URL + "small", URL + "large"], 1, 1),
    ("wget, no keep-alive: unchanged",
     ["wget", "-q", "--no-http-keep-alive", "-O", "-", URL + "small", URL + "large"], 2, 2),
]

for text, *row in PROGRAMS:
    claim(text)(functools.partial(against_nginx, *row))


@claim("perl LWP says Connection: close: unchanged")
def lwp():
    if os.system("perl -MLWP::UserAgent -e 1 2>/dev/null"):
        raise Skip("libwww-perl is not installed")
    against_nginx(["perl", "-e", LWP, "{port}"], 20, 20)


@claim("curl, two transfers in parallel: unchanged")
def curl_parallel():
    # the meter that curl draws on stderr shows speeds
    argv = ["curl", "-sS", "--parallel", "-w", "%{size_download}\n"]
    argv += ["-o", "/dev/null", URL + "large", "-o", "/dev/null", URL + "large"]
    against_nginx(argv, None, None, same_stderr=False)


@claim("java HttpURLConnection and Socket: unchanged")
def java():
    source, remove = services.scratch_copy(JAVA, "Get.java")
    try:
        against_nginx(["java", str(source), "{port}"], None, None, same_stderr=False)
    finally:
        remove()


@claim("httperf: 50 connections -> 1")
def httperf():
    argv = ["httperf", "--server=127.0.0.1", "--port={port}", "--uri=/small", "--num-conns=50"]
    against_nginx(argv, 50, 1, only(Clock.HTTPERF), same_stderr=False)


AB = ["ab", "-q", "-n", "20000", "-c", "8"]


@claim("ab, 20000 requests: no errors")
def ab():
    plain, pooled = against_nginx([*AB, URL + "small"], None, None, only(Clock.AB))
    expect(b"Failed requests:        0" in pooled.stdout, pooled.stdout.decode())


@claim("ab -k, 20000 requests: no errors")
def ab_keep_alive():
    # ab opens a connection per slot at its start, and one more than it uses: both may vary
    plain, pooled = against_nginx([*AB, "-k", URL + "small"], None, None, only(Clock.AB),
                                  same_requests=False)
    expect(b"Failed requests:        0" in pooled.stdout, pooled.stdout.decode())


def wrk(*more):
    """wrk stops by time, not by count: it runs until 20000 requests have been made in all."""
    done = 0
    for _ in range(20):
        argv = [need("wrk"), "-t2", "-c8", "-d1", *more, URL + "small"]
        result, _, requests = observe(argv, True)
        expect(result.status == 0, f"exit status {result.status}: {result}")
        expect(not Clock.WRK.search(result.stdout), result.stdout.decode())
        done += requests
        if done >= 20000:
            return
    raise Failure(f"only {done} requests in 20 runs")


@claim("wrk, 20000 requests: no errors")
def wrk_keep_alive():
    wrk()


@claim("wrk, Connection: close, 20000 requests: no errors")
def wrk_close():
    wrk("-H", "Connection: close")


KEEP_UPSTREAM = 'proxy_http_version 1.1; proxy_set_header Connection "";'


def through_nginx(directives):
    """nginx as a client: registered with epoll, edge-triggered, before connect()."""
    with services.nginx() as origin:
        upstream = f"proxy_pass http://127.0.0.1:{origin.port}/; {directives}"
        answers = [ask_through(upstream, preload) for preload in (None, library())]
        expect(answers[0] == answers[1], f"{answers[0][1:]} without, {answers[1][1:]} with")
        expect(len(answers[0][0]) == 20 * services.FILES["small"], "the proxy did not answer")


def ask_through(upstream, preload):
    with services.nginx(f"location /proxied/ {{ {upstream} }}", preload) as proxy:
        urls = [f"http://127.0.0.1:{proxy.port}/proxied/small"] * 20
        return execute([need("curl"), "-sS", "--max-time", "20", *urls], dict(os.environ))


claim("nginx as a client (proxy_pass): unchanged")(functools.partial(through_nginx, ""))
claim("nginx as a client that keeps alive: unchanged")(
    functools.partial(through_nginx, KEEP_UPSTREAM)
)


def against(service, argv, stdin=b""):
    """The same commands, without and with, to one server that keeps no trace of them."""
    argv = [need(argv[0]), *argv[1:]]
    with service() as port:
        words = [str(word).replace("{port}", str(port)) for word in argv]
        runs = [run_alone(words, preload, stdin=stdin) for preload in (False, True)]
    expect(runs[0].status == 0, f"without the library: {runs[0]}")
    expect(runs[0].stdout, "no output at all")
    check_same(*runs)
    return runs


@claim("redis-cli: unchanged")
def redis_cli():
    commands = b"SET a 1\nINCR a\nGET a\nSELECT 3\nGET a\nSET b 2\nDEL b\nSELECT 0\nDEL a\n"
    against(services.redis, ["redis-cli", "-p", "{port}"], commands)


@claim("redis-cli -n 3, one command: unchanged")
def redis_cli_database():
    against(services.redis, ["redis-cli", "-p", "{port}", "-n", "3", "PING"])


@claim("a database selected in redis by one life is not selected in the next")
def redis_select():
    runs = against(services.redis, ["php", "-r", PHP_SELECT, "{port}"])
    expect(runs[0].stdout.count(b"db 0") == 5, runs[0].stdout.decode())


PSQL = ["psql", "-h", "127.0.0.1", "-p", "{port}", "-U", "tester", "-d", "postgres", "-X", "-A"]
RECONNECT = b"""
SELECT 1 + 1;
SET search_path = nowhere;
\\c postgres tester
SHOW search_path;
\\c postgres tester
SELECT generate_series(1, 1000);
SELECT broken;
"""


@claim("psql, which connects again and again: unchanged")
def psql():
    against(services.postgres, PSQL, RECONNECT)


@claim("pgbench, a connection per transaction: no errors")
def pgbench():
    program = services.postgres_programs() / "pgbench"
    with services.postgres() as port, tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "script.sql")
        script.write_text("SELECT 1;\n")
        argv = [str(program), "-h", "127.0.0.1", "-p", str(port), "-U", "tester", "-n", "-C",
                "-f", str(script), "-t", "100", "-c", "2", "postgres"]
        for preload in (False, True):
            env = environment(preload, {"LC_ALL": "C"}, "/dev/null")
            stdout, stderr, status = execute(argv, env)
            expect(status == 0, f"preload {preload}: {stdout.decode()}{stderr}")
            expect(b"actually processed: 200/200" in stdout, stdout.decode())


if __name__ == "__main__":
    main()
