#!/usr/bin/python3
"""What processes without sockets have of the library is small: shim/layout.ld.

The library's code lies in two mappings, and one of them is for processes that have sockets. The
kernel maps pages around those that are touched, but not beyond a mapping; so a process that has not
touched it has nothing of it at all.

Speaks TAP. The build directory is $SPPOOL_BUILD.
"""

import os
import re
import subprocess
import sys

from workshop import run_tests

LIBRARY = os.path.join(os.environ['SPPOOL_BUILD'], 'shim', 'libsppool.so')

# Bytes that every process maps of the file. What it has to itself is that, and some 20 KiB that it
# writes to, less what any library takes (scripts/bench, whose goal is 64 KiB).
HOT_MOST = 52 * 1024

PAGE = 4096

# What the processes below do before they look at themselves.
FILES = '''
import os, tempfile
os.close(os.open('/etc/passwd', os.O_RDONLY))
open('/etc/passwd').read()
os.listdir('/')
os.write(os.dup(os.open('/dev/null', os.O_WRONLY)), b'x')
os.dup2(1, 100)
tempfile.TemporaryFile().write(b'x')
try: open('/nowhere')
except OSError: pass
'''
CHILDREN = '''
import os, subprocess
subprocess.run(['true'], check=True)
subprocess.run('true | true', shell=True, check=True)
os.system('true')
child = os.fork()
if not child: os._exit(0)
os.waitpid(child, 0)
'''
CHILD = '''
import os
child = os.fork()
if child: os.waitpid(child, 0); os._exit(0)
'''
PAIRS = '''
import os, select, socket
a, b = socket.socketpair()
a.send(b'x'); b.recv(1); a.close()
one, other = os.pipe()
os.write(other, b'x'); os.read(one, 1); os.close(one)
server = socket.socket(socket.AF_UNIX); server.bind('\\0sppool-layout-%d' % os.getpid())
server.listen(); client = socket.socket(socket.AF_UNIX); client.connect(server.getsockname())
server.accept()
epoll = select.epoll(); epoll.register(b, select.EPOLLIN); epoll.poll(0)
'''
SOCKETS = '''
import socket
socket.socket().close()
'''
LOOK = "\nprint(open('/proc/self/smaps').read())\n"


def code_segments(library):
    """[(offset, address, size)] of what is executable."""
    headers = subprocess.run(['readelf', '-lW', library], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    rows = re.findall(r'^ *LOAD +0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x\w+ R E', headers, re.MULTILINE)
    assert len(rows) == 2, f'two segments of code, not: {rows}'
    return [tuple(int(number, 16) for number in row) for row in rows]


def resident(command):
    """KiB of the two mappings of code that a process says it has."""
    output = subprocess.run(command, env={**os.environ, 'LD_PRELOAD': LIBRARY}, check=True,
                            stdout=subprocess.PIPE, text=True, timeout=60).stdout
    found = {int(offset, 16): int(size) for offset, size in re.findall(
        r'^\S+ r-xp (\w+) .*/libsppool\.so$(?:\n(?!Rss).*)*\nRss: +(\d+) kB', output,
        re.MULTILINE)}
    offsets = [offset & -PAGE for offset, _address, _size in code_segments(LIBRARY)]
    assert sorted(found) == offsets, (found, offsets)
    return [found[offset] for offset in offsets]


def expect_only_hot(*command):
    hot, cold = resident(command)
    assert hot > 0, 'the measure fails'
    assert cold == 0, f'{cold} KiB mapped of what only processes with sockets are to run'


def python(code):
    return sys.executable, '-I', '-S', '-c', code + LOOK


def what_is_hot_ends_a_page_before_what_is_cold(_workshop):
    hot, cold = code_segments(LIBRARY)
    assert cold[1] & -PAGE >= hot[1] + hot[2] + PAGE, (hot, cold)


def what_is_hot_is_small(_workshop):
    hot, _cold = code_segments(LIBRARY)
    assert hot[2] <= HOT_MOST, f'{hot[2]} bytes, {HOT_MOST} at most'


def a_process_that_reads_has_only_what_is_hot(_workshop):
    expect_only_hot('cat', '/proc/self/smaps')


def a_shell_that_forks_has_only_what_is_hot(_workshop):
    expect_only_hot('sh', '-c', 'x=$(echo a | sed s/a/b/); true & wait; exec 5</dev/null 5<&-; '
                    'while read -r line; do echo "$line"; done </proc/$$/smaps')


def a_process_that_opens_files_has_only_what_is_hot(_workshop):
    expect_only_hot(*python(FILES))


def a_process_with_children_and_a_forked_one_have_only_what_is_hot(_workshop):
    expect_only_hot(*python(CHILDREN))
    expect_only_hot(*python(CHILD))


def a_process_with_local_sockets_has_only_what_is_hot(_workshop):
    expect_only_hot(*python(PAIRS))


def a_process_with_a_tcp_socket_has_the_rest(_workshop):
    hot, cold = resident(python(SOCKETS))
    assert hot > 0 and cold > 0, (hot, cold)


TESTS = (
    what_is_hot_ends_a_page_before_what_is_cold,
    what_is_hot_is_small,
    a_process_that_reads_has_only_what_is_hot,
    a_shell_that_forks_has_only_what_is_hot,
    a_process_that_opens_files_has_only_what_is_hot,
    a_process_with_children_and_a_forked_one_have_only_what_is_hot,
    a_process_with_local_sockets_has_only_what_is_hot,
    a_process_with_a_tcp_socket_has_the_rest,
)


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, {}))
