"""`sppool set`: changes the settings of a pool that is in use."""

import re

from command.common import REQUIRED, USAGE, Failure, parse_options
from command.request import OPTIONS, WHEN, ask, counted, pid_of
from command.table import cell

SUMMARY = 'change settings of a running program'
HELP = f'''\
Usage: sppool set [--wait=SECONDS] [--dir=DIR] PID HOST:PORT KEY=VALUE...
       sppool set [--wait=SECONDS] [--dir=DIR] PID default KEY=VALUE...
       sppool set [--wait=SECONDS] [--dir=DIR] PID max-service-points=N

The first changes service points that there are, and any that match later, too. HOST:PORT may be a
pattern, and keys and values are those of rules (SP_RULES): limit, idle, lease, uses, wait, off,
proto. The second changes the defaults of service points that are still to come, the third
SP_MAX_SERVICE_POINTS.

{OPTIONS}

{WHEN}'''

CAP = 'max-service-points'


def main(arguments):
    options, others = parse_options(arguments, {'--wait': REQUIRED, '--dir': REQUIRED},
                                    anywhere=True)
    if len(others) < 2:
        raise Failure('set needs a PID and what to change', USAGE)
    pid, target, *settings = others
    result, said = ask(options.get('--dir'), pid_of(pid), request(target, settings),
                       options.get('--wait'))
    if result < 0:
        raise Failure(f'{pid}: ' + (said or f'refused (error {-result})'))
    print(f'{pid}: {done(target, settings, result)}')


def request(target, settings):
    """The words of pool/requests.h."""
    cap = re.fullmatch(f'{CAP}=([0-9]+)', target)
    if cap and not settings:
        return ['cap', cap[1]]
    if '=' in target:
        raise Failure(f'{target}: set takes HOST:PORT or default, then KEY=VALUE; or {CAP}=N',
                      USAGE)
    if not settings:
        raise Failure('set needs a KEY=VALUE', USAGE)
    for setting in settings:
        if '=' not in setting:
            raise Failure(f'{setting}: not KEY=VALUE', USAGE)
    return ['default', *settings] if target == 'default' else ['set', target, *settings]


def done(target, settings, result):
    if not settings:
        return target + (f': {counted(result, "service point")} gone' if result else '')
    what = f'{cell(target)}: {cell(" ".join(settings))}'
    if target == 'default':
        return f'{what}, for service points that are still to come'
    return f'{what}, for {counted(result, "service point")}'
