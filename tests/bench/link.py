"""Two network namespaces, a link between them that takes time (bench-link), and ways into them."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess

from harness import Skip

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
FAR = '192.0.2.2'
PORT_RANGE = pathlib.Path('/proc/sys/net/ipv4/ip_local_port_range')

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), f'setns {path}')
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(namespace):
    """This thread, and the processes that it starts in the meantime, are in that namespace."""
    before = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    try:
        _enter(namespace)
        yield
    finally:
        _enter(f'/proc/self/fd/{before}')
        os.close(before)


def own_network():
    """Has this process, and those that it starts, in a network of their own: nothing lies in
    TIME_WAIT there, and nothing is left of it afterwards. It has nearly all ports, too. The legacy
    client needs them: on loopback Linux uses one again after a second, so that it could not make
    more requests in a second than there are ports. Returns whether it may; it needs root."""
    if _libc.unshare(CLONE_NEWNET) < 0:
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack('16sh', b'lo', IFF_UP))
    PORT_RANGE.write_text('1024 65535')
    return True


class Link:
    def __init__(self, near, far):
        self.near = near  # paths of the namespaces
        self.far = far

    def time_wait(self):
        """How many connections of the near end are in TIME_WAIT."""
        with inside(self.near), open('/proc/thread-self/net/sockstat', encoding='ascii') as file:
            for line in file:
                words = line.split()
                if words[0] == 'TCP:':
                    return int(words[words.index('tw') + 1])
        raise RuntimeError('no TCP in sockstat')

    def allow_ports(self, first, last):
        with inside(self.near):
            PORT_RANGE.write_text(f'{first} {last}')


@contextlib.contextmanager
def link(bench, round_trip=0, rate=0):
    argv = [bench.program('bench-link'), '--round-trip', str(round_trip)]
    if rate:
        argv += ['--rate', str(rate)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        numbers = process.stdout.readline().split()
        if not numbers:
            process.stdin.close()
            raise Skip(process.stderr.read().strip())
        yield Link(*(f'/proc/{process.pid}/fd/{number}' for number in numbers))
        process.stdin.close()
