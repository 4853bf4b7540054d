"""The tables of pool/, as the library is built from them. They are installed beside the command, so
that its words are the library's."""

import os
import re
from collections import namedtuple

from command.common import HOME

Reason = namedtuple('Reason', 'word meaning')
# A variable that is None is for rules alone, a key that is None for the whole process.
Setting = namedtuple('Setting', 'variable key default least most meaning')

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s",()]+|[,()]')


def refusals():
    """Why a close() was a real close."""
    return [Reason(word, meaning) for _, word, meaning in rows('refusals.inc', 'REFUSAL')]


def discards():
    """Why a parked connection was closed without another use."""
    return [Reason(word, meaning) for _, word, meaning in rows('discards.inc', 'DISCARD')]


def counters():
    return [Reason(word, meaning) for _, word, meaning in rows('counters.inc', 'COUNTER')]


def settings():
    """Every setting that is a number: those of the process, of each service point, of rules."""
    table = []
    for macro, (_, *cells) in rows_by_macro('settings.inc'):
        if macro == 'SETTING':
            cells.insert(1, None)
        elif macro == 'RULE_SETTING':
            cells.insert(0, None)
        elif macro != 'POINT_SETTING':
            raise ValueError(f'settings.inc: {macro} is not known here')
        table.append(Setting(*cells))
    return table


def rows(name, macro):
    for found, cells in rows_by_macro(name):
        if found != macro:
            raise ValueError(f'{name}: {found} is not known here')
        yield cells


def rows_by_macro(name):
    """(macro, [what stands between its commas]) for each row. Strings are without their quotes."""
    with open(os.path.join(HOME, 'pool', name), encoding='utf-8') as file:
        text = file.read()
    text = re.sub(r'/\*.*?\*/', '', text, flags=re.DOTALL)
    text = re.sub(r'^[ \t]*#(?:.*\\\n)*.*$', '', text, flags=re.MULTILINE)
    tokens = iter(TOKEN.findall(text))
    for macro in tokens:
        yield macro, cells_of(name, tokens)


def cells_of(name, tokens):
    if next(tokens, None) != '(':
        raise ValueError(f'{name}: a row begins without (')
    cells = ['']
    for token in tokens:
        if token == ')':
            return cells
        if token == ',':
            cells.append('')
        elif token == '(':
            raise ValueError(f'{name}: a row in a row')
        else:
            # Strings side by side are one.
            cells[-1] += re.sub(r'\\(.)', r'\1', token[1:-1]) if token[0] == '"' else token
    raise ValueError(f'{name}: a row does not end')
