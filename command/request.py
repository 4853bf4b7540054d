"""Asks something of the pool of a living process, through its status page (pool/requests.h)."""

import fcntl
import os
import re
import time

from command.common import USAGE, Failure
from command.page import REQUEST_SIZE, open_one

WAIT_S = 2
WAIT_MAX_S = 3600
POLL_S = 0.02

NOT_YET = 3  # the exit status

OPTIONS = '''\
  --wait=SECONDS   how long to wait for the program to do it (2)
  --dir=DIR        the directory of status pages, where it is not SP_STATUS_DIR or the usual one'''

WHEN = '''\
The library does it at the program's next connect(), or close() of a TCP connection, or within about
a second with SP_KEEPER=1. Exit status: 0 done, 1 refused or failed, 2 for a usage error, 3 not done
within the time: it will be, at the program's next connect() or close().'''


def pid_of(text):
    if not re.fullmatch('[1-9][0-9]{0,9}', text):
        raise Failure(f'{text}: not a process id', USAGE)
    return int(text)


def seconds_of(text, option, most=WAIT_MAX_S):
    """A number that somebody gave to an option."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= most:
        raise Failure(f'{option} needs a number of seconds, 0 to {most}', USAGE)
    return seconds


def word_of(text):
    """What is one word of a request, and does not begin another, as ; and # would."""
    if not re.fullmatch(r'[!-~]+', text) or re.search('[;#]', text):
        raise Failure(f'{text}: not a word of a request', USAGE)
    return text


def ask(named, pid, words, wait=None):
    """Has the library do it: (its result, which may be -errno, what it says). Raises Failure."""
    text = ' '.join(map(word_of, words)).encode()
    if len(text) > REQUEST_SIZE:
        raise Failure(f'a request may have {REQUEST_SIZE} characters at most', USAGE)
    deadline = time.monotonic() + (WAIT_S if wait is None else seconds_of(wait, '--wait'))
    with open_one(named, pid, os.O_RDWR) as page:
        if page.head.off:
            raise Failure(f'{pid}: has turned its pool off: there is nothing to change')
        take_turn(page, deadline)
        number = (page.answer()[0] + 1) & 0xffffffff
        page.write_request(number, text)
        return answer_to(page, number, deadline)


def take_turn(page, deadline):
    """One asks at a time, and not before the last request was answered: it would be lost."""
    while True:
        try:
            fcntl.flock(page.entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            wait_for(page, deadline, 'somebody else is asking: nothing was asked')
        except OSError as error:
            raise Failure(f'{page.pid}: its entry cannot be locked: {error.strerror}') from None
    while page.request_number() == (page.answer()[0] + 1) & 0xffffffff:
        wait_for(page, deadline, 'an earlier request was not carried out yet, so nothing was asked')


def answer_to(page, number, deadline):
    while True:
        answered, result, text = page.answer()
        if answered == number:
            return result, text
        wait_for(page, deadline, 'not carried out yet. It will be at the program\'s next connect() '
                 'or close(), or within about a second with SP_KEEPER=1')


def wait_for(page, deadline, complaint):
    """A moment. There is nothing to be woken by: the library makes no calls for us."""
    if not page.lives():
        raise Failure(f'{page.pid}: has ended')
    left = deadline - time.monotonic()
    if left <= 0:
        raise Failure(f'{page.pid}: {complaint}', NOT_YET)
    time.sleep(min(left, POLL_S))


def counted(count, what):
    return f'{count} {what}' if count == 1 else f'{count} {what}s'
