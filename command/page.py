"""Status pages: what the pool of one living process shows. The layout is pool/status_page.h.

Whoever may write to a page may write anything there, at any time. So the numbers by which it is
read are checked against the size that the kernel gives, what is read is bounded, nothing is waited
for without end, and a text from a page is only ever text (common.printable).
"""

import errno
import fcntl
import os
import re
import stat
import struct
import time
from collections import namedtuple

from command.common import Failure
from command.directory import Directory, location

MAGIC = b'sppool\n\0'
LAYOUT = 1

# Up to where the numbers are whose count is in the head itself
HEAD = struct.Struct('=8s16I2Q2I2q')
Head = namedtuple('Head', '''magic layout size pid off sequence rows_offset row_size row_count
    words_offset words_size counter_count discard_count refusal_count setting_count
    request_offset answer_offset made_ms changed_ms service_points parked
    max_service_points max_parked''')
SEQUENCE_AT = 24
ROW = struct.Struct('=2I5Q4I')
Row = namedtuple('Row', '''sequence used id made_ms idle_since_ms opened reused in_use parked
    waiting port''')
TEXT_SIZES = (16, 64, 256)  # of a row: protocol, address, name
# Behind all else in a row: until when what follows is true, until when nothing is reused, for how
# long idle connections are kept, whether that is a habit. Older libraries have none of it.
LEARNED = struct.Struct('=2Q2I')
LONGEST_MS = 86400000  # nothing is learned for longer
REQUEST_SIZE = 512
REQUEST = struct.Struct(f'=2I{REQUEST_SIZE}s')
ANSWER = struct.Struct('=Ii192s')

# The words of the setting proto, as enum proto counts them
PROTOCOLS = ('auto', 'http', 'raw', 'resp', 'memcached')

SIZE_MAX = 1 << 24
WORDS_MAX = 1000  # in each of the lists
ROWS_MAX = 1 << 16
WORD = re.compile(r'[a-z][a-z0-9_]{0,63}')

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
ENTRY = re.compile(rb'sppool 1 ([0-9]{1,9})\n')

# What is being written is read again so often, and for so long by one command.
ATTEMPTS = 20
PAUSE_S = 0.001
PATIENCE_S = 0.5

# What a page says. Times are seconds since the epoch; idle_since is 0 for what is in use. What is
# learned of a server is said as in the statistics.
Process = namedtuple('Process', '''pid program since off counters discarded refused defaults
    service_points parked max_service_points max_parked points unread''')
Point = namedtuple('Point', '''id host address port protocol since idle_since in_use parked waiting
    opened reused settings discarded refused keeps_ms quarantined_ms habit''')


class Gone(Exception):
    """The process that made the entry has ended, or has no page any more."""


class Ended(Failure):
    """There is no such process, or not any more."""


class Unfinished(Exception):
    """The process is only making it."""


class Patience:
    """Tries again what another process may be changing just now; but somebody may make it look so
    for ever."""

    def __init__(self):
        self.deadline = time.monotonic() + PATIENCE_S

    def attempts(self):
        yield
        for _ in range(ATTEMPTS - 1):
            if time.monotonic() > self.deadline:
                return
            time.sleep(PAUSE_S)
            yield


class Page:
    """The page of a process, open and checked. Raises Gone, and Failure where it is none."""

    def __init__(self, directory, pid, flags=os.O_RDONLY, patience=None):
        self.pid = pid
        self.patience = patience or Patience()
        self.entry = self.fd = None
        for _ in self.patience.attempts():
            try:
                return self.open(directory, flags)
            except Unfinished as unfinished:
                self.close()
                what = unfinished
            except BaseException:
                self.close()
                raise
        self.complain(what)

    def open(self, directory, flags):
        self.entry = self.open_entry(directory)
        self.fd = self.open_page(directory, flags)
        self.check(directory.owner)

    def close(self):
        for fd in (self.entry, self.fd):
            if fd is not None:
                os.close(fd)
        self.entry = self.fd = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def complain(self, what):
        raise Failure(f'{self.pid}: {what}')

    # Finding

    def open_entry(self, directory):
        try:
            return directory.open_entry(self.pid)
        except FileNotFoundError:
            raise Gone from None
        except OSError as error:
            return self.complain(f'its entry in {directory.path} cannot be read: {error.strerror}')

    def open_page(self, directory, flags):
        found = os.fstat(self.entry)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != directory.owner:
            self.complain(f'its entry in {directory.path} is not of libsppool\'s making')
        text = os.pread(self.entry, 64, 0)
        written = ENTRY.fullmatch(text)
        if not written:
            if not self.lives():
                self.leave(directory, found)
            if not text:
                raise Unfinished(f'its entry in {directory.path} is empty')
            self.complain(f'its entry in {directory.path} is not of libsppool\'s making')
        try:
            return reopened(f'/proc/{self.pid}/fd/{int(written[1])}', flags)
        except (FileNotFoundError, ProcessLookupError):
            return self.leave(directory, found)
        except PermissionError:
            return self.complain('may not be looked into')
        except OSError as error:
            return self.complain(f'cannot be looked into: {error.strerror}')

    def leave(self, directory, entry):
        directory.remove(self.pid, entry)
        raise Gone

    def lives(self):
        return os.path.exists(f'/proc/{self.pid}')

    def program(self):
        """What the kernel calls it."""
        try:
            with open(f'/proc/{self.pid}/comm', 'rb') as file:
                return text_of(file.read(64).rstrip(b'\n'))
        except OSError:
            return '?'

    # Checking

    def check(self, owner):
        """Is it what it should be, so that it can be read and asked by what is in it?"""
        found = os.fstat(self.fd)
        try:
            seals = fcntl.fcntl(self.fd, fcntl.F_GET_SEALS)
        except OSError:
            seals = 0
        if not stat.S_ISREG(found.st_mode) or seals & SEALS != SEALS:
            self.complain('what its entry names is no status page')
        if found.st_uid != owner:
            self.complain(f'its status page belongs to user {found.st_uid}')
        if found.st_size < HEAD.size:
            self.complain('its status page is too short')
        if found.st_size > SIZE_MAX:
            self.complain('its status page is too long')
        self.size = found.st_size
        head = self.head = Head(*HEAD.unpack(self.read(0, HEAD.size)))
        if not any(head.magic):
            raise Unfinished('its status page is empty')
        if head.magic != MAGIC:
            self.complain('its status page is not one of libsppool')
        if head.layout != LAYOUT:
            self.complain(f'its status page is of another version (layout {head.layout})')
        if head.pid != self.pid:
            self.complain(f'its status page is that of process {head.pid}')
        complaint = self.corruption()
        if complaint:
            self.complain(f'its status page is corrupt: {complaint}')
        self.words = self.read_words()

    def corruption(self):
        head = self.head
        counts = head.counter_count, head.discard_count, head.refusal_count, head.setting_count
        if head.size != self.size:
            return 'its size'
        if max(counts) > WORDS_MAX or head.row_count > ROWS_MAX:
            return 'its counts'
        self.reason_count = head.discard_count + head.refusal_count
        # The numbers behind those that HEAD and ROW have
        self.more = struct.Struct(
            f'={head.setting_count}q{head.counter_count}Q{self.reason_count}Q')
        self.row_more = struct.Struct(f'={head.setting_count}q{self.reason_count}I'
                                      + ''.join(f'{size}s' for size in TEXT_SIZES))
        if head.row_size < ROW.size + self.row_more.size or head.row_size % 8:
            return 'the size of its rows'
        self.row_end = self.learned_at = -(-(ROW.size + self.row_more.size) // 8) * 8
        if head.row_size >= self.learned_at + LEARNED.size:
            self.row_end += LEARNED.size
        parts = sorted(((0, HEAD.size + self.more.size),
                        (head.request_offset, REQUEST.size),
                        (head.answer_offset, ANSWER.size),
                        (head.words_offset, head.words_size),
                        (head.rows_offset, head.row_size * head.row_count)))
        for (start, length), (following, _) in zip(parts, [*parts[1:], (self.size, 0)]):
            if start + length > following:
                return 'its parts overlap, or do not fit into it'
        if head.request_offset % 4 or head.answer_offset % 4 or head.rows_offset % 8:
            return 'its parts are not aligned'
        return None

    def read_words(self):
        """The words of the counters, discards, refusals and settings, which do not change."""
        head = self.head
        counts = head.counter_count, head.discard_count, head.refusal_count, head.setting_count
        written = self.read(head.words_offset, head.words_size).split(b'\0')[:-1]
        words = [word.decode('latin-1') for word in written[:sum(counts)]]
        if len(words) < sum(counts) or not all(map(WORD.fullmatch, words)):
            self.complain('its status page is corrupt: its words')
        lists = []
        for count in counts:
            lists.append(words[:count])
            words = words[count:]
            if len(set(lists[-1])) < count:
                self.complain('its status page is corrupt: the same word twice')
        return lists

    # Reading

    def read(self, at, size):
        data = os.pread(self.fd, size, at)
        if len(data) != size:
            self.complain('its status page was cut off')
        return data

    def steadily(self, sequence_at, at, size):
        """What is there while nobody writes it, or None where somebody always does."""
        for _ in self.patience.attempts():
            before = self.read(sequence_at, 4)
            data = self.read(at, size)
            if not before[LOW_BYTE] & 1 and self.read(sequence_at, 4) == before:
                return data
        return None

    def process(self):
        """What the page says now."""
        clock = Clock()
        data = self.steadily(SEQUENCE_AT, 0, HEAD.size + self.more.size)
        if data is None:
            self.complain('its status page is always being written')
        head = Head(*HEAD.unpack_from(data))
        numbers = list(self.more.unpack_from(data, HEAD.size))
        counter_words, _, _, keys = self.words
        defaults = settings_of(keys, numbers)
        counters = dict(zip(counter_words, numbers[len(keys):]))
        discarded, refused = self.reasons(numbers[len(keys) + len(counter_words):])
        points, unread = self.points(clock)
        return Process(self.pid, self.program(), clock.seconds(head.made_ms), bool(head.off),
                       counters, discarded, refused, defaults, head.service_points, head.parked,
                       head.max_service_points, head.max_parked, points, unread)

    def points(self, clock):
        """The service points, and how many could not be read as they were always being written."""
        points, unread = [], 0
        for number in range(self.head.row_count):
            at = self.head.rows_offset + number * self.head.row_size
            sequence, used = struct.unpack('=2I', self.read(at, 8))
            if not sequence & 1 and not used:
                continue
            data = self.steadily(at, at, self.row_end)
            if data is None:
                unread += 1
            elif Row(*ROW.unpack_from(data)).used:
                points.append(self.point(data, clock))
        return points, unread

    def point(self, data, clock):
        row = Row(*ROW.unpack_from(data))
        *numbers, protocol, address, name = self.row_more.unpack_from(data, ROW.size)
        keys = self.words[3]
        idle_since = row.idle_since_ms and clock.seconds(row.idle_since_ms)
        return Point(row.id, string_of(name), string_of(address), row.port,
                     string_of(protocol), clock.seconds(row.made_ms), idle_since, row.in_use,
                     row.parked, row.waiting, row.opened, row.reused, settings_of(keys, numbers),
                     *self.reasons(numbers[len(keys):]), *self.learned(data, clock))

    def learned(self, data, clock):
        """(keeps_ms, quarantined_ms, habit)"""
        if self.row_end == self.learned_at:
            return 0, 0, False
        until, quarantined_until, keeps_ms, habit = LEARNED.unpack_from(data, self.learned_at)
        if not clock.left_ms(until):
            keeps_ms = 0
        return keeps_ms, clock.left_ms(quarantined_until), bool(keeps_ms and habit)

    def reasons(self, numbers):
        """Those that occurred: of discards, and of refusals."""
        _, discards, refusals, _ = self.words
        counts = [{word: count for word, count in zip(words, part) if count}
                  for words, part in ((discards, numbers), (refusals, numbers[len(discards):]))]
        return tuple(counts)

    # Asking: how, is command/request.py

    def request_number(self):
        return struct.unpack('=I', self.read(self.head.request_offset, 4))[0]

    def answer(self):
        """(number, result, text)"""
        number, = struct.unpack('=I', self.read(self.head.answer_offset, 4))
        _, result, text = ANSWER.unpack(self.read(self.head.answer_offset, ANSWER.size))
        return number, result, string_of(text)

    def write_request(self, number, text):
        """The number is written last: by it the library sees that there is a request."""
        at = self.head.request_offset
        os.pwrite(self.fd, text.ljust(REQUEST_SIZE, b'\0'), at + 8)
        os.pwrite(self.fd, struct.pack('=I', len(text)), at + 4)
        os.pwrite(self.fd, struct.pack('=I', number), at)


def settings_of(keys, numbers):
    """As rules have them: numbers, but for proto, which is a word."""
    settings = dict(zip(keys, numbers))
    if settings.get('proto') in range(len(PROTOCOLS)):
        settings['proto'] = PROTOCOLS[settings['proto']]
    return settings


LOW_BYTE = struct.pack('=I', 1).index(1)


class Clock:
    """Milliseconds of CLOCK_BOOTTIME as seconds since the epoch; what cannot be is never."""

    def __init__(self):
        self.now_ms = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000
        self.now = time.time()

    def seconds(self, at_ms):
        return self.now - min(max(self.now_ms - at_ms, 0), self.now_ms) / 1000

    def left_ms(self, until_ms):
        left = until_ms - self.now_ms
        return left if 0 < left <= LONGEST_MS else 0


def string_of(data):
    """Up to the 0 at its end, or all, where there is none."""
    return text_of(data.split(b'\0', 1)[0])


def text_of(data):
    return data.decode(errors='backslashreplace')


def reopened(path, flags):
    """Opens what a descriptor of another process is: a file, and nothing that would answer to being
    opened, as a device or a pipe may."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, 'its entry names no file')
        return os.open(f'/proc/self/fd/{fd}', flags | os.O_CLOEXEC)
    finally:
        os.close(fd)


def open_directory(named):
    """The directory of status pages, or None where there is none."""
    path = location(named)
    try:
        return Directory(path, anybodys=bool(named))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f'{path}: {error.strerror}') from None


def open_one(named, pid, flags=os.O_RDONLY):
    """The page of one process, in the directory that is NAMED or meant."""
    directory = open_directory(named)
    try:
        if directory:
            with directory:
                return Page(directory, pid, flags)
    except Gone:
        pass
    if not os.path.exists(f'/proc/{pid}'):
        raise Ended(f'{pid}: there is no such process')
    raise Failure(f'{pid}: has no status page in {location(named)} (see SP_STATUS_DIR)')


def processes(named, complain):
    """What the pages of all processes say now; COMPLAIN is told of those that cannot be read."""
    directory = open_directory(named)
    if not directory:
        return
    patience = Patience()
    with directory:
        for pid in directory.pids():
            try:
                with Page(directory, pid, patience=patience) as page:
                    yield page.process()
            except Gone:
                pass
            except Failure as failure:
                complain(failure)


def process_of(named, pid):
    with open_one(named, pid) as page:
        return page.process()
