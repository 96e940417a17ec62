"""`bench overload`: which rounds fail, and why."""

import pytest

from loadtest.audience import Heard
from loadtest.overload import Round
from loadtest.peers.measure import Delivered


def round_of(p99_ms: float = 90.0, closed: int = 0, shown: int = 1_000) -> Round:
    heard = Heard(conns=10, messages=10 * shown, per_s=0, p50_ms=9.0, p99_ms=p99_ms, max_ms=p99_ms, closed=closed)
    found = Delivered(per_s=200, said=2_000, expected=0, heard=heard, cpu_s=1.0, store_cpu_s=0.1, audience_cores=0.1)
    return Round(found, viewers=10, allowed=1_000)


@pytest.mark.parametrize(
    ("judged", "wrong"),
    [
        (round_of(), []),
        (round_of(closed=1), ["1 closed"]),
        (round_of(p99_ms=500.1), ["p99 over 500 ms"]),
        (round_of(shown=899), ["only 90% of what the limit allows was shown"]),
        (round_of(shown=900), []),
    ],
)
def test_a_round_is_judged(judged: Round, wrong: list[str]) -> None:
    """Nobody closed, nobody waiting for long, and enough shown."""
    assert judged.wrong == wrong
    assert judged.row.endswith("holds") == (not wrong)
