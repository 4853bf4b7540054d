"""`sppool flush`: has a pool that is in use close its connections."""

from command.common import REQUIRED, USAGE, Failure, parse_options
from command.request import OPTIONS, WHEN, ask, counted, pid_of

SUMMARY = 'close what the pool of a running program has parked'
HELP = f'''\
Usage: sppool flush [--wait=SECONDS] [--dir=DIR] PID [HOST:PORT]

Closes the parked connections of the process, or those to HOST:PORT, which may be a pattern
(SP_RULES). Those that are in use are closed when the program closes them. So nothing that was
opened before is used again.

{OPTIONS}

{WHEN}'''


def main(arguments):
    options, others = parse_options(arguments, {'--wait': REQUIRED, '--dir': REQUIRED},
                                    anywhere=True)
    if len(others) not in (1, 2):
        raise Failure('flush needs a PID, and may have a HOST:PORT', USAGE)
    pid, target = others[0], others[1] if len(others) > 1 else '*:*'
    result, said = ask(options.get('--dir'), pid_of(pid), ['flush', target],
                       options.get('--wait'))
    if result < 0:
        raise Failure(f'{pid}: ' + (said or f'refused (error {-result})'))
    print(f'{pid}: {counted(result, "parked connection")} closed')
