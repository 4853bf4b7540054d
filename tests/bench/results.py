"""What was measured: said as it comes, and kept for the files."""

import json
import os
import pathlib
import platform
import statistics

from command.table import aligned


def in_short(value):
    """With as many digits as mean something."""
    return f'{value:.3g}' if abs(value) < 100 else f'{value:,.0f}'


class Table:
    """Values by work and contestant. The values of one run have the same place in each list."""

    def __init__(self, name, title, unit, against=(), counted=False):
        self.name = name
        self.title = title
        self.unit = unit
        self.against = against  # contestants that the others are compared with
        self.counted = counted  # the same in every run, so measured once
        self.cells = {}  # {work: {contestant: values}}, in the order of the first run

    def add(self, work, contestant, value):
        self.cells.setdefault(work, {}).setdefault(contestant, []).append(value)

    def values(self, work, contestant):
        return self.cells.get(work, {}).get(contestant, [])

    def median(self, work, contestant):
        """None if that was not measured."""
        values = self.values(work, contestant)
        return statistics.median(values) if values else None

    def ratio(self, work, contestant, other):
        """The median of the ratios of each run, as what disturbs one disturbs its neighbours."""
        pairs = zip(self.values(work, contestant), self.values(work, other))
        ratios = [one / another for one, another in pairs if another]
        return statistics.median(ratios) if ratios else None

    def added(self, work, contestant='with', other='without'):
        pairs = zip(self.values(work, contestant), self.values(work, other))
        differences = [one - another for one, another in pairs]
        return statistics.median(differences) if differences else None

    def _measured(self):
        """A line for each contestant at each work."""
        yield ['<', '<', self.unit, 'least to most', *(f'of {other}' for other in self.against)]
        for work, contestants in self.cells.items():
            for contestant, values in contestants.items():
                ratios = (self.ratio(work, contestant, other) for other in self.against)
                yield [work, contestant, in_short(statistics.median(values)),
                       f'{in_short(min(values))} to {in_short(max(values))}',
                       *('-' if ratio is None else f'{ratio:.3f}' for ratio in ratios)]

    def _counted(self):
        """A line for each work, with a column for each contestant."""
        contestants = self.contestants()
        yield ['<', *contestants]
        for work, found in self.cells.items():
            yield [work, *(in_short(found[name][0]) if name in found else '-'
                           for name in contestants)]

    def contestants(self):
        return list(dict.fromkeys(name for row in self.cells.values() for name in row))

    def lines(self):
        runs = max(len(values) for row in self.cells.values() for values in row.values())
        yield f'{self.name}: {self.title}' + ('' if self.counted else f' (median of {runs})')
        titles, *rows = self._counted() if self.counted else self._measured()
        for line in aligned(titles, rows):
            yield f'  {line}'

    def as_json(self):
        rows = [{'work': work, 'contestant': contestant, 'values': values,
                 'median': statistics.median(values), 'least': min(values), 'most': max(values),
                 'ratios': {other: self.ratio(work, contestant, other) for other in self.against}}
                for work, contestants in self.cells.items()
                for contestant, values in contestants.items()]
        return {'name': self.name, 'title': self.title, 'unit': self.unit, 'rows': rows}


class Report:
    def __init__(self):
        self.said = []
        self.tables = {}
        self.skipped = {}  # {part: why}
        self.took = {}  # {part: seconds}
        self.targets = []
        self.machine = {
            'processors': os.cpu_count(),
            'architecture': platform.machine(),
            'kernel': platform.release(),
            'load': os.getloadavg()[0],  # of the last minute, before anything here began
        }

    def say(self, text=''):
        print(text, flush=True)
        self.said.append(text)

    def table(self, name, *arguments, **options):
        self.tables[name] = Table(name, *arguments, **options)
        return self.tables[name]

    def show(self, table):
        self.say()
        for line in table.lines():
            self.say(line)

    def skip(self, part, why):
        self.skipped[part] = why
        self.say(f'\n{part}: skipped: {why}')

    def median(self, name, work, contestant):
        return self.tables[name].median(work, contestant) if name in self.tables else None

    def ratio(self, name, work, contestant, other):
        return self.tables[name].ratio(work, contestant, other) if name in self.tables else None

    def added(self, name, work):
        return self.tables[name].added(work) if name in self.tables else None

    def write(self, directory, options):
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / 'bench.txt').write_text('\n'.join(self.said) + '\n')
        everything = {
            'machine': self.machine,
            'options': options,
            'tables': [table.as_json() for table in self.tables.values() if table.cells],
            'targets': self.targets,
            'skipped': self.skipped,
            'took': self.took,
        }
        (directory / 'bench.json').write_text(json.dumps(everything, indent=1) + '\n')
