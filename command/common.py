"""What the subcommands share: how they end, what they say, their options."""

import os

# The checkout, or share/sppool where it is installed: command/ and pool/ with its tables are there.
HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

# Exit statuses of our own, as shells and env(1) give them.
USAGE = 2
CANNOT_EXECUTE = 126
NOT_FOUND = 127


class Failure(Exception):
    """Ends sppool with one line on stderr and an exit status."""

    def __init__(self, message, status=1):
        super().__init__(message)
        self.status = status


def say(message):
    try:
        os.write(2, f'sppool: {printable(str(message))}\n'.encode(errors='backslashreplace'))
    except OSError:
        pass  # nobody listens; no reason not to run the program


def printable(text):
    """For terminals and logs: control characters, and bytes that are no text, as escapes. Names of
    files and what is in them may be anything."""
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else f'\\x{ord(c) & 0xff:02x}' if '\udc80' <= c <= '\udcff'
                   else ascii(c)[1:-1] for c in text)


# Options: {name: what it means without a value}; REQUIRED where it must have one.
REQUIRED = object()


def parse_options(arguments, known, anywhere=False):
    """Splits ARGUMENTS at the first that is no option, or takes options from ANYWHERE; returns
    ({name: value}, the rest)."""
    options, others, rest = {}, [], list(arguments)
    while rest and (anywhere or is_option(rest[0])):
        argument = rest.pop(0)
        if argument == '--':
            break
        if not is_option(argument):
            others.append(argument)
            continue
        name, equals, value = argument.partition('=')
        if name not in known:
            raise Failure(f'unknown option {name}', USAGE)
        if not equals:
            value = known[name]
            if value is REQUIRED:
                if not rest:
                    raise Failure(f'{name} needs a value', USAGE)
                value = rest.pop(0)
        options[name] = value
    return options, others + rest


def is_option(argument):
    return argument.startswith('-') and argument != '-'
