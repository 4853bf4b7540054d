#!/usr/bin/python3
"""Real programs that call shutdown(): those that close next lose no connection to the pool, and
those that wait for what the server does with their end see the same, no later."""

import functools
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import services
from harness import (
    TIMEOUT, Failure, Run, check_same, claim, compare, environment, execute, expect, main, need,
    opened, read_stats, read_witnessed, run_alone, scratch_directory,
)
from server import Gate, Server

JOBS = 4
PYTHON = "/usr/bin/python3"
REQUEST = b"GET /bytes/1000 HTTP/1.1\r\nHost: loopback\r\n\r\n"

# ---- shutdown(), and close() next ----

HTTP_CLIENT = """
import http.client, socket, sys
for i in range(20):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/bytes/100")
    print(connection.getresponse().read())
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
"""

TWISTED = """
import sys
from twisted.internet import protocol, reactor

class Get(protocol.Protocol):
    def connectionMade(self):
        self.got = b""
        self.transport.write(b"GET /bytes/100 HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n")

    def dataReceived(self, data):
        self.got += data
        head, _, body = self.got.partition(b"\\r\\n\\r\\n")
        if len(body) == 100:
            self.transport.loseConnection()

    def connectionLost(self, reason):
        print(self.got, reason.getErrorMessage())
        again(self.factory.left - 1)

def again(left):
    if not left:
        return reactor.stop()
    factory = protocol.ClientFactory()
    factory.protocol = Get
    factory.left = left
    factory.noisy = False
    reactor.connectTCP("127.0.0.1", int(sys.argv[1]), factory)

reactor.callWhenRunning(again, 20)
reactor.run()
"""

JAVA = """
import java.io.*; import java.net.*;
public class Get {
    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 20; i++) {
            try (Socket socket = new Socket("127.0.0.1", Integer.parseInt(arguments[0]))) {
                socket.getOutputStream().write(
                    "GET /bytes/1000 HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n".getBytes());
                InputStream in = socket.getInputStream();
                String head = "";
                while (!head.endsWith("\\r\\n\\r\\n")) head += (char) in.read();
                System.out.print(head + new String(in.readNBytes(1000)));
            }
        }
    }
}
"""

NODE_DESTROY = """
const net = require("net");
function get(left) {
  if (!left) return;
  const socket = net.connect(process.argv[1], "127.0.0.1");
  let got = "";
  socket.write("GET /bytes/100 HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n");
  socket.on("data", data => {
    got += data;
    if (got.split("\\r\\n\\r\\n")[1]?.length != 100) return;
    LEAVE
  });
  socket.on("close", () => { console.log(got); get(left - 1); });
}
get(20);
"""

REDIS_PY = """
import sys, redis
for i in range(20):
    client = redis.Redis(port=int(sys.argv[1]))
    print(client.set("key%d" % i, i), client.get("key%d" % i))
    client.close()
    client.connection_pool.disconnect()
"""


def pooled_to(argv, without, at_most, **options):
    opened(compare([need(argv[0]), *argv[1:]], **options), without, at_most)


# Of a runtime whose other threads wait just between shutdown() and close(), which carries it out.
A_FEW = 8

CLIENTS = [
    ("python http.client, and shutdown() of its socket: 20 -> 1", [PYTHON, "-c", HTTP_CLIENT], 1),
    ("twisted, a protocol that loses its connection: 20 -> 1", [PYTHON, "-c", TWISTED], 1),
    ("node, a socket that is destroyed: 20 -> 1, or a few",
     ["node", "-e", NODE_DESTROY.replace("LEAVE", "socket.destroy();")], A_FEW),
    # it waits for the server's end
    ("node, a socket that is ended: unchanged",
     ["node", "-e", NODE_DESTROY.replace("LEAVE", "socket.end();")], 20),
]

for text, argv, at_most in CLIENTS:
    claim(text)(functools.partial(pooled_to, [*argv, "{0}"], 20, at_most))


@claim("java.net.Socket: 20 -> 1, or a few")
def java():
    source, remove = services.scratch_copy(JAVA, "Get.java")
    try:
        pooled_to(["java", "-XX:TieredStopAtLevel=1", source, "{0}"], 20, A_FEW, same_stderr=False)
    finally:
        remove()


@claim("redis-py, a pool for each operation: 20 -> 1")
def redis_py():
    with services.redis() as port:
        connections = []
        runs = []
        for preload in (False, True):
            before = redis_count(port)
            runs.append(run_alone([PYTHON, "-c", REDIS_PY, str(port)], preload))
            connections.append(redis_count(port) - before - 1)
    expect(runs[0].status == 0, f"without the library: {runs[0]}")
    check_same(*runs)
    expect(connections[0] == 20, f"{connections[0]} connections without")
    expect(connections[1] == 1, f"{connections[1]} connections with: {runs[1].stats}")


def redis_count(port):
    """Connections that redis has accepted; asking costs one."""
    argv = [need("redis-cli"), "-p", str(port), "INFO", "stats"]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return next(int(line.split(":")[1]) for line in lines
                if line.startswith("total_connections_received"))


def aria2(scratch, port):
    urls = [f"http://127.0.0.1:{port}/{name}" for name in ("small", "large") * 5]
    listed = Path(scratch, "list")
    listed.write_text("".join(f"{url}\n  out=file{at}\n" for at, url in enumerate(urls)))
    return [need("aria2c"), "--no-conf", "-q", "-j1", "-x1", "-s1", "--enable-dht=false",
            "--file-allocation=none", "--dir", scratch, "-i", str(listed)]


def h2load(_, port):
    """A client each 50 ms, with one request."""
    return [need("h2load"), "--h1", "-n8", "-c8", "-r1", "--rate-period=50ms",
            f"http://127.0.0.1:{port}/small"]


def against_nginx(argv, preload):
    """The run, its files, and the connections and requests that nginx counted."""
    with services.nginx() as server, scratch_directory() as scratch:
        stats_file = Path(scratch, "stats.json")
        before = server.counters()
        output = execute(argv(scratch, server.port), environment(preload, {}, str(stats_file)),
                         cwd=scratch)
        after = server.counters()
        files = {path.name: path.read_bytes() for path in Path(scratch).glob("file*")}
        result = Run(*output, [], read_stats(stats_file), read_witnessed(scratch))
        return result, files, after[0] - before[0] - 1, after[1] - before[1] - 1


def both_against_nginx(argv, normalise=None):
    plain, pooled = (against_nginx(argv, preload) for preload in (False, True))
    expect(plain[0].status == 0, f"without the library: {plain[0]}")
    check_same(plain[0], pooled[0], normalise)
    expect(plain[1] == pooled[1], "other files")
    expect(plain[3] == pooled[3], f"{plain[3]} requests without, {pooled[3]} with")
    return plain, pooled


@claim("aria2, one file after the other: the same files, over no more connections")
def files_by_aria2():
    plain, pooled = both_against_nginx(aria2)
    expect(len(plain[1]) == 10 and all(plain[1].values()), f"no files: {plain[0]}")
    expect(pooled[2] <= plain[2], f"{plain[2]} connections without, {pooled[2]} with")


def without_times(output):
    return b"\n".join(line for line in output.splitlines()
                      if line.startswith((b"requests: ", b"status codes: ")))


@claim("h2load over HTTP/1.1, one client after the other: as many answers, fewer connections")
def answers_by_h2load():
    plain, pooled = both_against_nginx(h2load, without_times)
    expect(b"8 succeeded" in plain[0].stdout, f"{plain[0]}")
    expect(plain[2] == 8, f"{plain[2]} connections without")
    expect(pooled[2] < 8, f"{pooled[2]} connections with: {pooled[0].stats}")


# ---- half-closed, and waiting for the other half ----

# Each ends its input when it has read the whole answer: then the connection is idle, and the server
# ends it when it sees the end. Programs that wait no longer than some time have it set to an hour.
HALF_CLOSERS = [
    ("nc.openbsd -N", ["nc.openbsd", "-N", "127.0.0.1", "{port}"]),
    ("nc.traditional", ["nc.traditional", "-q", "3600", "127.0.0.1", "{port}"]),
    ("busybox nc", ["busybox", "nc", "127.0.0.1", "{port}"]),
    ("socat", ["socat", "-t3600", "-", "TCP4:127.0.0.1:{port}"]),
    ("socat, 16 bytes at a time",
     ["socat", "-t3600", "-b", "16", "-", "TCP4:127.0.0.1:{port}"]),
]


def converse(argv, preload):
    """Asks through the program, ends its input when the answer is there, and waits for its end."""
    with Server("keepalive", gate=Gate()) as server, scratch_directory() as scratch:
        stats_file = Path(scratch, "stats.json")
        words = [word.replace("{port}", str(server.port)) for word in argv]
        process = subprocess.Popen(
            [need(words[0]), *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
            env=environment(preload, {}, str(stats_file)))
        guard = threading.Timer(TIMEOUT, os.killpg, (process.pid, signal.SIGKILL))
        guard.start()
        try:
            process.stdin.write(REQUEST)
            process.stdin.flush()
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += process.stdout.read(1)
            answer += process.stdout.read(1000)
            rest, stderr = process.communicate()
        finally:
            guard.cancel()
        return Run(answer + rest, stderr.decode(), process.returncode, [server],
                   read_stats(stats_file), read_witnessed(scratch))


def half_close(argv):
    plain, pooled = (converse(argv, preload) for preload in (False, True))
    expect(plain.status == 0, f"without the library: {plain}")
    check_same(plain, pooled)
    expect(len(plain.stdout) > 1000, f"no answer: {plain}")


for text, argv in HALF_CLOSERS:
    claim(f"{text} waits for the server's end: it comes")(functools.partial(half_close, argv))


def openssl(directory, port, preload, stats_file):
    server = [need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-WWW", "-cert",
              "certificate", "-key", "key"]
    with services.child(["sh", "-c", 'cd "$0" && exec "$@"', directory, *server], "ACCEPT"):
        argv = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-quiet",
                "-ign_eof", "-CAfile", f"{directory}/certificate"]
        return execute(argv, environment(preload, {}, stats_file),
                       b"GET /page HTTP/1.0\r\n\r\n", timeout=TIMEOUT)


@claim("openssl s_client: unchanged")
def s_client():
    with tempfile.TemporaryDirectory(prefix="sppool-openssl-") as directory:
        argv = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=loopback", "-keyout", "key",
                "-out", "certificate", "-days", "2"]
        subprocess.run(argv, check=True, capture_output=True, cwd=directory)
        Path(directory, "page").write_text("a page\n")
        runs = [openssl(directory, services.free_port(), preload, f"{directory}/stats")
                for preload in (False, True)]
    expect(b"a page" in runs[0][0] and runs[0][2] == 0, f"without the library: {runs[0]}")
    expect(runs[0] == runs[1], f"without: {runs[0]}\nwith: {runs[1]}")


# ---- threads and processes of other languages that wait ----

PYTHON_WAITS = r"""
import multiprocessing, os, queue, signal, socket, subprocess, sys, threading, time

signal.alarm(40)
how = getattr(socket, "SHUT_" + sys.argv[2])

def serve(listener, act):
    connection, _ = listener.accept()
    got = b""
    while data := connection.recv(4096):
        got += data
        if got.endswith(b"\r\n\r\n"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    act()
    connection.close()

def dial(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    got = b""
    while not got.endswith(b"\r\n\r\nok"):
        got += client.recv(4096)
    return client

def child(act, ports):
    listener = socket.create_server(("127.0.0.1", 0))
    ports.put(listener.getsockname()[1])
    serve(listener, act)

def with_process(act, wait):
    context = multiprocessing.get_context("fork")
    ports = context.SimpleQueue()
    process = context.Process(target=child, args=(act, ports))
    process.start()
    client = dial(ports.get())
    client.shutdown(how)
    wait(process)
    client.close()
    process.join()

def with_thread(make):
    listener = socket.create_server(("127.0.0.1", 0))
    act, wait = make()
    thread = threading.Thread(target=serve, args=(listener, act))
    thread.start()
    client = dial(listener.getsockname()[1])
    client.shutdown(how)
    wait(thread)
    client.close()
    thread.join()

def nothing():
    pass

def process_join():
    with_process(nothing, lambda process: process.join())

def process_event():
    event = multiprocessing.get_context("fork").Event()
    with_process(event.set, lambda process: event.wait())

def process_lock():
    lock = multiprocessing.get_context("fork").Lock()
    lock.acquire()
    with_process(lock.release, lambda process: lock.acquire())

def process_queue():
    queue = multiprocessing.get_context("fork").SimpleQueue()
    with_process(lambda: queue.put(1), lambda process: print(queue.get()))

def process_alive():
    def wait(process):
        while process.is_alive():
            time.sleep(0.001)
    with_process(nothing, wait)

def waitpid():
    with_process(nothing, lambda process: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT))

def subprocess_wait():
    ends = os.pipe()
    waiter = subprocess.Popen(["cat"], stdin=ends[0], stdout=subprocess.PIPE)
    def act():
        os.write(ends[1], b"told")
        os.close(ends[1])
    def wait(process):
        os.close(ends[1])
        print(waiter.communicate())
    with_process(act, wait)

def thread_join():
    with_thread(lambda: (nothing, lambda thread: thread.join()))

def thread_event():
    event = threading.Event()
    with_thread(lambda: (event.set, lambda thread: event.wait()))

def thread_condition():
    condition, done = threading.Condition(), []
    def act():
        with condition:
            done.append(1)
            condition.notify()
    def wait(thread):
        with condition:
            condition.wait_for(lambda: done)
    with_thread(lambda: (act, wait))

def thread_queue():
    mine = queue.Queue()
    with_thread(lambda: (lambda: mine.put(1), lambda thread: print(mine.get())))

def thread_spin():
    done = []
    def wait(thread):
        while not done:
            pass
    with_thread(lambda: (lambda: done.append(1), wait))

def reader_is_woken():
    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve, args=(listener, nothing))
    server.start()
    client, got = dial(listener.getsockname()[1]), []
    reader = threading.Thread(target=lambda: got.append(client.recv(100)))
    reader.start()
    client.shutdown(how)
    reader.join()
    print(got)
    client.close()
    server.join()

globals()[sys.argv[1]]()
print("over")
"""

PYTHON_ROWS = ["process_join", "process_event", "process_lock", "process_queue", "process_alive",
               "waitpid", "subprocess_wait", "thread_join", "thread_event", "thread_condition",
               "thread_queue", "thread_spin", "reader_is_woken"]


def python_waits(row):
    for how in "WR", "RDWR":
        plain, pooled = (run_alone([PYTHON, "-c", PYTHON_WAITS, row, how], preload)
                         for preload in (False, True))
        expect(plain.status == 0 and b"over" in plain.stdout, f"without the library: {plain}")
        check_same(plain, pooled)


for row in PYTHON_ROWS:
    claim(f"python waits for who sees the end: {row}")(functools.partial(python_waits, row))

CXX = r"""
#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <mutex>
#include <netinet/in.h>
#include <semaphore>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

static int ends[2];

static int serve()
{
	sockaddr_in address{};
	socklen_t size = sizeof(address);
	int ready[2], port;

	if (pipe(ends) || pipe(ready))
		_exit(2);
	if (fork()) {
		if (read(ready[0], &port, sizeof(port)) != sizeof(port))
			_exit(2);
		close(ends[1]);
		return port;
	}
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (sockaddr *)&address, size) || listen(listener, 1))
		_exit(2);
	getsockname(listener, (sockaddr *)&address, &size);
	port = ntohs(address.sin_port);
	if (write(ready[1], &port, sizeof(port)) < 0)
		_exit(2);
	char data[4096];
	int fd = accept(listener, nullptr, nullptr);
	std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	if (recv(fd, data, sizeof(data), 0) > 0)
		send(fd, answer.data(), answer.size(), 0);
	while (recv(fd, data, sizeof(data), 0) > 0)
		;
	if (write(ends[1], "told\n", 5) != 5)
		_exit(2);
	_exit(0);
}

static int dial(int port)
{
	std::string request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", answer;
	sockaddr_in address{};
	char data[4096];

	address.sin_family = AF_INET;
	address.sin_port = htons(port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (sockaddr *)&address, sizeof(address)))
		_exit(2);
	send(fd, request.data(), request.size(), 0);
	while (!answer.ends_with("ok"))
		answer.append(data, recv(fd, data, sizeof(data), 0));
	return fd;
}

int main(int argc, char **argv)
{
	alarm(40);
	std::string row = argv[1];
	int port = serve();
	std::atomic<int> told{0};
	std::mutex mutex;
	std::condition_variable changed;
	std::promise<int> promise;
	std::binary_semaphore semaphore{0};
	std::thread helper([&] {
		char data[16];
		std::unique_lock<std::mutex> lock(mutex, std::defer_lock);
		if (read(ends[0], data, sizeof(data)) != 5)
			_exit(3);
		if (row == "condition")
			lock.lock();
		told = 1;
		told.notify_all();
		changed.notify_all();
		promise.set_value(7);
		semaphore.release();
	});
	int fd = dial(port);
	shutdown(fd, std::string(argv[2]) == "WR" ? SHUT_WR : SHUT_RDWR);
	if (row == "join") {
		helper.join();
	} else if (row == "condition") {
		std::unique_lock<std::mutex> lock(mutex);
		changed.wait(lock, [&] { return told.load() == 1; });
	} else if (row == "future") {
		std::cout << promise.get_future().get() << std::endl;
	} else if (row == "atomic") {
		told.wait(0);
	} else if (row == "semaphore") {
		semaphore.acquire();
	} else if (row == "sleep") {
		while (!told)
			std::this_thread::sleep_for(std::chrono::milliseconds(1));
	} else if (row == "yield") {
		while (!told)
			std::this_thread::yield();
	}
	close(fd);
	if (helper.joinable())
		helper.join();
	wait(nullptr);
	std::cout << "over" << std::endl;
	return 0;
}
"""

CXX_ROWS = ["join", "condition", "future", "atomic", "semaphore", "sleep", "yield"]


@claim("C++ waits for who sees the end: " + ", ".join(CXX_ROWS))
def cxx_waits():
    source, remove = services.scratch_copy(CXX, "waits.cc")
    try:
        compiled = source.with_name("waits")
        subprocess.run([need("g++"), "-std=c++20", "-pthread", source, "-o", compiled], check=True)
        failed = [row for row in CXX_ROWS for how in ("WR", "RDWR")
                  if not cxx_row(compiled, row, how)]
        expect(not failed, f"otherwise than without the library: {failed}")
    finally:
        remove()


def cxx_row(compiled, row, how):
    plain, pooled = (run_alone([str(compiled), row, how], preload) for preload in (False, True))
    expect(plain.status == 0, f"without the library: {row}: {plain}")
    try:
        check_same(plain, pooled)
    except Failure:
        return False
    return True


if __name__ == "__main__":
    main(JOBS)
