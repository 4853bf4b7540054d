"""What a reused connection costs that nothing is sent over, and one with a request: in time, in
system calls and in instructions. The last two are the same in every run: they are counted in a run
with few rounds and in one with more, and what is more is shared out among these."""

import functools
import pathlib
import re
import subprocess
import tempfile
from collections import Counter

from harness import need

WHAT = ['cycle', 'exchange']  # of bench-cycle
FEW, MORE = 50, 250
SHOWN = 20


def _argv(bench, rounds, what):
    return [bench.program('bench-cycle'), bench.ports['origin'], rounds, what]


def _per_round(count):
    """Counter of one round, from those of few rounds and of more."""
    few, more = count(FEW), count(MORE)
    return {name: (count - few[name]) / (MORE - FEW)
            for name, count in more.items() if count != few[name]}


def _system_calls(bench, what, preload, rounds):
    with tempfile.NamedTemporaryFile('r', prefix='sppool-bench-') as output:
        # strace itself is not to have the library
        library = ['-E', f'LD_PRELOAD={bench.library}'] if preload else []
        strace = [need('strace'), '-c', '-o', output.name, *library]
        bench.run([*strace, *_argv(bench, rounds, what)], False)
        # % time, seconds, usecs/call, calls, errors if there are any, syscall
        rows = re.findall(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$', output.read(),
                          re.MULTILINE)
    return Counter({name: int(count) for count, name in rows if name != 'total'})


def _without_debug(path, directory):
    """A copy with the names of functions, but without what valgrind 3.19 cannot read of clang's."""
    copy = pathlib.Path(directory, pathlib.Path(path).name)
    subprocess.run([need('objcopy'), '--strip-debug', path, copy], check=True)
    return copy


def _instructions(bench, what, preload, rounds):
    """By function, without what those that it calls take."""
    with tempfile.TemporaryDirectory(prefix='sppool-bench-') as directory:
        output = pathlib.Path(directory, 'callgrind')
        program, *arguments = _argv(bench, rounds, what)
        bench.run([need('valgrind'), '--tool=callgrind', f'--callgrind-out-file={output}',
                   _without_debug(program, directory), *arguments],
                  preload and _without_debug(bench.library, directory))
        return _self_cost(output.read_text())


def _self_cost(text):
    """Of callgrind's file: fn= names the function whose lines follow, and the line after calls= is
    what another took that it called. A name is written in full once, and is a number after that.
    """
    names, cost = {}, Counter()
    function, of_another = None, False
    for line in text.splitlines():
        if line.startswith('fn='):
            number, _, name = line[3:].partition(' ')
            function = names.setdefault(number, name)
        elif line.startswith(('cfn=', 'cfi=')):
            number, _, name = line[4:].partition(' ')
            if line.startswith('cfn=') and name:
                names.setdefault(number, name)
        elif line.startswith('calls='):
            of_another = True
        elif function and re.match(r'[+*-]?\d* ?\d+$', line):
            if not of_another:
                cost[function] += int(line.split()[-1])
            of_another = False
    return cost


def cycle(bench):
    """Nanoseconds."""
    table = bench.report.table('cycle', 'a reused connection; without: a new one', 'ns',
                               ('without',))
    for what in WHAT:
        for preload in bench.in_turn([False, True]):
            found = bench.numbers(_argv(bench, bench.options.rounds, what), preload)
            table.add(what, 'with' if preload else 'without', found['nanoseconds'])
    bench.report.show(table)


def counts(bench):
    """System calls, by strace, and instructions, by callgrind."""
    for name, unit, measure in (('system-calls', 'system calls', _system_calls),
                                ('instructions', 'instructions', _instructions)):
        title = f'{unit} of one round, in all and of those that have most'
        table = bench.report.table(name, title, unit, counted=True)
        for what in WHAT:
            found = {contestant: _per_round(functools.partial(measure, bench, what, preload))
                     for contestant, preload in (('without', False), ('with', True))}
            for contestant, counted in found.items():
                table.add(what, contestant, sum(counted.values()))
            for function in sorted(found['with'], key=found['with'].get, reverse=True)[:SHOWN]:
                for contestant, counted in found.items():
                    table.add(f'{what}: {function}', contestant, counted.get(function, 0))
        bench.report.show(table)
