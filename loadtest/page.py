"""One run, or two compared, as an HTML page: `python -m loadtest.page A.json [B.json] -o report.html`."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import msgspec

from loadtest import plots, results, words
from loadtest.plots import Line, Mark
from loadtest.results import Check, Result, Second

NAMES = "AB"  # the letters of the runs: a page compares at most two
SHOWN_WRONG = 10  # violations of each check
COLUMNS = ("p50", "p90", "p99", "p999", "max")
HEADS = ("p50", "p90", "p99", "p99.9", "max")
OVER_TIME = ("p50", "p99", "max")
WORSE, BETTER = 1.1, 0.9  # ratio of latencies from which a cell is coloured

Value = Callable[[Second], float | None]  # a value of one second, for a plot


def write_page(runs: list[Result], path: Path) -> None:
    """Write a page that loads no other file: the first run, and how the second differs from it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(runs), encoding="utf-8")


def page(runs: list[Result]) -> str:
    assert 1 <= len(runs) <= len(NAMES)
    title = "Load test: " + " and ".join(dict.fromkeys(run.scenario for run in runs))
    parts = [
        _head(title, runs),
        _verdicts(runs),
        _about(runs),
        _latencies(runs),
        _rates(runs),
        _server(runs),
        _words(runs),
    ]
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>\n<body>\n{''.join(parts)}</body></html>\n"
    )


# --- words and tables ------------------------------------------------------------------------------------------------
def _head(title: str, runs: list[Result]) -> str:
    lines = []
    for n, run in enumerate(runs):
        began = datetime.fromtimestamp(run.began_ms / 1000, UTC)
        lines.append(f'<p class="soft">{_chip(n, runs)}{began:%Y-%m-%d %H:%M} UTC, {run.seconds:,.0f} s</p>')
    return f"<header><h1>{escape(title)}</h1>{''.join(lines)}</header>\n"


def _chip(n: int, runs: Sequence[Result]) -> str:
    """A run's letter in its colour; empty if there is only one run."""
    return f'<span class="run {NAMES[n].lower()}">{NAMES[n]}</span> ' if len(runs) > 1 else ""


def _verdicts(runs: list[Result]) -> str:
    return f'<h2>Verdict</h2>\n<div class="cards wide">{"".join(_verdict(n, runs) for n in range(len(runs)))}</div>\n'


def _verdict(n: int, runs: list[Result]) -> str:
    run = runs[n]
    broken, all_of = sum(bool(check.wrong) for check in run.checks), len(run.checks)
    said = f"Passed: all {all_of} checks hold" if run.passed else f"Failed: {broken} of {all_of} checks"
    if not run.checks:
        said = "Nothing was checked"
    checks = "".join(_check(check) for check in sorted(run.checks, key=lambda check: not check.wrong))
    kind = "passed" if run.passed else "failed"
    return f'<section class="verdict {kind}"><h2>{_chip(n, runs)}{said}</h2><ul class="checks">{checks}</ul></section>'


def _check(check: Check) -> str:
    wrong = "".join(f"<li>{escape(sentence)}</li>" for sentence in check.wrong[:SHOWN_WRONG])
    if more := len(check.wrong) - SHOWN_WRONG:
        wrong += f"<li>and {more:,} more</li>" if more > 0 else ""
    listed = f"<ul>{wrong}</ul>" if wrong else ""
    kind = "broken" if check.wrong else "holds"
    return (
        f'<li class="{kind}"><b>{escape(check.name)}</b> <span class="soft">{escape(check.found)}</span>{listed}</li>'
    )


def _about(runs: list[Result]) -> str:
    totals = _table("Totals", runs, lambda run: run.totals, ratio=True)
    plan = _table("Plan", runs, lambda run: run.plan)
    machine = _table("Machine", runs, lambda run: run.machine)
    server = _table("Server", runs, lambda run: run.server)
    return f'<h2>The run</h2>\n<div class="cards">{totals}{plan}{server}{machine}</div>\n'


def _words(runs: list[Result]) -> str:
    """What the names on the page mean."""
    names = dict.fromkeys(
        name for run in runs for name in (*run.latencies, *run.totals, *(check.name for check in run.checks))
    )
    known = [(name, found) for name in names if (found := words.meaning(name))]
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(found)}</td></tr>" for name, found in known)
    listed = f'<section class="scrolls"><table><tbody>{rows}</tbody></table></section>'
    return f'<h2>What the words mean</h2>\n<div class="cards wide">{listed}</div>\n' if known else ""


def _table(title: str, runs: list[Result], of: Callable[[Result], Mapping[str, object]], *, ratio: bool = False) -> str:
    """A row for each name, a column for each run; with `ratio`, also the second value over the first."""
    columns = [of(run) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    if not names:
        return ""
    kind = ' class="n"' if ratio else ""
    rows = []
    for name in names:
        values = [column.get(name) for column in columns]
        cells = "".join(f"<td{kind}>{escape(_said(value))}</td>" for value in values)
        if ratio and len(runs) > 1:
            cells += f'<td class="n soft">{_ratio(*values)}</td>'
        differs = ' class="differs"' if not ratio and any(value != values[0] for value in values) else ""
        rows.append(f"<tr{differs}><th>{escape(name)}</th>{cells}</tr>")
    heads = "".join(f"<th{kind}>{_chip(n, runs)}</th>" for n in range(len(runs))) + ('<th class="n">B / A</th>' * ratio)
    head = f"<thead><tr><th></th>{heads}</tr></thead>" if len(runs) > 1 else ""
    return f'<section class="scrolls"><h3>{title}</h3><table>{head}<tbody>{"".join(rows)}</tbody></table></section>'


def _said(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return "; ".join(_said(item) for item in value)
    if isinstance(value, Mapping):
        return _phase(value) if "name" in value else _each(value)
    return str(value)


def _phase(phase: Mapping[str, object]) -> str:
    """Its name and share of the time, and where it differs from a quiet phase."""
    quiet = {"chats": 1.0, "gifts": 1.0, "wave": 0.0, "kill": None}
    shown = {name: value for name, value in phase.items() if name not in ("name", "share") and value != quiet.get(name)}
    share = phase.get("share")
    said = f"{phase['name']}, {share:.0%} of the time" if isinstance(share, int | float) else str(phase["name"])
    return f"{said} ({_each(shown)})" if shown else said


def _each(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in values.items())


def _ratio(before: object, after: object) -> str:
    if not isinstance(before, int | float) or not isinstance(after, int | float) or not before:
        return "–"
    return f"{after / before:.2f}"


def _latency_table(runs: list[Result], names: Iterable[str]) -> str:
    rows = []
    for name in names:
        there = [(n, run.latencies[name]) for n, run in enumerate(runs) if name in run.latencies]
        for place, (n, found) in enumerate(there):
            first = f'<th rowspan="{len(there) + (len(there) > 1)}">{escape(name)}</th>' if not place else ""
            cells = "".join(f'<td class="n">{_ms(getattr(found, column))}</td>' for column in COLUMNS)
            letter = f"<td>{_chip(n, runs)}</td>" if len(runs) > 1 else ""
            further = ' class="further"' if place else ""
            rows.append(f'<tr{further}>{first}{letter}{cells}<td class="n">{found.count:,}</td></tr>')
        if len(there) > 1:
            before, after = (found for _, found in there)
            cells = "".join(_compared(getattr(before, column), getattr(after, column)) for column in COLUMNS)
            counts = f'<td class="n soft">{_ratio(before.count, after.count)}</td>'
            rows.append(f'<tr class="further"><td class="soft run-name">B / A</td>{cells}{counts}</tr>')
    heads = "<th></th>" * (len(runs) > 1) + "".join(f'<th class="n">{head}</th>' for head in (*HEADS, "count"))
    return (
        '<div class="card scrolls"><table class="latencies"><thead><tr><th>ms</th>'
        f"{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>\n"
    )


def _compared(before: float, after: float) -> str:
    times = after / before if before else 1
    kind = "worse" if times > WORSE else "better" if times < BETTER else "soft"
    return f'<td class="n {kind}">{_ratio(before, after)}</td>'


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


# --- plots -----------------------------------------------------------------------------------------------------------
def _latencies(runs: list[Result]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.latencies))
    if not names:
        return ""
    figures = []
    for name in names:
        lines = [
            Line(
                n,
                f"{NAMES[n]} {quantile}" if len(runs) > 1 else quantile,
                _over(run, _quantile(name, quantile)),
                quantile,
            )
            for n, run in enumerate(runs)
            for quantile in OVER_TIME
        ]
        figures.append(_figure(name, "ms, each second", plots.over_time(lines, _marks(runs), large=True)))
        whole = [(n, run.latencies[name].hdr) for n, run in enumerate(runs) if name in run.latencies]
        curves = [Line(n, NAMES[n], plots.quantile_points(hdr)) for n, hdr in whole if hdr]
        figures.append(_figure(name, "ms, by quantile of the whole run", plots.by_quantile(curves)))
    return f"<h2>Latencies</h2>\n{_latency_table(runs, names)}{_grid(figures, 'cards wide')}"


def _quantile(name: str, column: str) -> Value:
    def of(second: Second) -> float | None:
        found = second.latencies.get(name)
        return getattr(found, column) if found and found.count else None

    return of


def _rates(runs: list[Result]) -> str:
    names = dict.fromkeys(name for run in runs for second in run.series for name in second.rates)
    figures = [_lines(runs, "open sockets", "sockets", lambda second: second.open)]
    return _section("Rates", figures + [_lines(runs, name, "per s", _rate(name)) for name in names])


def _rate(name: str) -> Value:
    return lambda second: second.rates.get(name, 0)  # a second has only the rates that are not 0


def _server(runs: list[Result]) -> str:
    names = dict.fromkeys(name for run in runs for second in run.series for name in second.processes)
    cores = [_lines(runs, name, "cores", _usage(name, "cores")) for name in names]
    memory = [_lines(runs, name, "MiB resident", _usage(name, "rss_mib")) for name in names]
    lag = _lines(runs, "loop lag", "ms, p99", lambda second: second.loop_lag_p99_ms)
    return _section("CPU of the server", [*cores, lag]) + _section("Memory of the server", memory)


def _usage(name: str, column: str) -> Value:
    return lambda second: getattr(second.processes[name], column) if name in second.processes else None


def _section(title: str, figures: list[str]) -> str:
    return f"<h2>{title}</h2>\n{_grid(figures, 'cards')}" if any(figures) else ""


def _grid(figures: list[str], kind: str) -> str:
    return f'<div class="{kind}">{"".join(figures)}</div>\n'


def _lines(runs: list[Result], title: str, unit: str, of: Value) -> str:
    """A plot of one value over time, with a line for each run."""
    lines = [Line(n, NAMES[n], _over(run, of)) for n, run in enumerate(runs)]
    return _figure(title, unit, plots.over_time(lines, _marks(runs)))


def _over(run: Result, of: Value) -> list[tuple[float, float]]:
    values = [(second.at_s, of(second)) for second in run.series]
    return [(at_s, math.nan if value is None else float(value)) for at_s, value in values]


def _marks(runs: list[Result]) -> list[Mark]:
    """Where each phase begins; empty if the phases of two runs begin at different times."""
    of_each = []
    for run in runs:
        began: dict[str, float] = {}
        for second in run.series:
            if second.phase:
                began.setdefault(second.phase, second.at_s)
        of_each.append([Mark(at_s, name) for name, at_s in began.items()])
    return of_each[0] if all(marks == of_each[0] for marks in of_each) else []


def _figure(title: str, about: str, svg: str | None) -> str:
    """A figure; empty if there is nothing to draw."""
    if svg is None:
        return ""
    said = f'<figcaption>{escape(title)} <span class="soft">{escape(about)}</span></figcaption>'
    return f"<figure>{said}{svg}</figure>\n"


def main(argv: list[str] | None = None) -> int:
    command_line = argparse.ArgumentParser(prog="python -m loadtest.page", description=__doc__)
    command_line.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN.json", help="a run, and optionally one to compare with it"
    )
    command_line.add_argument("-o", "--output", type=Path, default=Path("report.html"))
    args = command_line.parse_args(argv)
    if len(args.runs) > len(NAMES):
        command_line.error(f"a page compares at most {len(NAMES)} runs")
    try:
        write_page([results.read(path) for path in args.runs], args.output)
    except (OSError, msgspec.MsgspecError) as error:
        command_line.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
