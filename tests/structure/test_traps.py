#!/usr/bin/python3
"""Every known trap has a test, or a sentence in the README: traps.txt says which, and is right.

Speaks TAP.
"""

import os
import re
import sys

from references import NEXT, is_there, rows_of
from workshop import ROOT, run_tests

TABLE = os.path.join(ROOT, 'tests', 'structure', 'traps.txt')
TRAPS = 96


def findings_in(table):
    rows = rows_of(table)
    numbers = [row[0] for row in rows]
    if numbers != [f'T{number}' for number in range(1, TRAPS + 1)]:
        yield f'not T1 to T{TRAPS}, each once and in order'
    for number, *cells in rows:
        if len(cells) != 2 or not all(cells):
            yield f'{number}: is not a trap and where it is met'
            continue
        for reference in NEXT.split(cells[1]):
            if not is_there(reference):
                yield f'{number}: not found: {reference}'


def every_trap_is_met(_workshop):
    findings = list(findings_in(TABLE))
    assert not findings, '\n'.join(findings)


def findings_in_copy(workshop, change):
    """What is found in a copy of the table that change() has made of its lines, and not in it."""
    with open(TABLE, encoding='utf-8') as file:
        lines = file.read().splitlines()
    copy = workshop.file('traps.txt', '\n'.join(change(lines)))
    known = set(findings_in(TABLE))
    return [finding for finding in findings_in(copy) if finding not in known]


def a_reference_to_nothing_is_found(workshop):
    nothing = [
        'test_descriptors: no claim says this', 'test_nothing: close_range(3, ~0)',
        'unit test-pool: no_test_has_this_name', 'unit test-pool: a_clean_connection',
        'unit test-nothing: a_clean_connection_is_parked_and_taken_again',
        'stress: no claim says this', 'structure: check-nothing', 'structure: no test has this name',
        'README: no sentence says this', 'design: pool/os.h: no comment says this',
        'design: pool/nothing.h: No lock is held', 'design: pool/os.h', 'design: pool/os.h: the',
        'README: the', 'README:', 'unheard-of: close_range(3, ~0)', 'close_range(3, ~0)',
    ]
    for reference in nothing:
        found = findings_in_copy(workshop, lambda lines, wrong=reference:
                                 [re.sub(r'^(T42 \| [^|]*\| ).*', lambda row: row[1] + wrong, line)
                                  for line in lines])
        assert found == [f'T42: not found: {reference}'], f'{reference}: {found}'


def a_reference_to_nothing_among_others_is_found(workshop):
    found = findings_in_copy(workshop, lambda lines:
                             [line.replace('; README: they do not call libc',
                                           '; README: they do call libc') for line in lines])
    assert found == ['T56: not found: README: they do call libc'], found


def a_trap_that_is_missing_is_found(workshop):
    found = findings_in_copy(workshop, lambda lines:
                             [line for line in lines if not line.startswith('T42 ')])
    assert found == [f'not T1 to T{TRAPS}, each once and in order'], found


def a_trap_given_twice_or_out_of_order_is_found(workshop):
    twice = findings_in_copy(workshop, lambda lines: [*lines, lines[-1]])
    order = findings_in_copy(workshop, lambda lines: [*lines[:-2], lines[-1], lines[-2]])
    assert twice == order == [f'not T1 to T{TRAPS}, each once and in order'], (twice, order)


def a_trap_that_is_met_nowhere_is_found(workshop):
    found = findings_in_copy(workshop, lambda lines:
                             [re.sub(r'^(T42 \| [^|]*)\|.*', r'\1', line) for line in lines])
    assert found == ['T42: is not a trap and where it is met'], found


if __name__ == '__main__':
    sys.exit(run_tests([every_trap_is_met, a_reference_to_nothing_is_found,
                        a_reference_to_nothing_among_others_is_found,
                        a_trap_that_is_missing_is_found,
                        a_trap_given_twice_or_out_of_order_is_found,
                        a_trap_that_is_met_nowhere_is_found], {}))
