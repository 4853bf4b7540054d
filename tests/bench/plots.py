"""Plots of the tables, by gnuplot: an SVG for each."""

import pathlib
import statistics
import subprocess
from collections import namedtuple

from harness import need

Plot = namedtuple('Plot', 'table title unit scale log')

PLOTS = [
    Plot('contest', '1 KB responses', 'requests per second', 1, False),
    Plot('one-processor', 'All on one processor', 'microseconds of a request', 1, True),
    Plot('threads', '1 KB responses, by threads', 'requests per second', 1, False),
    Plot('bodies', 'Responses by their bodies', 'requests per second', 1, True),
    Plot('clients', 'Real clients', 'microseconds of a request', 1, True),
    Plot('distance-1k', '1 KB, by round trip', 'milliseconds of a request', 1000, True),
    Plot('distance-100k', '100 KB, by round trip', 'milliseconds of a request', 1000, True),
]

SCRIPT = """
set terminal svg size 860,480 font 'sans,14' background '#ffffff'
set output '{output}'
set title '{title}'
set ylabel '{unit}'
set grid ytics
set key outside right top
set style fill solid 0.8 border -1
set style data histograms
set style histogram errorbars gap 1.5 linewidth 1
set bars 0.5
{log}
plot {plots}
"""


def _block(number, table, contestant, scale):
    """Each work's median, least and most, under its name."""
    lines = [f'$values{number} << END']
    for work in table.cells:
        values = [value / scale for value in table.values(work, contestant)]
        numbers = [statistics.median(values), min(values), max(values)] if values else ['NaN'] * 3
        lines.append(' '.join([f'"{work}"', *map(str, numbers)]))
    return '\n'.join([*lines, 'END\n'])


def draw(table, plot, path):
    contestants = table.contestants()
    blocks = [_block(number, table, name, plot.scale) for number, name in enumerate(contestants)]
    series = [f"$values{number} using 2:3:4:xtic(1) title '{name}'"
              for number, name in enumerate(contestants)]
    axis = 'set logscale y' if plot.log else 'set yrange [0:*]'
    script = SCRIPT.format(output=path, title=plot.title, unit=plot.unit, log=axis,
                           plots=', '.join(series))
    subprocess.run([need('gnuplot')], input=''.join(blocks) + script, text=True, check=True,
                   timeout=60)


def draw_all(report, directory):
    for plot in PLOTS:
        table = report.tables.get(plot.table)
        if table and table.cells:
            draw(table, plot, pathlib.Path(directory, f'{plot.table}.svg'))
