#!/usr/bin/python3
"""Every fact known of service points has a test, or says why it is none of ours: facts.txt.

Speaks TAP.
"""

import os
import re
import sys

from references import NEXT, SHORTEST, is_there, rows_of, text_of
from workshop import ROOT, run_tests

TABLE = os.path.join(ROOT, 'tests', 'structure', 'facts.txt')
FACTS = [f'{kind}{number}' for kind, count in (('F', 36), ('M', 7), ('N', 8))
         for number in range(1, count + 1)]
NOT_OURS = 'not ours: '
TESTS = re.compile(r'Test\(facts, (\w+)')


def is_answered(reference):
    if reference.startswith(NOT_OURS):
        return len(reference) >= len(NOT_OURS) + SHORTEST
    return is_there(reference)


def findings_in(table):
    rows = rows_of(table, 4)
    if [row[0] for row in rows] != FACTS:
        yield f'not {FACTS[0]} to {FACTS[-1]}, each once and in order'
    named = set()
    for number, *cells in rows:
        if len(cells) != 3 or not all(cells):
            yield f'{number}: is not where it is from, a fact, and its tests'
            continue
        for reference in NEXT.split(cells[2]):
            named.add(reference)
            if not is_answered(reference):
                yield f'{number}: not found: {reference}'
    for test in TESTS.findall(text_of('tests/unit/test-facts.c')):
        if f'unit test-facts: {test}' not in named:
            yield f'no fact: {test}'


def every_fact_has_its_test(_workshop):
    findings = list(findings_in(TABLE))
    assert not findings, '\n'.join(findings)


def findings_in_copy(workshop, change):
    with open(TABLE, encoding='utf-8') as file:
        lines = file.read().splitlines()
    return list(findings_in(workshop.file('facts.txt', '\n'.join(change(lines)))))


def a_reference_to_nothing_is_found(workshop):
    for wrong in ('unit test-facts: no_test_has_this_name', 'test_facts: no claim says this',
                  'not ours: so', 'not ours', 'somewhere'):
        found = findings_in_copy(workshop, lambda lines, wrong=wrong: [
            f"{line.rpartition(' | ')[0]} | {wrong}" if line.startswith('M4 ') else line
            for line in lines])
        assert found == [f'M4: not found: {wrong}'], f'{wrong}: {found}'


def a_fact_that_is_missing_or_out_of_order_is_found(workshop):
    expected = ['not F1 to N8, each once and in order']
    missing = findings_in_copy(workshop, lambda lines:
                               [line for line in lines if not line.startswith('M4 ')])
    order = findings_in_copy(workshop, lambda lines: [*lines[:-2], lines[-1], lines[-2]])
    assert missing == order == expected, (missing, order)


def a_fact_without_a_test_is_found(workshop):
    found = findings_in_copy(workshop, lambda lines: [
        line.rpartition(' | ')[0] if line.startswith('M4 ') else line for line in lines])
    assert found == ['M4: is not where it is from, a fact, and its tests'], found


def a_test_that_is_no_fact_is_found(workshop):
    found = findings_in_copy(workshop, lambda lines: [
        line.replace('; unit test-facts: a_host_is_found_in_upper_and_lower_case', '')
        for line in lines])
    assert found == ['no fact: a_host_is_found_in_upper_and_lower_case'], found


if __name__ == '__main__':
    sys.exit(run_tests([every_fact_has_its_test, a_reference_to_nothing_is_found,
                        a_fact_that_is_missing_or_out_of_order_is_found,
                        a_fact_without_a_test_is_found, a_test_that_is_no_fact_is_found], {}))
