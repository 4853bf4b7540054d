"""The directory of status pages: where it is, whose it is, and what is left in it of processes that
have ended. How a page is found through it: shim/status.h."""

import errno
import os
import re
import stat

from command.common import Failure

PID = re.compile('[1-9][0-9]{0,9}')
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

# Of leftovers and strangers there may be any number; nobody should wait for them.
ENTRIES_MAX = 10000
ENTRY_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def location(named=None):
    """The directory that is meant where one is NAMED, or none is."""
    return named or os.environ.get('SP_STATUS_DIR') or default_location()


def default_location():
    runtime = os.environ.get('XDG_RUNTIME_DIR')
    try:
        # After su(1) or sudo(8) it may still be somebody else's.
        if runtime and runtime[0] == '/' and os.stat(runtime).st_uid == os.geteuid():
            return os.path.join(runtime, 'sppool')
    except (OSError, ValueError):
        pass
    return f'/tmp/sppool-{os.geteuid()}'


class Directory:
    """An open directory that nobody but its owner can write to."""

    def __init__(self, path, anybodys=False):
        """Raises Failure where it is another user's (root may look at ANYBODYS), OSError where it
        is not there or not to be opened."""
        self.path = path
        # With a slash at its end a symlink would be followed after all.
        bare = path.rstrip('/') or '/'
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self.fd = os.open(bare, flags)
        except ValueError as error:
            raise Failure(f'{path}: {error}') from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise Failure(f'{path}: not a directory, or a symbolic link') from None
            raise
        found = os.fstat(self.fd)
        self.owner = found.st_uid
        complaint = None
        if self.owner != os.geteuid() and not (anybodys and os.geteuid() == 0):
            complaint = f'belongs to user {self.owner}'
        elif found.st_mode & OTHERS_MAY_WRITE:
            complaint = 'others may write to it'
        if complaint:
            self.close()
            raise Failure(f'{path}: {complaint}')

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def pids(self):
        """Of the processes that have an entry, or had one, in numerical order."""
        found = []
        with os.scandir(self.fd) as entries:
            for _, entry in zip(range(ENTRIES_MAX), entries):
                if PID.fullmatch(entry.name):
                    found.append(int(entry.name))
        return sorted(found)

    def open_entry(self, pid):
        return os.open(str(pid), ENTRY_FLAGS, dir_fd=self.fd)

    def remove(self, pid, entry):
        """Removes this ENTRY, as fstat(2) had it, and not one that took its place."""
        try:
            now = os.stat(str(pid), dir_fd=self.fd, follow_symlinks=False)
            if (now.st_dev, now.st_ino) == (entry.st_dev, entry.st_ino):
                os.unlink(str(pid), dir_fd=self.fd)
        except OSError:
            pass  # somebody else was faster, or it is not ours to remove

    def remove_leftovers(self):
        """Of processes that have ended; whether others still have a page is not looked at."""
        for pid in self.pids():
            try:
                entry = os.stat(str(pid), dir_fd=self.fd, follow_symlinks=False)
            except OSError:
                continue
            if not os.path.exists(f'/proc/{pid}'):
                self.remove(pid, entry)


def make(path):
    """Makes sure that there is such a directory, and that it is our own; raises Failure."""
    try:
        try:
            os.mkdir(path.rstrip('/') or '/', 0o700)
        except FileExistsError:
            pass
        return Directory(path)
    except (OSError, ValueError) as error:
        raise Failure(f'{path}: {getattr(error, "strerror", error)}') from None
