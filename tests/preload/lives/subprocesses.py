"""Every way in which python starts a program, beside a parked connection and a live one."""

import os
import pty
import subprocess

import requests_of
from requests_of import own_descriptors, say

LIST = ["ls", "/proc/self/fd"]
ASK = """
printf 'GET /echo/by-child-%d HTTP/1.1\\r\\nHost: loopback\\r\\n\\r\\n' >&%d
head -c 49 <&%d
"""


def listing(**options):
    return subprocess.run(LIST, capture_output=True, text=True, **options).stdout.split()


def from_a_pipe():
    with os.popen("ls /proc/self/fd") as output:
        return output.read().split()


def spawned():
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, reader)]
    child = os.posix_spawnp("ls", LIST, os.environ, file_actions=actions)
    os.close(writer)
    with open(reader) as output:
        lines = output.read().split()
    return lines, os.waitpid(child, 0)[1]


def forked():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.execvp("ls", LIST)
    os.close(writer)
    with open(reader) as output:
        lines = output.read().split()
    return lines, os.waitpid(child, 0)[1]


def on_a_terminal():
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("ls", LIST)
    output = b""
    try:
        while data := os.read(terminal, 1000):
            output += data
    except OSError:
        pass  # EIO is how a terminal says that nobody is there any more
    os.close(terminal)
    return output.split(), os.waitpid(child, 0)[1]


WAYS = [
    lambda: listing(close_fds=True),
    lambda: listing(close_fds=False),
    lambda: listing(close_fds=False, start_new_session=True),
    lambda: listing(close_fds=True, cwd="/", preexec_fn=lambda: None),
    from_a_pipe,
    lambda: os.system("ls /proc/self/fd >/dev/null"),
    spawned,
    forked,
    on_a_terminal,
]


def main():
    for number, way in enumerate(WAYS):
        say(f"parked-{number}")
        print("beside a parked connection:", way())
        live = requests_of.Open()
        live.say(f"live-{number}-0")
        print("beside a live connection:", way())
        live.say(f"live-{number}-1")
        live.close()
        say(f"after-{number}")
    for number in range(5):
        live = requests_of.Open()
        live.say(f"passed-{number}")
        fd = live.fileno()
        command = ASK % (number, fd, fd)
        child = subprocess.run(["sh", "-c", command], pass_fds=[fd], stdout=subprocess.PIPE)
        print(child.returncode, child.stdout)
        live.close()
        say(f"after-passed-{number}")


say("first")
before = own_descriptors()
main()
print(before == own_descriptors(), before)
