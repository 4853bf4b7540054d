"""Which libraries a program is loaded with: what ld.so(8) would do, without executing anything.

It is followed as far as files go: the variants of a library for better processors (glibc-hwcaps)
are taken to need what the plain one needs.
"""

import os
import re
import struct
import sysconfig
from collections import namedtuple

from command.elf import DF_1_NODEFLIB, ET_DYN, FLAGS_1, RPATH, RUNPATH, Elf, Malformed

CACHE = '/etc/ld.so.cache'
CACHE_MAGIC = b'glibc-ld.so.cache1.1'
NAMES_MAX = 4096  # bounds what a hostile file costs

Object = namedtuple('Object', [
    'name', 'path', 'soname', 'needed', 'rpath', 'runpath', 'default',
    'imports', 'defines',  # names of symbols
    'loader'])  # the object that needs it


def load(path, elf, cache=CACHE):
    """([the program, and each library as it is loaded], [(what is not found, who needs it)])"""
    search = Search(elf.machine, cache)
    program = read_object(os.path.basename(path), path, elf, None)
    program = program._replace(path=os.path.realpath(path))
    objects, missing = [program], []
    known = {file_identity(path)}
    names = set()
    for user in objects:  # which grows
        for name in user.needed:
            if name in names or len(names) > NAMES_MAX:
                continue
            names.add(name)
            found = search.find(name, user)
            if not found:
                missing.append((name, user.name))
            elif file_identity(found.path) not in known:
                known.add(file_identity(found.path))
                names.add(found.soname)
                objects.append(found)
    return objects, missing


def read_object(name, path, elf, loader):
    runpath = elf.texts(RUNPATH)
    return Object(name, path, elf.soname, elf.needed,
                  # ld.so ignores the one where there is the other.
                  [] if runpath else split_path(elf.texts(RPATH)), split_path(runpath),
                  not elf.tag(FLAGS_1) & DF_1_NODEFLIB, *elf.symbols, loader)


def split_path(texts):
    return [entry for text in texts for entry in re.split('[:;]', text)]


def file_identity(path):
    try:
        status = os.stat(path)
        return status.st_dev, status.st_ino
    except OSError:
        return path


class Search:
    """Finds libraries for one machine."""

    def __init__(self, machine, cache):
        self.machine = machine
        self.cache = read_cache(cache)
        multiarch = sysconfig.get_config_var('MULTIARCH')
        bits = '64' if machine[0] == 2 else '32'
        libdirs = ([f'lib/{multiarch}'] if multiarch else []) + [f'lib{bits}', 'lib']
        self.lib = libdirs[0]
        self.default = [root + libdir for libdir in libdirs for root in ('/', '/usr/')]
        variable = os.environ.get('LD_LIBRARY_PATH')
        self.environment = split_path([variable]) if variable else []

    def find(self, name, user):
        for path in self.candidates(name, user):
            found = self.open(name, path, user)
            if found:
                return found
        return None

    def candidates(self, name, user):
        """Where ld.so looks, in its order."""
        if '/' in name:
            yield self.expand(name, user)
            return
        if not user.runpath:
            holder = user
            while holder:
                yield from self.within(holder.rpath, name, holder)
                holder = holder.loader
        yield from self.within(self.environment, name, user)
        yield from self.within(user.runpath, name, user)
        for path in self.cache.get(name, ()):
            if user.default or os.path.dirname(path) not in self.default:
                yield path
        if user.default:
            yield from self.within(self.default, name, user)

    def within(self, directories, name, holder):
        # An empty one is the current directory.
        return [os.path.join(self.expand(directory, holder) or '.', name)
                for directory in directories]

    def expand(self, text, holder):
        values = {'ORIGIN': os.path.dirname(os.path.abspath(holder.path)), 'LIB': self.lib,
                  'PLATFORM': os.uname().machine}
        return re.sub(r'\$(?:(ORIGIN|LIB|PLATFORM)\b|\{(ORIGIN|LIB|PLATFORM)\})',
                      lambda match: values[match[1] or match[2]], text)

    def open(self, name, path, loader):
        """The library there, or None: as ld.so, which goes on where one is for another machine."""
        try:
            if not os.path.isfile(path):
                return None
            elf = Elf(path)
            if elf.machine != self.machine or elf.type != ET_DYN:
                return None
            return read_object(name, path, elf, loader)
        except (OSError, ValueError, Malformed):
            return None


def read_cache(path):
    """{name of a library: [where]}; empty where there is no cache of this format."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
    except OSError:
        return {}
    found = {}
    try:
        start = data.index(CACHE_MAGIC)  # an older format may come first, for older programs
        count, = struct.unpack_from('=I', data, start + len(CACHE_MAGIC))
        entries = data[start + 48:start + 48 + count * 24]
        for _, name, place, _, capabilities in struct.iter_unpack('=iIIIQ', entries):
            places = found.setdefault(text_at(data, start + name), [])
            # Variants for better processors stand behind the plain one here.
            places.insert(len(places) if capabilities else 0, text_at(data, start + place))
    except (struct.error, ValueError):
        return {}
    return found


def text_at(data, offset):
    return os.fsdecode(data[offset:data.index(b'\0', offset, offset + 4096)])
