"""What one socket may send: usual traffic never comes near the bound, and a flood ends soon."""

import pytest

from server import limits
from server.rooms.allowance import Allowance


@pytest.mark.parametrize(
    ("costs", "per_s"),
    [([1], 1), ([1, 1, 1, 1], 10), ([1] * 8 + [limits.FRAME_BYTES_MAX // limits.MESSAGE_BYTES_PER_COMMAND], 2)],
    ids=["a ping each second", "ten commands a second in four fragments each", "two long messages in eight fragments"],
)
def test_usual_traffic_is_accepted(costs: list[int], per_s: int) -> None:
    """An hour of it never has to wait."""
    allowance = Allowance("viewer")
    now = 100.0
    for _ in range(3_600 * per_s):
        now += 1 / per_s
        assert [allowance.take(cost, now) for cost in costs] == [0] * len(costs)


def test_a_minute_without_a_network_is_no_flood() -> None:
    """Sixty pings that come at once, with the commands of that time, are accepted."""
    allowance = Allowance("viewer")
    assert {allowance.take(1, 100.0) for _ in range(120)} == {0}


@pytest.mark.parametrize("role", ["viewer", "bot"])
def test_a_flood_ends(role: str) -> None:
    """A burst is accepted, the next command is refused with the time to wait, and more ends it. A bot may send more."""
    burst = int(limits.BOT_COMMANDS_BURST if role == "bot" else limits.COMMANDS_BURST)
    allowance = Allowance(role)  # type: ignore[arg-type]
    waits = [allowance.take(1, 100.0) for _ in range(2 * burst + 1)]
    assert waits[:burst] == [0] * burst
    assert all(wait > 0 for wait in waits[burst : 2 * burst])
    assert waits[burst : 2 * burst] == sorted(waits[burst : 2 * burst])
    assert waits[-1] == -1


def test_after_the_reported_wait() -> None:
    """A socket that waits as long as it was asked to may go on."""
    allowance = Allowance("viewer")
    while not (wait_ms := allowance.take(1, 100.0)):
        pass
    assert allowance.take(1, 100.0 + wait_ms / 1_000) == 0
