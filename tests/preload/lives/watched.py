"""Does what it is told on standard input, a word and a number a line, and says when it is done.

PORT [SECOND_PORT]: the servers.
"""

import ctypes
import http.client
import os
import sys
import threading

NEW_DESCRIPTORS = 0x400  # CLONE_FILES of unshare(2)

ports = sys.argv[1:]
held = []
threads = []
fetched = []


def fetch(number=1, port=0):
    for _ in range(number):
        connection = http.client.HTTPConnection("127.0.0.1", int(ports[port]))
        connection.request("GET", "/bytes/10")
        fetched.append(len(connection.getresponse().read()))
        connection.close()


def fetch_from_second(number):
    fetch(number, 1)


def hold(_):
    """A connection that is in use until it is released."""
    connection = http.client.HTTPConnection("127.0.0.1", int(ports[0]))
    connection.request("GET", "/bytes/10")
    connection.getresponse().read()
    held.append(connection)


def release(_):
    held.pop().close()


def start_threads(number):
    for _ in range(number):
        threads.append(threading.Thread(target=fetch))
        threads[-1].start()


def join_threads(_):
    while threads:
        threads.pop().join()


def fork(number):
    """A child that fetches, says who it is, and goes on reading in the place of its parent."""
    if os.fork():
        os.wait()
        return
    fetch(number)
    print("child", os.getpid(), flush=True)


def end(_):
    sys.exit()


def begin_anew(_):
    os.execv(sys.executable, [sys.executable, *sys.argv])


def turn_the_pool_off(_):
    ctypes.CDLL(None).unshare(NEW_DESCRIPTORS)


DEEDS = {"fetch": fetch, "second": fetch_from_second, "hold": hold, "release": release,
         "threads": start_threads, "join": join_threads, "fork": fork, "end": end,
         "exec": begin_anew, "off": turn_the_pool_off}


def lines():
    """Unbuffered, as others may read on."""
    line = b""
    while byte := os.read(0, 1):
        line += byte
        if byte == b"\n":
            yield line.decode().split()
            line = b""


print("ready", flush=True)
for word, number in lines():
    DEEDS[word](int(number))
    print("done", len(fetched), set(fetched) - {10} or "", flush=True)
