"""Status pages for tests, written by hand as the library would, or as a liar would."""

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import time

from workshop import ROOT

sys.path.insert(0, ROOT)
from command import tables  # noqa: E402  (found through the line above)

COUNTERS = [each.word for each in tables.counters()]
DISCARDS = [each.word for each in tables.discards()]
REFUSALS = ['none', *(each.word for each in tables.refusals())]
KEYS = [each.key for each in tables.settings() if each.key]
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

ROWS = 256
MORE_AT = 112  # in the head: settings, counters, reasons
REASONS = len(DISCARDS) + len(REFUSALS)
REQUEST_AT = MORE_AT + 8 * (len(KEYS) + len(COUNTERS) + REASONS)
ANSWER_AT = REQUEST_AT + 8 + 512
WORDS_AT = ANSWER_AT + 8 + 192
ROWS_AT = -(-(WORDS_AT + 2048) // 64) * 64
ROW_TEXTS_AT = 64 + 8 * len(KEYS) + 4 * REASONS
LEARNED_AT = -(-(ROW_TEXTS_AT + 16 + 64 + 256) // 8) * 8  # where rows ended at first
ROW_SIZE = LEARNED_AT + 24
SIZE = -(-(ROWS_AT + ROWS * ROW_SIZE) // 64) * 64

# Where the numbers of the head are
HEAD = {name: 8 + 4 * number for number, name in enumerate(
    '''layout size pid off sequence rows_offset row_size row_count words_offset words_size
    counter_count discard_count refusal_count setting_count request_offset answer_offset'''.split())}
TIMES_AT = 72


def now_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def row(number=1, name='www.contoso.com', address='10.0.0.1', port=80, protocol='http', made=0,
        idle_since=0, opened=3, reused=9, in_use=2, parked=1, waiting=0, sequence=2, used=1,
        settings=None, keeps_ms=0, keeps_until=0, quarantined_until=0, habit=0, **reasons):
    """Reasons are discards where they begin with an underscore, like _idle=2, else refusals."""
    def raw(text, size):
        return (text if isinstance(text, bytes) else text.encode())[:size].ljust(size, b'\0')
    settings = {**{key: 0 for key in KEYS}, **(settings or {})}
    counts = [reasons.get('_' + word, 0) for word in DISCARDS]
    counts += [reasons.get(word, 0) for word in REFUSALS]
    data = struct.pack(f'=2I5Q4I{len(KEYS)}q{REASONS}I', sequence, used, number,
                       made or now_ms() - 10000, idle_since, opened, reused, in_use, parked,
                       waiting, port, *settings.values(), *counts)
    data += raw(protocol, 16) + raw(address, 64) + raw(name, 256)
    return data.ljust(LEARNED_AT, b'\0') + struct.pack('=2Q2I', keeps_until, quarantined_until,
                                                       keeps_ms, habit)


def page(pid, rows=(), off=0, refused=None, discarded=None, since=0, **counters):
    """The bytes of a page."""
    data = bytearray(SIZE)
    struct.pack_into('=8s16I', data, 0, b'sppool\n', 1, SIZE, pid, off, 2, ROWS_AT, ROW_SIZE, ROWS,
                     WORDS_AT, 2048, len(COUNTERS), len(DISCARDS), len(REFUSALS), len(KEYS),
                     REQUEST_AT, ANSWER_AT)
    since = since or now_ms() - 60000
    struct.pack_into('=2Q2I2q', data, TIMES_AT, since, now_ms(), len(rows), 1, 256, 64)
    counts = [counters.get(word, 0) for word in COUNTERS]
    counts += [(discarded or {}).get(word, 0) for word in DISCARDS]
    counts += [(refused or {}).get(word, 0) for word in REFUSALS]
    struct.pack_into(f'={len(KEYS)}q{len(counts)}Q', data, MORE_AT, *[0] * len(KEYS), *counts)
    words = ''.join(f'{word}\0' for word in [*COUNTERS, *DISCARDS, *REFUSALS, *KEYS]).encode()
    data[WORDS_AT:WORDS_AT + len(words)] = words
    for number, each in enumerate(rows):
        data[ROWS_AT + number * ROW_SIZE:ROWS_AT + number * ROW_SIZE + len(each)] = each
    return data


def patched(data, at, number, kind='=I'):
    data = bytearray(data)
    struct.pack_into(kind, data, at, number)
    return data


def head_patched(data, **numbers):
    for name, number in numbers.items():
        data = patched(data, HEAD[name], number)
    return data


@contextlib.contextmanager
def memory(data, seals=SEALS):
    fd = os.memfd_create('sppool', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, len(data))
        os.pwrite(fd, data, 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def entry(directory, descriptor, pid=None, text=None):
    """An entry for the process that runs the test, or for PID."""
    path = os.path.join(directory, str(pid or os.getpid()))
    with open(path, 'w', encoding='ascii') as file:
        file.write(f'sppool 1 {descriptor}\n' if text is None else text)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def shown(directory, data, seals=SEALS):
    """A page of the process that runs the test: its descriptor."""
    with memory(data, seals) as fd, entry(directory, fd):
        yield fd


# A process of its own with a page, that serves requests as it is told: what it gets on its standard
# input is how many; then it answers each with the number 7, or with -22 and a sentence.
OTHER = f'''
import os, struct, sys, time
sys.path.insert(0, {os.path.join(ROOT, "tests", "structure")!r})
import pages
directory, program = sys.argv[1:3]
with open("/proc/self/comm", "wb") as file:
    file.write(os.fsencode(program))
data = pages.page(os.getpid(), [pages.row(name=os.fsencode(program))], opened=3, reused=9)
with pages.shown(directory, data) as fd:
    print(fd, flush=True)
    for line in sys.stdin:
        number = answered = struct.unpack("=I", os.pread(fd, 4, pages.ANSWER_AT))[0]
        while number == answered:
            time.sleep(0.002)
            number, length = struct.unpack("=2I", os.pread(fd, 8, pages.REQUEST_AT))
        text = os.pread(fd, length, pages.REQUEST_AT + 8).decode()
        result, said = (-22, "no: \\x1b[2J") if "bad" in text else (7, "")
        os.pwrite(fd, struct.pack("=i192s", result, said.encode()), pages.ANSWER_AT + 4)
        os.pwrite(fd, struct.pack("=I", number), pages.ANSWER_AT)
        print(answered + 1, number, text, flush=True)
'''


class Other:
    """A process with a page, which serves requests one by one."""

    def __init__(self, directory, program='other'):
        self.process = subprocess.Popen([sys.executable, '-c', OTHER, directory, program],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.fd = int(self.process.stdout.readline())

    def serve_one(self):
        """It will, when one has come."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def served(self):
        """(the number it should have, the number it had, the text)"""
        return re.fullmatch(r'(\d+) (\d+) (.*)\n', self.process.stdout.readline()).groups()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
