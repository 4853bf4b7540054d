"""ELF files, as far as it matters here. Nothing in a file is believed: whatever cannot be so ends
in Malformed."""

import functools
import os
import struct

ELF_MAGIC = b'\x7fELF'
ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
SHN_UNDEF = 0
GO_BUILD_ID = b'Go\0\0', 4  # name and type of a note

# Tags of the dynamic section
NEEDED, PLTRELSZ, HASH, STRTAB, SYMTAB, RELA, RELASZ = 1, 2, 4, 5, 6, 7, 8
STRSZ, SONAME, RPATH, REL, RELSZ, PLTREL, JMPREL, RUNPATH = 10, 14, 15, 17, 18, 20, 23, 29
GNU_HASH, RELACOUNT, RELCOUNT, FLAGS_1 = 0x6ffffef5, 0x6ffffff9, 0x6ffffffa, 0x6ffffffb
DF_1_NODEFLIB = 0x800

# No name that anybody asks for is longer, and it bounds what a file without zeros costs.
NAME_MAX = 255
TABLE_MAX = 1 << 28
CHAIN_MAX = 1 << 16

MACHINES = {3: 'i386', 20: 'powerpc', 21: 'ppc64', 22: 's390x', 40: 'arm', 62: 'x86-64',
            183: 'aarch64', 243: 'riscv', 258: 'loongarch'}


class Layout:
    """How the structures of one class of ELF files are laid out: as struct has them, and in which
    of their members to find what."""

    def __init__(self, word, segment, segment_members, symbol, relocation_symbol_shift):
        self.header = f'HHI{word * 3}IHHHHHH'  # after e_ident
        self.segment, self.segment_members = segment, segment_members
        self.section = f'II{word * 4}II{word * 2}'
        self.dynamic = word * 2
        self.symbol = symbol
        self.relocation = {REL: word * 2, RELA: word * 3}
        self.relocation_symbol_shift = relocation_symbol_shift


# segment_members: of a program header, where are the offset, address and size in the file.
# symbol: st_name first, and st_shndx last of what is wanted.
LAYOUTS = {  # by EI_CLASS
    1: Layout('I', 'IIIIIIII', (1, 2, 4), 'I10xH', 8),
    2: Layout('Q', 'IIQQQQQQ', (2, 3, 5), 'I2xH16x', 32),
}


class Malformed(Exception):
    """This file is no ELF file, or one that contradicts itself."""


def is_elf(path):
    try:
        with open(path, 'rb') as file:
            return file.read(4) == ELF_MAGIC
    except OSError:
        return False


class Elf:
    """One ELF file, open as long as this object lives. Raises Malformed, or OSError."""

    def __init__(self, path):
        self.file = open(path, 'rb')
        self.size = os.fstat(self.file.fileno()).st_size
        self.budget = 16 * self.size + (1 << 20)
        ident = os.pread(self.file.fileno(), 16, 0)
        if ident[:4] != ELF_MAGIC:
            raise Malformed('it is no ELF file')
        if len(ident) < 16 or ident[4] not in LAYOUTS or ident[5] not in (1, 2):
            raise Malformed('its header is cut or of no known class')
        self.layout = LAYOUTS[ident[4]]
        self.order = '<>'[ident[5] - 1]
        (self.type, machine, _, _, segments_at, sections_at, _, _, segment_size, segment_count,
         section_size, section_count, self.names_index) = self.unpack(self.layout.header, 16)
        self.machine = ident[4], ident[5], machine
        self.sections_at = sections_at, section_size, section_count
        self.segments = self.read_segments(segments_at, segment_size, segment_count)

    # Reading

    def at(self, offset, size):
        if size > TABLE_MAX or offset + size > self.size:
            raise Malformed('it is truncated, or its tables are beyond its end')
        # Tables may lie in each other, and every one of thousands be the whole file.
        self.budget -= size
        if self.budget < 0:
            raise Malformed('its tables are many times what it is')
        data = os.pread(self.file.fileno(), size, offset)
        if len(data) < size:
            raise Malformed('it was truncated just now')
        return data

    def unpack(self, layout, offset):
        layout = self.order + layout
        return struct.unpack(layout, self.at(offset, struct.calcsize(layout)))

    def rows(self, layout, data):
        """The rows of a table, without what is left at its end."""
        row = struct.Struct(self.order + layout)
        return row.iter_unpack(data[:len(data) - len(data) % row.size])

    def headers(self, layout, offset, entry_size, count):
        """Headers may be longer than we know them."""
        return [self.unpack(layout, offset + i * entry_size) for i in range(count)]

    def read_segments(self, offset, entry_size, count):
        """[(type, offset, address, size in the file)]"""
        where = self.layout.segment_members
        return [(row[0], *(row[i] for i in where))
                for row in self.headers(self.layout.segment, offset, entry_size, count)]

    def at_address(self, address, size):
        data = self.from_address(address, size)
        if len(data) < size:
            raise Malformed('its dynamic section names tables that it does not have')
        return data

    def from_address(self, address, most):
        """As many bytes as there are, but not more than this."""
        for kind, offset, start, length in self.segments:
            if kind == PT_LOAD and start <= address < start + length:
                return self.at(offset + address - start, min(most, start + length - address))
        return b''

    def segment(self, wanted):
        """The bytes of each segment of this type."""
        return (self.at(offset, size) for kind, offset, _, size in self.segments if kind == wanted)

    # What it is

    @property
    def machine_name(self):
        bits, _, machine = self.machine
        name = MACHINES.get(machine, f'machine {machine}')
        return 'x32' if (bits, name) == (1, 'x86-64') else name

    @property
    def is_program(self):
        return self.type in (ET_EXEC, ET_DYN)

    @functools.cached_property
    def interpreter(self):
        """The dynamic loader that it names, or None."""
        return next((data.split(b'\0', 1)[0] for data in self.segment(PT_INTERP)), None)

    @functools.cached_property
    def sections(self):
        """The names of its sections; it may have none, as nothing but tools needs them."""
        offset, size, count = self.sections_at
        if not offset or not count:
            return set()
        headers = self.headers(self.layout.section, offset, size, count)
        if self.names_index >= count:
            raise Malformed('its sections have no names')
        names = self.at(*headers[self.names_index][4:6])
        return {string_in(names, header[0]) for header in headers}

    @functools.cached_property
    def is_go(self):
        if self.sections & {b'.go.buildinfo', b'.note.go.buildid'}:
            return True
        return any(GO_BUILD_ID in self.notes(data) for data in self.segment(PT_NOTE))

    def notes(self, data):
        offset = 0
        while offset + 12 <= len(data):
            name_size, size, kind = struct.unpack_from(self.order + 'III', data, offset)
            yield data[offset + 12:offset + 12 + min(name_size, NAME_MAX)], kind
            offset += 12 + (name_size + 3 & ~3) + (size + 3 & ~3)

    # What it needs

    @functools.cached_property
    def dynamic(self):
        """{tag: [values]} of the dynamic section; empty where there is none."""
        tags = {}
        for tag, value in self.rows(self.layout.dynamic, next(self.segment(PT_DYNAMIC), b'')):
            if tag == 0:
                break
            tags.setdefault(tag, []).append(value)
        return tags

    def tag(self, tag, default=0):
        return self.dynamic.get(tag, [default])[0]

    @functools.cached_property
    def strings(self):
        return self.at_address(self.tag(STRTAB), self.tag(STRSZ)) if STRTAB in self.dynamic else b''

    def texts(self, tag):
        """The strings that these entries of the dynamic section stand for."""
        found = [string_in(self.strings, offset) for offset in self.dynamic.get(tag, ())]
        if None in found:
            raise Malformed('its dynamic section names strings that it does not have')
        return [os.fsdecode(text) for text in found]

    @property
    def needed(self):
        return self.texts(NEEDED)

    @property
    def soname(self):
        return next(iter(self.texts(SONAME)), None)

    # Its symbols

    @functools.cached_property
    def symbols(self):
        """(names that others must define, names that it defines)

        Nothing in the file says how many symbols there are. A hash table knows those that are
        defined, and the relocations name those that are not."""
        undefined, defined = set(), set()
        count = max(self.hashed_symbols(), self.relocated_symbols())
        size = struct.calcsize(self.order + self.layout.symbol)
        if count:
            data = self.at_address(self.tag(SYMTAB), count * size)
            for name, section in self.rows(self.layout.symbol, data):
                text = string_in(self.strings, name)
                if text:
                    (undefined if section == SHN_UNDEF else defined).add(os.fsdecode(text))
        return undefined, defined

    def relocated_symbols(self):
        """How many symbols there are at least, going by the relocations."""
        count = 0
        for table, size, kind, relative in (
                (RELA, RELASZ, RELA, RELACOUNT),
                (REL, RELSZ, REL, RELCOUNT),
                (JMPREL, PLTRELSZ, self.tag(PLTREL), None)):
            if table not in self.dynamic or kind not in self.layout.relocation:
                continue
            layout = self.layout.relocation[kind]
            data = self.at_address(self.tag(table), self.tag(size))
            # Those relative to the base come first, and name no symbol.
            skipped = self.tag(relative) * struct.calcsize(self.order + layout)
            for row in self.rows(layout, data[skipped:]):
                count = max(count, (row[1] >> self.layout.relocation_symbol_shift) + 1)
        return count

    def hashed_symbols(self):
        """How many symbols there are at least, going by the hash table."""
        if HASH in self.dynamic:
            _, count = struct.unpack(self.order + 'II', self.at_address(self.tag(HASH), 8))
            return count
        if GNU_HASH not in self.dynamic:
            return 0
        start = self.tag(GNU_HASH)
        buckets, first, bloom, _ = struct.unpack(self.order + 'IIII', self.at_address(start, 16))
        start += 16 + bloom * struct.calcsize(self.order + self.layout.dynamic) // 2
        last = max((row[0] for row in self.rows('I', self.at_address(start, buckets * 4))),
                   default=0)
        if last < first:
            return 0
        # The last symbol is in the chain that begins last, of which the lowest bit marks the end.
        chain = self.from_address(start + (buckets + last - first) * 4, CHAIN_MAX * 4)
        for number, (value,) in enumerate(self.rows('I', chain)):
            if value & 1:
                return last + number + 1
        raise Malformed('its hash table has no end')


def string_in(table, offset):
    """The string there, or None: it is beyond the end, or has none, or is too long."""
    end = table.find(b'\0', offset, offset + NAME_MAX + 1)
    return table[offset:end] if end >= 0 else None


def read_elf(path):
    """None where it cannot be read, is no ELF file, or is broken where we look at first."""
    try:
        elf = Elf(path)
        elf.interpreter, elf.is_go  # pylint: disable=pointless-statement
        return elf
    except (OSError, Malformed):
        return None
