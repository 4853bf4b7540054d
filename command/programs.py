"""Programs: what the kernel will execute, and whether preloading reaches it."""

import os
import re
import stat

from command.common import CANNOT_EXECUTE, NOT_FOUND, Failure
from command.elf import read_elf

LOADER = re.compile(r'ld([-.].*)?\.so(\.\d+)?')
INTERPRETERS_MAX = 5  # the kernel's own limit on scripts run by scripts


def find_program(name):
    """The file that execvp(3) would execute; raises Failure as a shell would answer."""
    if '/' in name or not name:
        candidates = [name]
    else:
        candidates = [os.path.join(directory, name) for directory in os.get_exec_path()]
    there = [path for path in candidates if os.path.lexists(path)]
    for path in there:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    if any(os.path.exists(path) for path in there):
        raise Failure(f'{name}: not an executable file', CANNOT_EXECUTE)
    raise Failure(f'{name}: not found', NOT_FOUND)


def executed_files(path):
    """What runs: the file, the interpreter that its #! line names, and so on; the last is the
    binary."""
    files = [path]
    while len(files) <= INTERPRETERS_MAX:
        interpreter = script_interpreter(files[-1])
        if not interpreter:
            break
        files.append(interpreter)
    return files


def script_interpreter(path):
    """The program that a #! line names, through env(1) if need be, or None."""
    try:
        with open(path, 'rb') as file:
            line = re.split(b'[\n\0]', file.read(256), 1)[0]
    except OSError:
        return None
    if not line.startswith(b'#!'):
        return None
    words = [os.fsdecode(word) for word in line[2:].split()]
    if words and os.path.basename(words[0]) == 'env':
        # env [-S] [-OPTION]... [NAME=VALUE]... PROGRAM
        names = [word for word in words[1:] if word[0] != '-' and '=' not in word]
        try:
            return find_program(names[0]) if names else words[0]
        except Failure:
            return None
    return words[0] if words else None


def is_static(path, elf):
    # The dynamic loader has no interpreter either, and preloads for what it is told to run.
    return not elf.interpreter and not LOADER.fullmatch(os.path.basename(os.path.realpath(path)))


def is_setgid(status):
    # Without group execution it is not: that once meant mandatory locking.
    both = stat.S_ISGID | stat.S_IXGRP
    return status.st_mode & both == both


def has_capabilities(path):
    try:
        return bool(os.getxattr(path, 'security.capability'))
    except OSError:
        return False


def has_privileges(path):
    """Has it any that another user than its owner would not have?"""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(status.st_mode & stat.S_ISUID) or is_setgid(status) or has_capabilities(path)


def changes_privileges(path):
    """Would the kernel set AT_SECURE, under which ld.so ignores a path in LD_PRELOAD?"""
    try:
        status = os.stat(path)
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return False
    except OSError:
        return False
    try:
        with open('/proc/self/status', encoding='ascii', errors='replace') as file:
            if re.search(r'^NoNewPrivs:\s*1', file.read(), re.MULTILINE):
                return False
    except OSError:
        pass
    if status.st_mode & stat.S_ISUID and status.st_uid != os.getuid():
        return True
    if is_setgid(status) and status.st_gid != os.getgid():
        return True
    return os.getuid() != 0 and has_capabilities(path)


def reason_against(path, elf, library):
    """Why preloading would not reach this binary: the end of a sentence, or None."""
    if changes_privileges(path):
        return 'runs with other privileges than yours (setuid, setgid or file capabilities)'
    if not elf:
        return None
    ours = read_elf(library)
    checks = (
        (ours and elf.machine != ours.machine,
         'is built for another architecture than the library'),
        (elf.is_go, 'is a Go program: it makes its system calls without libc'),
        (is_static(path, elf), 'is linked statically'),
        (b'/ld-musl-' in (elf.interpreter or b''), 'uses musl, and the library needs glibc'),
    )
    return next((text for applies, text in checks if applies), None)


def subject(program, path):
    """The beginning of a sentence on the binary that executes the program."""
    return 'it' if path == program else f'its interpreter {path}'


def obstacle(program, library):
    """Why preloading would not reach the program: a sentence, or None."""
    path = executed_files(program)[-1]
    reason = reason_against(path, read_elf(path), library)
    return reason and f'{subject(program, path)} {reason}'
