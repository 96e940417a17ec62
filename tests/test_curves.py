"""The line through a curve's points, and its estimate for a million viewers."""

from pathlib import Path

import pytest

from loadtest.curves import CORE_SHARE, Model, Point, draw, fit

POINTS = [
    Point(curve="viewers", x=viewers, viewers=viewers, events_per_s=per_s, writes_per_s=viewers * 20, p99_ms=50)
    for viewers, per_s in ((100, 1), (1000, 20), (1000, 500), (9000, 20), (3000, 2000))
]


def with_cost(idle: float, per_write_us: float, per_event_us: float) -> list[Point]:
    """The points if the model were exact."""
    found = []
    for point in POINTS:
        cores = idle + point.writes_per_s * per_write_us / 1e6 + point.events_per_s * per_event_us / 1e6
        found.append(
            Point(
                **{name: getattr(point, name) for name in ("curve", "x", "events_per_s", "writes_per_s")}, cores=cores
            )
        )
    return found


def test_the_line_is_found() -> None:
    """Points on a line give that line, and the error is 0."""
    model = fit(with_cost(0.02, 8.5, 70.0))
    assert (model.idle, model.per_write_us, model.per_event_us, model.error) == pytest.approx(
        (0.02, 8.5, 70.0, 0.0), abs=1e-3
    )


def test_no_part_costs_less_than_nothing() -> None:
    """A cost that would be negative is 0, and the rest is fitted without it."""
    model = fit(with_cost(0.02, 8.5, -0.5))
    assert model.per_event_us == 0
    assert model.per_write_us == pytest.approx(8.5, rel=0.01)


def test_a_million_viewers() -> None:
    """The nodes share the writing, but each one gets all events."""
    model = Model(idle=0.01, per_write_us=8.0, per_event_us=100.0, error=0.0)
    cores, nodes = model.million(0)
    assert nodes == int(32 / (CORE_SHARE - 0.01)) + 1
    assert cores == pytest.approx(32 / (CORE_SHARE - 0.01) * CORE_SHARE)
    assert model.million(1000)[1] > nodes


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    """There is a panel for each curve, and the same points give the same picture."""
    points = [
        *with_cost(0.02, 8.5, 70.0),
        Point(curve="primaries", x=1, us_each=25.0),
        Point(curve="primaries", x=3, us_each=38.0),
    ]
    draw(points, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "<svg" in text
    assert "CPU µs per delivery" in text
    assert "CPU µs per gift" in text
