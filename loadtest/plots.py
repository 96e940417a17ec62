"""Plots as SVG for a page: lines over time, latencies by quantile. They take their colours from the page."""

import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGE_IN, SMALL_IN = (5.2, 2.5), (3.5, 1.7)
FONT_PT = 9
LETTER = 0.0125  # width of a letter of a mark's name, as a part of a large plot's width
QUANTILES = (50, 90, 99, 99.9, 99.99, 99.999)
POINTS_PER_DECADE = 24
LEAST_MS = 0.001  # a logarithmic axis has no 0, and the histograms count microseconds
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200)
TICKS = 7
LADDER_TICKS = 10
MINUTES_FROM_S = 120
DOTS_UP_TO = 45  # points: each gets a dot, because a single point between two gaps has no line

# Placeholders: matplotlib needs a colour, and _inline replaces each by a variable of the page (light or dark).
INK, SOFT, GRID, CARD = "#010a01", "#010a02", "#010a03", "#010a04"
RUNS = ("#010a0a", "#010a0b")
VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--grid", CARD: "--card", RUNS[0]: "--a", RUNS[1]: "--b"}

STYLES: dict[str, dict[str, Any]] = {
    "plain": {"linewidth": 1.4},
    "p50": {"linewidth": 1.1, "alpha": 0.5},
    "p99": {"linewidth": 1.6},
    "max": {"linewidth": 1.0, "linestyle": (0, (1, 1.6)), "alpha": 0.9},
}


class Line(Struct, frozen=True):
    """Points of one run, in the order of x. A NaN as y is a gap."""

    run: int
    label: str
    points: Sequence[tuple[float, float]]
    style: str = "plain"

    @property
    def found(self) -> list[float]:
        return [y for _, y in self.points if not math.isnan(y)]


class Mark(Struct, frozen=True):
    """The place where something began."""

    at_s: float
    name: str


def over_time(lines: Sequence[Line], marks: Sequence[Mark], *, large: bool = False) -> str | None:
    """An SVG, or None if there is nothing to draw. A large one is logarithmic and names its marks."""
    lines = [line for line in lines if line.found]
    if not lines:
        return None
    ends = [x for line in lines for x, _ in (line.points[0], line.points[-1])]
    low, high = min(ends), max(ends)
    step = next((step for step in TIME_STEPS_S if (high - low) / step <= TICKS), TIME_STEPS_S[-1])
    ticks = [float(n * step) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    minutes = high >= MINUTES_FROM_S
    labels = [f"{tick // 60:.0f}:{tick % 60:02.0f}" if minutes else f"{tick:g} s" for tick in ticks]
    return _draw(lines, (low, max(high, low + 1)), (ticks, labels), marks, large=large)


def by_quantile(lines: Sequence[Line]) -> str | None:
    """Latency by quantile, as HdrHistogram plots it: each further nine takes the same part of the axis."""
    lines = [line for line in lines if line.found]
    if not lines:
        return None
    end = max(line.points[-1][0] for line in lines)
    shown = [quantile for quantile in QUANTILES if _place(quantile) <= end]
    ticks = [_place(quantile) for quantile in shown]
    return _draw(lines, (0, max(end, 1)), (ticks, [f"p{quantile:g}" for quantile in shown]), (), large=True)


def quantile_points(encoded: str) -> list[tuple[float, float]]:
    """Places and values in ms of a histogram, up to the highest quantile that its count can show."""
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415  # slow to import, and only needed here

    histogram = HdrHistogram.decode(encoded)
    count = histogram.get_total_count()
    if not count:
        return []
    places = math.ceil(math.log10(count) * POINTS_PER_DECADE)
    quantiles = [100 * (1 - 10 ** (-place / POINTS_PER_DECADE)) for place in range(places)] + [100.0]
    found = histogram.get_percentile_to_value_dict(quantiles)
    ends = [place / POINTS_PER_DECADE for place in range(places)] + [math.log10(count)]
    return [(x, found[quantile] / 1000) for x, quantile in zip(ends, quantiles, strict=True)]


def _place(quantile: float) -> float:
    return math.log10(100 / (100 - quantile))


def _draw(
    lines: Sequence[Line],
    span: tuple[float, float],
    ticks: tuple[list[float], list[str]],
    marks: Sequence[Mark],
    *,
    large: bool,
) -> str:
    import matplotlib as mpl  # noqa: PLC0415  # its import takes half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    look: Any = _look() | {"svg.hashsalt": repr((lines, span))}  # equal plots get equal ids, others do not
    with mpl.rc_context(look):
        figure = Figure(figsize=LARGE_IN if large else SMALL_IN, layout="constrained")
        axes = figure.subplots()
        for line in lines:
            xs, ys = zip(*line.points, strict=True)
            dots = "." if len(xs) <= DOTS_UP_TO else ""
            if large:
                ys = tuple(max(y, LEAST_MS) for y in ys)  # a gap remains: max returns a NaN that comes first
            axes.plot(xs, ys, color=RUNS[line.run], label=line.label, marker=dots, **STYLES[line.style])
        _scale(axes, [y for line in lines for y in line.found], log=large)
        axes.set(xlim=span)
        axes.set_xticks(*ticks)
        _mark(axes, marks, span, named=large)
        if len(lines) > 1:
            figure.legend(loc="outside upper right", ncols=len(lines))
        drawn = io.StringIO()
        nothing: Any = dict.fromkeys(
            ("Date", "Creator", "Format", "Type")
        )  # leave them out: the same input gives the same bytes
        figure.savefig(drawn, format="svg", metadata=nothing, transparent=True)
    return _inline(drawn.getvalue())


def _mark(axes: "Axes", marks: Sequence[Mark], span: tuple[float, float], *, named: bool) -> None:
    """Draw the marks. Names go above the plot, in a second row if the first is taken."""
    taken = [-math.inf, -math.inf]
    for mark in marks:
        axes.axvline(mark.at_s, color=SOFT, alpha=0.6, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0)
        row = next((row for row, end in enumerate(taken) if end <= mark.at_s), None)
        if not named or row is None:
            continue
        taken[row] = mark.at_s + len(mark.name) * LETTER * (span[1] - span[0])
        where = {"xy": (mark.at_s, 1), "xytext": (0, 2 + row * FONT_PT), "va": "bottom", "color": SOFT}
        small: Any = {**where, "xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate(mark.name, **small, fontsize=FONT_PT - 2)


def _scale(axes: "Axes", values: list[float], *, log: bool) -> None:
    """Set the y axis: linear from 0, or logarithmic with ticks at 1, 2 and 5 of each decade (or only decades)."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator  # noqa: PLC0415

    if not log:
        axes.set_ylim(0, max(values) * 1.1 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        return
    low, high = (max(LEAST_MS, value) for value in (min(values), max(values)))
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ladder = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    bottom = max((step for step in ladder if step <= low), default=low / 2)
    top = min((step for step in ladder if step >= high and step > bottom), default=high * 2)
    ticks = [step for step in ladder if bottom <= step <= top]
    if len(ticks) > LADDER_TICKS:
        ticks = [10.0**decade for decade in decades if bottom <= 10.0**decade <= top]
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks(ticks, [short(tick) for tick in ticks])


def short(value: float) -> str:
    """A number as a label of an axis."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:g}{letter}"
    return f"{value:,g}"


def _look() -> dict[str, Any]:
    return {
        "svg.fonttype": "none",  # keep text as text: searchable, and in the page's font
        "text.parse_math": False,  # show a $ in a name as it is
        "font.family": ["DejaVu Sans"],
        "font.size": FONT_PT,
        "text.color": INK,
        "axes.edgecolor": GRID,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": SOFT,
        "ytick.labelcolor": SOFT,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.handlelength": 1.6,
        "legend.columnspacing": 1.2,
        "legend.borderaxespad": 0,
        "lines.markersize": 3.5,
        "lines.solid_joinstyle": "round",
    }


def _inline(svg: str) -> str:
    """Remove what only a file of its own may have: the prologue, global styles, ids that would repeat."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*" ', r"\1", svg, count=1)
    svg = re.sub(r' d="[^"]*"', lambda path: _rounded(path.group()), svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", '<svg role="img" ', 1)


def _rounded(path: str) -> str:
    """Round to a tenth of a point: nobody sees more, and the text is half as long."""
    return re.sub(r"\s+", " ", re.sub(r"(\d\.\d)\d+", r"\1", path))
