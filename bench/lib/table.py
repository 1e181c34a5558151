"""From the runs to the tables: medians of ratios, each ratio within one turn of all systems."""

import math
from statistics import median

# The rows of the design's table "The measure": group, title, and the first step's limit against native or QEMU.
CLASSES = [
    ("integer", "integer user code", "native", 2.5),
    ("floating", "SSE/AVX/x87 user code", "native", 1.8),
    ("branches", "indirect calls, returns", "native", 2.5),
    ("system call", "system call", "qemu", 1.0),
    ("page fault", "page fault", "qemu", 0.5),
    ("process", "fork+exit, exec", "qemu", 1.0),
    ("pipe", "pipe round trip", "qemu", 0.5),
    ("blocks", "memcpy, strlen and the like", None, None),
    ("kernel", "mmap, signals, futexes", None, None),
]
MEMORY_LIMIT_MIB = 64


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def duration(ns):
    for limit, unit, scale in ((1e3, "ns", 1), (1e6, "µs", 1e3), (1e9, "ms", 1e6)):
        if ns < limit:
            return f"{ns / scale:.3g} {unit}"
    return f"{ns / 1e9:.3g} s"


def markdown(header, rows):
    """The first column is text, the others are figures."""
    widths = [max(len(row[c]) for row in [header, *rows]) for c in range(len(header))]

    def line(cells):
        return "| " + " | ".join([cells[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(cells[1:], widths[1:]))]) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if c == 0 else ":") for c, w in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


class Measured:
    """All runs: a list of turns, each a dictionary from a system's name to its Run."""

    def __init__(self, benchmarks, turns, clock):
        self.benchmarks = benchmarks
        self.turns = turns
        self.clock = clock
        self.guests = [name for name in turns[0] if name != "native"]
        self.engines = [name for name in self.guests if name != "qemu"]

    def per_operation(self, run, name):
        result = run.results.get(name)
        if result is None or result[self.clock] <= 0:
            return None
        return result[self.clock] / result["rounds"] / self.benchmarks[name]["operations"]

    def ratios(self, system, base, name):
        pairs = [(self.per_operation(t[system], name), self.per_operation(t[base], name)) for t in self.turns]
        return [a / b for a, b in pairs if a is not None and b is not None]

    def group_ratios(self, system, base, group):
        """One geometric mean a turn, if that turn has all of the group's benchmarks that this host can run."""
        names = [n for n, b in self.benchmarks.items() if b["group"] == group and self.ratios("native", "native", n)]
        found = [self.ratios(system, base, n) for n in names]
        if not names or any(len(f) != len(self.turns) for f in found):
            return []
        return [geomean(values) for values in zip(*found)]


def figure(ratios):
    """Median, and how far the turns lie apart."""
    if not ratios:
        return "–"
    middle = median(ratios)
    spread = (max(ratios) - min(ratios)) / 2 / middle
    return f"{middle:.2f}" + (f" ±{100 * spread:.0f}%" if len(ratios) > 1 else "")


def benchmark_table(m):
    header = ["benchmark", "native", *(f"{g}, × native" for g in m.guests)]
    compared = m.engines if "qemu" in m.guests else []
    header += [f"{e} / qemu" for e in compared]
    rows = []
    for name, about in m.benchmarks.items():
        native = [x for t in m.turns if (x := m.per_operation(t["native"], name)) is not None]
        row = [f"{name}: {about['what']}", f"{duration(median(native))} per {about['operation']}" if native else "–"]
        row += [figure(m.ratios(g, "native", name)) for g in m.guests]
        row += [figure(m.ratios(e, "qemu", name)) for e in compared]
        rows.append(row)
    return markdown(header, rows)


def verdict(value, limit):
    return "" if value is None or limit is None else ("reached" if value <= limit else "missed")


def class_table(m):
    header = ["class", *(f"{g}, × native" for g in m.guests)]
    for e in m.engines:
        header += [f"{e} / qemu", f"{e}"]
    header.insert(len(m.guests) + 1, "first step")
    rows = []
    for group, title, base, limit in CLASSES:
        if not any(b["group"] == group for b in m.benchmarks.values()):
            continue
        limit_text = {"native": f"≤ {limit} × native", "qemu": f"≤ {limit} × qemu", None: ""}[base]
        row = [title, *(figure(m.group_ratios(g, "native", group)) for g in m.guests), limit_text]
        for e in m.engines:
            against = m.group_ratios(e, base, group) if base in ("native", *m.guests) else []
            to_qemu = figure(m.group_ratios(e, "qemu", group)) if "qemu" in m.guests else "–"
            row += [to_qemu, verdict(median(against) if against else None, limit)]
        rows.append(row)
    return markdown(header, rows)


def machine_table(m):
    """Boot and resident memory: absolute, as there is nothing native to divide by."""
    header = ["", *m.guests, "first step", *(f"{e}: " for e in m.engines)]
    rows = []

    def row(title, value_of, limit_text, limit_of, form):
        values = {g: [v for t in m.turns if (v := value_of(t[g])) is not None] for g in m.guests}
        middle = {g: median(v) if v else None for g, v in values.items()}
        limit = limit_of(middle)
        cells = [form(middle[g]) if middle[g] is not None else "–" for g in m.guests]
        rows.append([title, *cells, limit_text, *(verdict(middle[e], limit) for e in m.engines)])

    def seconds(x):
        return f"{x:.2f} s"

    def mib(x):
        return f"{x:.1f} MiB"

    def boot(kind):
        return lambda run: run.boot[kind] if run.boot else None

    def memory(when, what):
        return lambda run: run.memory[when][what] if when in run.memory else None

    row("boot to user space, processor time", boot("cpu"), "≤ qemu", lambda x: x.get("qemu"), seconds)
    row("boot to user space, wall", boot("wall"), "", lambda x: None, seconds)
    limit = f"≤ {MEMORY_LIMIT_MIB} MiB"
    row("memory beyond guest RAM, booted", memory("booted", "beyond_ram"), limit, lambda x: MEMORY_LIMIT_MIB, mib)
    row("the same after the benchmarks", memory("measured", "beyond_ram"), "", lambda x: None, mib)
    row("host page tables then", memory("measured", "page_tables"), "", lambda x: None, mib)
    return markdown(header, rows)
