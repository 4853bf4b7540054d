#!/usr/bin/python3
"""The manual pages are well-formed, have all that the tables and --help have, and no more options.

The pages are those in $SPPOOL_BUILD, or build. Speaks TAP.
"""

import os
import re
import shutil
import subprocess
import sys

from workshop import ROOT, options_of, run_tests

sys.path.insert(0, ROOT)
from command import tables  # noqa: E402  (found through the line above)
from command.main import COMMANDS, module_of  # noqa: E402

BUILD = os.environ.get('SPPOOL_BUILD', os.path.join(ROOT, 'build'))
PAGES = {'sppool(1)': os.path.join(BUILD, 'manual', 'sppool.1'),
         'sppool(3)': os.path.join(BUILD, 'manual', 'sppool.3'),
         'libsppool(7)': os.path.join(BUILD, 'manual', 'libsppool.7')}

# What there is of settings beside the table: texts, not numbers.
OTHER_SETTINGS = {'SP_STATS', 'SP_STATUS_DIR', 'SP_RULES', 'SP_RULES_FILE'}
OPTION = r'--[a-z-]+'


def output_of(*command):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout


def complaints(page):
    return (output_of('mandoc', '-Tlint', '-Wall', page) +
            output_of('groff', '-man', '-ww', '-Tutf8', '-z', page))


def shown(page):
    """The page as it is read, in one line."""
    text = output_of('mandoc', '-Tutf8', '-Owidth=1000', page)
    return ' '.join(re.sub('.\b', '', text).replace('\u2010', '-').split())


def options_in(text):
    return set(re.findall(OPTION, text))


def nothing_is_wrong_with_the_pages(_workshop):
    for name, page in PAGES.items():
        assert os.path.getsize(page) > 1000 and not complaints(page), (name, complaints(page))
        headings = re.findall('^[.]SH (.*)', text_of(page), re.MULTILINE)
        assert headings[0] == 'NAME' and headings[-2:] == ['EXAMPLES', 'SEE ALSO'], headings


def text_of(page):
    with open(page, encoding='utf-8') as file:
        return file.read()


def something_wrong_would_be_found(workshop):
    page = workshop.file('page', text_of(PAGES['sppool(1)']) + '.what\n\\fXtext\n')
    assert 'what' in complaints(page), complaints(page)


def every_setting_is_there(_workshop):
    text = shown(PAGES['libsppool(7)'])
    named = {each.variable for each in tables.settings() if each.variable}
    for each in tables.settings():
        if each.variable:
            range_of = f'({each.default}; {each.least} to {each.most})'
            expect(text, f' {each.variable} {range_of} {each.meaning}')
            expect(text, f' {each.key} instead of {each.variable} ' if each.key else '')
        else:
            expect(text, f' {each.key} {each.meaning} ')
    mentioned = set(re.findall(r'\bSP_\w+', text + shown(PAGES['sppool(1)'])))
    assert mentioned == named | OTHER_SETTINGS, mentioned ^ (named | OTHER_SETTINGS)


def expect(text, what):
    assert what in text, (what, text)


def every_reason_and_counter_is_there(_workshop):
    text = shown(PAGES['libsppool(7)'])
    for table in (tables.refusals(), tables.discards(), tables.counters()):
        for reason in table:
            expect(text, f' {reason.word} {reason.meaning}')


def every_command_and_option_is_there_and_no_other(_workshop):
    text = text_of(PAGES['sppool(1)']).replace('\\-', '-')
    sections = re.split(r'^[.]S[SH] (.*)\n', text, flags=re.MULTILINE)
    sections = dict(zip(sections[1::2], sections[2::2]))
    for command in COMMANDS:
        options = options_of(module_of(command).HELP)
        assert options_in(sections[command]) == options, (command, options)
    synopsis = sections['SYNOPSIS']
    assert re.findall(r'^[.]B (\w+)$', synopsis, re.MULTILINE) == list(COMMANDS), synopsis
    everything = {option for command in COMMANDS for option in options_of(module_of(command).HELP)}
    assert options_in(text) == everything | {'--help', '--version'}, options_in(text) ^ everything


def every_function_and_setting_for_programs_is_there_and_no_other(_workshop):
    with open(os.path.join(ROOT, 'shim', 'sppool.h'), encoding='utf-8') as file:
        header = re.sub(r'/\*.*?\*/', '', file.read(), flags=re.DOTALL)
    text = text_of(PAGES['sppool(3)'])
    functions = set(re.findall(r'\b(sppool_\w+)\(', header))
    settings = set(re.findall(r'^\t(SPPOOL_\w+),', header, re.MULTILINE))
    assert len(functions) == 7 and len(settings) == 6, (functions, settings)
    assert set(re.findall(r'\b(sppool_\w+)(?:\(| \(\))', text)) == functions, functions
    assert set(re.findall(r'^[.]B (SPPOOL_\w+)$', text, re.MULTILINE)) == settings, settings
    members = re.search(r'struct sppool_service_point \{(.*?)\}', header, re.DOTALL)[1]
    described = shown(PAGES['sppool(3)']).split('struct sppool_service_point size')[1]
    for member in re.findall(r'(\w+)[,;]', members):
        assert member == 'size' or f' {member}' in described, member


def examples_use_what_there_is(_workshop):
    examples = ''.join(text_of(page).replace('\\-', '-').split('.SH EXAMPLES')[1]
                       for page in PAGES.values())
    used = re.findall(rf'\bsppool (\w+)((?: {OPTION})*)', examples)
    assert {command for command, _ in used} >= {'run', 'check', 'explain', 'library'}, used
    for command, options in used:
        assert command in COMMANDS, used
        assert options_in(options) <= options_of(module_of(command).HELP), used


def whatever_a_table_says_is_only_text(workshop):
    shutil.copytree(os.path.join(ROOT, 'command'), workshop.path('command'))
    shutil.copytree(os.path.join(ROOT, 'pool'), workshop.path('pool'))
    os.mkdir(workshop.path('scripts'))
    script = shutil.copy(os.path.join(ROOT, 'scripts', 'manual'), workshop.path('scripts'))
    said = r".so 'it' \fBs\n -1 x-y " + '.word ' * 40
    quoted = said.replace('\\', '\\\\')
    with open(workshop.path('pool/refusals.inc'), 'a', encoding='utf-8') as file:
        file.write(f'REFUSAL(ODD, "odd",\n\t"{quoted}" /* a comment, */\n\t"and more")\n')
    template = os.path.join(ROOT, 'manual', 'libsppool.7.in')
    page = workshop.file('page', output_of(script, template))
    assert not complaints(page), complaints(page)
    expect(shown(page), 'odd ' + said + 'and more')


def what_is_no_table_stops_the_build(workshop):
    for name, text in (('unknown', '@NONSENSE@\n'), ('missing', None)):
        path = workshop.path(name) if text is None else workshop.file(name, text)
        result = subprocess.run([os.path.join(ROOT, 'scripts', 'manual'), path], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.returncode == 1 and result.stderr.startswith('manual: '), result
    broken = workshop.path('pool')
    shutil.copytree(os.path.join(ROOT, 'pool'), broken)
    tables.HOME = workshop.directory
    try:
        for row in ('NOVEL(1, 2)', 'REFUSAL(A, "a", "b"', 'REFUSAL', 'REFUSAL(A, (b), "c")'):
            workshop.file('pool/refusals.inc', f'REFUSAL(X, "x", "y")\n{row}\n')
            try:
                tables.refusals()
            except ValueError:
                continue
            raise AssertionError(f'taken for a row: {row}')
    finally:
        tables.HOME = ROOT


TESTS = (
    nothing_is_wrong_with_the_pages,
    something_wrong_would_be_found,
    every_setting_is_there,
    every_reason_and_counter_is_there,
    every_command_and_option_is_there_and_no_other,
    every_function_and_setting_for_programs_is_there_and_no_other,
    examples_use_what_there_is,
    whatever_a_table_says_is_only_text,
    what_is_no_table_stops_the_build,
)

NEEDS = {
    nothing_is_wrong_with_the_pages: 'mandoc',
    something_wrong_would_be_found: 'mandoc',
    every_setting_is_there: 'mandoc',
    every_function_and_setting_for_programs_is_there_and_no_other: 'mandoc',
    every_reason_and_counter_is_there: 'mandoc',
    whatever_a_table_says_is_only_text: 'mandoc',
}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
