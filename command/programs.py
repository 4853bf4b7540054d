"""Programs: what the kernel will execute, and whether preloading reaches it."""

import os
import re
import stat

from command.common import CANNOT_EXECUTE, NOT_FOUND, Failure
from command.elf import read_elf

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
            line = file.read(256).split(b'\n', 1)[0]
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
    loader = re.match(r'ld([-.].*)?\.so(\.\d+)?$', os.path.basename(os.path.realpath(path)))
    return not elf.interpreter and not loader


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


def obstacle(program, library):
    """Why preloading would not reach the program: the end of a sentence, or None."""
    path = executed_files(program)[-1]
    elf = read_elf(path)
    reason = None
    if changes_privileges(path):
        reason = 'runs with other privileges than yours (setuid, setgid or file capabilities)'
    elif elf:
        ours = read_elf(library)
        checks = (
            (ours and elf.machine != ours.machine,
             'is built for another architecture than the library'),
            (elf.is_go, 'is a Go program: it makes its system calls without libc'),
            (is_static(path, elf), 'is linked statically'),
            (b'/ld-musl-' in (elf.interpreter or b''), 'uses musl, and the library needs glibc'),
        )
        reason = next((text for applies, text in checks if applies), None)
    if not reason:
        return None
    return f'it {reason}' if path == program else f'its interpreter {path} {reason}'
