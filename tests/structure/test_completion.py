#!/usr/bin/python3
"""Completion in bash and zsh offers what sppool takes: its commands, their options, programs, and
files.

Both shells complete in earnest: bash by calling the function that is registered for the word, zsh
in a pseudo-terminal. Speaks TAP.
"""

import os
import pty
import re
import select
import subprocess
import sys
import time

import pages
from workshop import ROOT, options_of, run_tests

sys.path.insert(0, ROOT)
from command import top  # noqa: E402  (found through the line above)
from command.main import COMMANDS, module_of  # noqa: E402

DIRECTORY = os.path.join(ROOT, 'command', 'completion')
IN_BASH = os.path.join(DIRECTORY, 'sppool.bash')
IN_ZSH = os.path.join(DIRECTORY, '_sppool')
BASH_COMPLETION = '/usr/share/bash-completion/bash_completion'
DEADLINE_S = 60  # ends a hung shell, decides nothing else

# Completes the last word of "$@" as readline would call for it, and prints what is offered.
ASK_BASH = r'''
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
COMP_TYPE=9 COMP_KEY=9
[[ $(complete -p sppool) =~ -F\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" sppool
printf '%s\n' "${COMPREPLY[@]}"
'''

# compadd says what is offered; what it is only asked to filter is none of ours.
SET_UP_ZSH = r'''
PS1= PS2=
setopt no_prompt_cr no_prompt_sp no_beep
fpath=({directory} $fpath)
autoload -U compinit
compinit -u -D
compadd() {{
	if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\ * ]]; then
		builtin compadd "$@"
		return
	fi
	local -a offered
	builtin compadd -A offered "$@"
	print -l -- $offered >>{output}
}}
complete-and-clear() {{
	zle complete-word
	BUFFER=
	print -- "====" >>{output}
}}
zle -N complete-and-clear
bindkey '^I' complete-and-clear
zle-line-init() {{
	print -- "====" >>{output}
}}
zle -N zle-line-init
'''


def bash(*words, start=IN_BASH, cwd=None):
    # The words are sppool's own, the last one is being completed.
    result = subprocess.run(
        ['bash', '--norc', '-c', f'. {start}\n{ASK_BASH}', 'bash', 'sppool', *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    # compopt is for completions that a terminal asked for; ours says nothing of it.
    assert result.stderr == '', result
    return set(result.stdout.split('\n')) - {''}


def zsh(workshop, *lines):
    """What is offered for each line."""
    output = workshop.file('offered', '')
    setup = workshop.file('setup', SET_UP_ZSH.format(directory=DIRECTORY, output=output))
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workshop.directory)
        os.environ['TERM'] = 'dumb'
        os.execvp('zsh', ['zsh', '-f', '-i'])
    try:
        # Keys are typed only when the editor is there, as the terminal would take some for its own.
        keys = [f'source {setup}\n', *(line + '\t' for line in lines)]
        answers = [type_into(terminal, each, output, number) for number, each in enumerate(keys)]
    finally:
        os.close(terminal)  # which ends it
        os.waitpid(pid, 0)
    return [set(answer.split()) for answer in answers[1:]]


def type_into(terminal, keys, output, number):
    """Types, reads what the shell shows, and returns what it has offered when it is done."""
    os.write(terminal, keys.encode())
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.02)[0]:
            os.read(terminal, 4096)
        with open(output, encoding='utf-8') as file:
            answers = file.read().split('====\n')
        if len(answers) > number + 1:
            return answers[number]
    raise AssertionError(f'zsh does not answer to {keys!r}')


def options_offered(command):
    return options_of(module_of(command).HELP) | {'--help', '--version'}


def bash_offers_commands(_workshop):
    assert bash('') == {*COMMANDS, '--help', '--version'}, bash('')
    assert bash('ch') == {'check'} and bash('x') == set()


def bash_offers_the_options_of_each_command(_workshop):
    for command in COMMANDS:
        assert bash(command, '--') == options_offered(command), (command, bash(command, '--'))
    assert bash('run', '--stats', '--l') == {'--log'}
    assert bash('run', '--log', '=', '1', '--s') == {'--stats'}
    assert bash('run', '--', '--') == set()
    assert bash('run', 'true', '--') == set(), 'these are the program\'s'


def bash_offers_values_files_and_programs(workshop):
    for name in ('stats.1', 'stats.2', 'a b'):
        workshop.file(name, '')
    here = {'cwd': workshop.directory}
    assert bash('run', '--log', '=') == {'0', '1', '2', '3'}
    assert bash('run', '--log', '=', '2') == {'2'}
    assert bash('run', '--stats', '=', 's', **here) == {'stats.1', 'stats.2'}
    assert bash('explain', 'st', **here) == {'stats.1', 'stats.2'}
    assert bash('explain', 'stats.1', 'a', **here) == {'a b'}
    for words in (['check'], ['run'], ['run', '--'], ['run', '--stats', '--log', '=', '1']):
        assert 'python3' in bash(*words, 'pyth'), words
        assert '/bin/true' in bash(*words, '/bin/tru'), words
    assert bash('run', 'cat', 'st', **here) == {'stats.1', 'stats.2'}


def a_page_of_this_process(workshop):
    """Which sppool ps lists, for a shell that is started here and finds sppool."""
    os.environ['SP_STATUS_DIR'] = workshop.directory
    os.environ['PATH'] = f'{os.path.join(ROOT, "scripts")}:{os.environ["PATH"]}'
    return pages.shown(workshop.directory, pages.page(os.getpid()))


def bash_offers_processes_and_what_they_may_be_asked(workshop):
    with a_page_of_this_process(workshop):
        for words in (['top', ''], ['top', '--once', ''], ['set', ''], ['flush', ''],
                      ['explain', '--pid', ''], ['explain', '--pid', '=']):
            assert bash(*words) == {str(os.getpid())}, (words, bash(*words))
    assert bash('top', '') == set() == bash('flush', '1', '')
    assert bash('set', '1', '') == {'default', 'max-service-points='}
    assert bash('set', '1', 'default', 'li') == {'limit='}
    assert bash('set', '1', 'a', ':', '80', 'limit', '=', '4', 'id') == {'idle='}
    assert bash('top', '--sort', '=', 're') == {'reused', 'reuse', 'refused'}
    assert bash('top', '--sort', '') == bash('top', '--sort', '=') == set(top.SORTS)


def zsh_offers_processes_and_what_they_may_be_asked(workshop):
    with a_page_of_this_process(workshop):
        *processes, target, setting, column = zsh(
            workshop, 'sppool top ', 'sppool set ', 'sppool flush ', 'sppool explain --pid=',
            'sppool set 1 ', 'sppool set 1 default li', 'sppool top --sort=')
    assert processes == [{str(os.getpid())}] * 4, processes
    assert (target, setting) == ({'default', 'max-service-points='}, {'limit='}), (target, setting)
    assert column == set(top.SORTS), column


def bash_completion_completes_what_is_run(workshop):
    """Found by the name of its file, as where it is installed; another program's own takes over."""
    installed = workshop.path('bash-completion/completions')
    os.makedirs(installed)
    os.symlink(IN_BASH, os.path.join(installed, 'sppool'))
    start = workshop.file('start', f'XDG_DATA_DIRS={workshop.directory}:/usr/share\n'
                          f'. {BASH_COMPLETION}\n_completion_loader sppool || :\n'
                          'complete -W "apple pear" fruit\n')
    assert bash('run', '--stats', 'fruit', 'p', start=start) == {'pear'}
    assert bash('run', '--', 'fruit', '', start=start) == {'apple', 'pear'}
    assert bash('', start=start) == {*COMMANDS, '--help', '--version'}


def zsh_offers_commands_and_their_options(workshop):
    asked = ['sppool ', 'sppool ch', 'sppool --', *(f'sppool {command} --' for command in COMMANDS)]
    commands, check, general, *options = zsh(workshop, *asked)
    assert commands - {'--help', '--version'} == set(COMMANDS), commands
    assert check == {'check'} and general == {'--help', '--version'}, (check, general)
    for command, offered in zip(COMMANDS, options):
        assert offered == options_offered(command), (command, offered)


def zsh_offers_values_files_and_programs(workshop):
    for name in ('stats.1', 'stats.2'):
        workshop.file(name, '')
    files, levels, program, after, checked, path, arguments, *own = zsh(
        workshop, 'sppool explain st', 'sppool run --log=', 'sppool run --stats pyth',
        'sppool run -- pyth', 'sppool check pyth', 'sppool check /usr/bin/pyth',
        'sppool run cat st', 'sppool run ls --alm', 'sppool run -- ls --alm',
        'sppool run --log=1 -- ls --alm')
    assert files == arguments == {'stats.1', 'stats.2'}, (files, arguments)
    assert own == [{'--almost-all'}] * 3, own
    assert levels == {'0', '1', '2', '3'}, levels
    for offered in (program, after, checked, path):
        assert 'python3' in offered, offered


def zsh_describes_commands_as_help_does(_workshop):
    with open(IN_ZSH, encoding='utf-8') as file:
        described = dict(re.findall(r"^\t\t'(\w+):(.*)'$", file.read(), re.MULTILINE))
    assert described == {name: module_of(name).SUMMARY for name in COMMANDS}, described


TESTS = (
    bash_offers_commands,
    bash_offers_the_options_of_each_command,
    bash_offers_values_files_and_programs,
    bash_offers_processes_and_what_they_may_be_asked,
    bash_completion_completes_what_is_run,
    zsh_offers_commands_and_their_options,
    zsh_offers_values_files_and_programs,
    zsh_offers_processes_and_what_they_may_be_asked,
    zsh_describes_commands_as_help_does,
)

NEEDS = {
    zsh_offers_commands_and_their_options: 'zsh',
    zsh_offers_values_files_and_programs: 'zsh',
    zsh_offers_processes_and_what_they_may_be_asked: 'zsh',
}


if __name__ == '__main__':
    sys.exit(run_tests(TESTS, NEEDS))
