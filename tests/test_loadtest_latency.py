"""`bench latency`: when messages are due, which aims a measurement has, and a whole run on real sockets."""

import itertools
import re

import pytest

from loadtest.audience import Heard
from loadtest.command_line import main
from loadtest.latency import P99_MS, POINTS, Row, points
from loadtest.peers import measure
from loadtest.peers.measure import Delivered


def found(p99_ms: float, each_us: float, messages: int = 1_000_000) -> Delivered:
    heard = Heard(conns=1000, messages=messages, per_s=1, p50_ms=1, p99_ms=p99_ms, max_ms=p99_ms, closed=0)
    cpu_s = each_us * messages / 1e6
    return Delivered(per_s=1, said=1000, expected=1_000_000, heard=heard, cpu_s=cpu_s, store_cpu_s=0, audience_cores=0)


def row(mode: str, per_s: float, delivered: Delivered, arrivals: str = "even", beside: Delivered | None = None) -> Row:
    return Row(viewers=1000, per_s=per_s, arrivals=arrivals, mode=mode, found=delivered, beside=beside)


# --- when messages are due -------------------------------------------------------------------------------------------
def test_messages_arrive_at_the_rate_that_is_asked_for() -> None:
    """Even ones at equal distances; Poisson ones as many, at distances as long as they vary, the same in each run."""
    assert list(itertools.islice(measure.even(50), 4)) == [0, 0.02, 0.04, 0.06]
    due_s = list(itertools.islice(measure.poisson(50), 5000))
    assert due_s == list(itertools.islice(measure.poisson(50), 5000))
    gaps_s = [later - sooner for sooner, later in itertools.pairwise(due_s)]
    mean_s = sum(gaps_s) / len(gaps_s)
    spread_s = (sum((gap_s - mean_s) ** 2 for gap_s in gaps_s) / len(gaps_s)) ** 0.5
    assert mean_s == pytest.approx(0.02, rel=0.05)
    assert spread_s == pytest.approx(mean_s, rel=0.1)


# --- aims ------------------------------------------------------------------------------------------------------------
def test_points_are_viewers_times_rates() -> None:
    """`--only 1000x20,9000x0.5`; every point with an aim is measured if nothing is named."""
    assert points("1000x20,9000x0.5") == [(1000, 20.0), (9000, 0.5)]
    assert set(P99_MS) < set(POINTS)
    with pytest.raises(ValueError):  # noqa: PT011  # argparse says which argument is meant
        points("1000")


@pytest.mark.parametrize(
    ("measured", "met"),
    [
        (row("balanced", 20, found(12, 9)), [True]),
        (row("balanced", 20, found(12.1, 9)), [False]),
        (row("balanced", 20, found(5, 9, messages=999_999)), [False]),  # not everything arrived
        (row("balanced", 60, found(18, 9)), [False]),
        (row("balanced", 60, found(18, 9), "poisson"), [True]),
        (row("balanced", 1000, found(35, 0.76)), [True, False]),
        (row("low", 20, found(99, 9)), []),
        (row("cheap", 200, found(99, 1.2), beside=found(60, 1)), [True]),
        (row("cheap", 200, found(99, 1.4), beside=found(60, 1)), [False]),
        (row("balanced", 5, found(99, 9)), []),
    ],
)
def test_an_aim_is_met_or_missed(measured: Row, met: list[bool]) -> None:
    """`balanced` aims at latencies, `cheap` at the CPU of picows; what did not arrive meets no latency."""
    assert [each for _, each in measured.aims] == met
    assert measured.line().count("MISSED") == met.count(False)


# --- a whole run -----------------------------------------------------------------------------------------------------
def test_latencies_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The short form: a line with figures for each mode; everything is delivered, and nobody closed."""
    only = ["--only", "20x40", "--modes", "low", "cheap", "--arrivals", "poisson"]
    assert main(["bench", "latency", "--seconds", "0.5", *only]) == 0
    printed = capsys.readouterr().out
    lines = re.findall(r"^ +20 +40  poisson +(\w+) +([\d.]+) +([\d.]+) +([\d.]+) +100.0% +0$", printed, re.MULTILINE)
    assert [mode for mode, *_ in lines] == ["low", "cheap"]
    assert all(0 < float(p50) <= float(p99) and float(us) > 0 for _, p50, p99, us in lines)
    assert "aims met: 0 of 0" in printed
