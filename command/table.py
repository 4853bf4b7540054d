"""Tables of text, and the numbers and times in them, as people read them."""

import time

from command.common import printable


def cell(text):
    """A text from elsewhere, as wide as it looks: whatever is not ASCII as an escape."""
    return printable(str(text)).encode('ascii', 'backslashreplace').decode()


def aligned(titles, rows, gap='  '):
    """Lines: the titles and the rows, each column as wide as its widest cell. A column
    whose title begins with < stands at the left."""
    left = [title.startswith('<') for title in titles]
    rows = [[title.lstrip('<') for title in titles], *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = (text.ljust(width) if at_left else text.rjust(width)
                 for text, width, at_left in zip(row, widths, left))
        yield gap.join(cells).rstrip()


def percent(part, whole):
    return f'{100 * part // whole} %' if whole else '-'


def clock_time(seconds, now):
    """A time of today by the clock, an older one by the date, too."""
    then = time.localtime(seconds)
    today = then[:3] == time.localtime(now)[:3]
    return time.strftime('%H:%M:%S' if today else '%Y-%m-%d %H:%M', then)


def span(seconds):
    """How long something took, in three or four characters."""
    for unit, size in (('d', 86400), ('h', 3600), ('m', 60)):
        if seconds >= 2 * size:
            return f'{int(seconds // size)}{unit}'
    return f'{seconds:.0f}s' if seconds >= 10 else f'{seconds:.1f}s'


def host_and_port(host, port):
    return f'[{cell(host)}]:{port}' if ':' in host else f'{cell(host)}:{port}'
