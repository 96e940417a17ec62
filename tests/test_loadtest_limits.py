"""A run that heard nothing wrong, and still has not passed: waits, refusals, lost connections, pauses."""

import os
import signal

import msgspec
import pytest

from loadtest import limits
from loadtest.command_line import parser, plan_of
from loadtest.limits import Limits
from loadtest.results import Check, Quantiles, Second
from tests.conftest import Stores
from tests.site import Site
from tests.test_loadtest import RUN_S_MAX, ran

LONG_S, STOPPED_S = 3_600, 40


def waits(p99: float, count: int = 100) -> Quantiles:
    return Quantiles(count=count, p50=1.0, p90=2.0, p99=p99, p999=p99, max=p99)


def second(at_s: int, *, came: bool = True, sent: float = 20.0) -> Second:
    latencies = {"event to received": waits(30.0)} if came else {}
    return Second(at_s=float(at_s), rates={"chats": sent} if sent else {}, open=100, latencies=latencies)


CALM = {
    "chats": 990,
    "gifts": 10,
    "reply ok": 1_000,
    "joins": 200,
    "closed by us": 100,
    "closed slow reader": 9,
    "away": 50,
}


def wrong(totals: dict[str, int], p99: float = 30.0, allowed: Limits | None = None, *series: Second) -> list[str]:
    """The names of the limits that such a run is beyond."""
    found = limits.checks(allowed or Limits(), totals, {"event to received": waits(p99)}, series or [second(1)])
    return [check.name for check in found if check.wrong]


def test_a_calm_run_is_within_every_limit() -> None:
    """Connections that the plan breaks, slow readers and people who are away count for nothing."""
    assert wrong(CALM) == []


@pytest.mark.parametrize(
    ("more", "p99", "name"),
    [
        ({}, 1_001.0, "p99"),
        ({"reply unavailable": 11}, 30.0, "refused"),
        ({"not_sent": 11}, 30.0, "refused"),
        ({"closed 1006": 3}, 30.0, "closed"),
        ({"closed HTTP 503": 3}, 30.0, "closed"),
        ({"joins": 0, "closed no connection": 1}, 30.0, "closed"),
    ],
)
def test_each_limit_decides(more: dict[str, int], p99: float, name: str) -> None:
    """What is beyond one limit has failed, and a higher one lets it pass."""
    totals = CALM | more
    assert wrong(totals, p99) == [name]
    assert wrong(totals, p99, Limits(max_p99_ms=2_000.0, max_refused=100.0, max_closed=100.0)) == []


def test_a_store_that_stopped_is_no_pass_in_the_longest_run() -> None:
    """In an hour, 40 s without any delivery change neither a quantile nor the shares, and are one pause."""
    series = [second(at_s, came=not 100 <= at_s < 100 + STOPPED_S) for at_s in range(1, LONG_S)]
    assert wrong(CALM, 30.0, None, *series) == ["pauses"]


def test_a_quiet_room_has_no_pause() -> None:
    """Where nothing is sent, nothing has to arrive."""
    series = [second(at_s, came=at_s % 60 == 0, sent=float(at_s % 60 == 0)) for at_s in range(1, LONG_S)]
    assert wrong(CALM, 30.0, None, *series) == []


def test_the_options_replace_the_scenarios_limits() -> None:
    """A scenario that kills allows more than one that does not; an option replaces one number."""
    calm, kill = (plan_of(parser().parse_args([name])).limits for name in ("chat_storm", "node_kill"))
    assert calm == Limits()
    assert kill is not None
    assert kill.max_p99_ms > Limits().max_p99_ms
    given = plan_of(parser().parse_args(["node_kill", "--max-p99-ms", "7", "--max-closed", "0"])).limits
    assert given == msgspec.structs.replace(kill, max_p99_ms=7.0, max_closed=0.0)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much"])
def test_a_limit_is_a_number(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before the run: it would let everything pass."""
    with pytest.raises(SystemExit):
        parser().parse_args(["whale", "--max-refused", value])
    assert "--max-refused" in capsys.readouterr().err


class Stopping:
    """A view that stops a process in the run's second second, and lets it go on three seconds later."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stopped_at_s: float | None = None

    def update(self, second: Second, *_: object) -> None:
        if self.stopped_at_s is None and second.rates.get("chats"):
            os.kill(self.pid, signal.SIGSTOP)
            self.stopped_at_s = second.at_s
        elif self.stopped_at_s is not None and second.at_s >= self.stopped_at_s + 3:
            os.kill(self.pid, signal.SIGCONT)


@pytest.mark.timeout(RUN_S_MAX)
async def test_a_room_store_that_stops_fails_the_run(site: Site, stores: Stores) -> None:
    """A store that stands for three seconds is noticed, although everything comes at last and all is in order."""
    process = stores.room.process
    assert process is not None
    more = ["--chats-per-s", "20", "--gifts-per-s", "0", "--seconds", "4", "--max-pause-s", "1.5"]
    try:
        found = await ran(site, "chat_storm", *more, view=Stopping(process.pid))
    finally:
        process.send_signal(signal.SIGCONT)
    assert {check.name for check in found.checks if check.wrong} >= {"pauses"}
    assert not found.passed
    heard: list[Check] = [check for check in found.checks if check.name in ("order", "nothing lost", "sums")]
    assert [check for check in heard if check.wrong] == []
