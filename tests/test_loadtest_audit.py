"""A server that is asked for its side of a run: it may not answer, and its audit must be younger than the run."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from loadtest import scenarios
from loadtest.api import CLOCK_LATE_MS, Api, ApiError
from loadtest.crowd import Cast, judge
from loadtest.results import Check
from loadtest.verdict import audit
from tests.site import Site
from tests.test_loadtest import an_account


class Silent(Api):
    """A server that died before it was asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def call(self, *_: object) -> Any:
        raise self._error


ENDED_MS = 1_800_000_000_000


def judged(api: Api) -> list[Check]:
    plan = msgspec.structs.replace(scenarios.ALL["whale"](1, 1), gifts_per_s=0)
    return judge(
        plan, Cast(rooms=["r"], guests=[], hostile=[], gifts=[], givers=["alice"]), [an_account()], api, None, ENDED_MS
    )


@pytest.mark.parametrize("error", [ConnectionError("refused"), ApiError("GET /v1/audit", 503, "busy")])
def test_a_server_that_does_not_say_is_wrong(error: Exception) -> None:
    """What viewers received is still judged; each failed question is a violation."""
    checks = judged(Silent(error))
    assert [check.name for check in checks if check.wrong] == ["journal", "rooms' sums", "the server's audit"]


class Audits(Api):
    """A server whose newest audit is another one at each look."""

    def __init__(self, *began_ms: int | None, failed: str = "") -> None:
        self._began_ms, self._failed = list(began_ms), failed

    def call(self, *_: object) -> Any:
        began_ms = self._began_ms.pop(0) if len(self._began_ms) > 1 else self._began_ms[0]
        if began_ms is None:
            raise ApiError("GET /v1/audit", 404, "no_audit_yet")
        old = began_ms < ENDED_MS
        wrong = [{"partition": 1, "what": "of an older time"}] if old else []
        return {
            "ok": not old,
            "began_ms": began_ms,
            "failed": self._failed,
            "entries": 7,
            "coins_held": 5_000_000,
            "wrong": wrong,
        }


def test_only_an_audit_that_began_after_the_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones are waited out, whatever they say."""
    monkeypatch.setattr("loadtest.verdict.AUDIT_POLL_S", 0)
    found = audit(Audits(None, ENDED_MS - 60_000, ENDED_MS - 1, ENDED_MS), ENDED_MS)
    assert found.wrong == []
    assert "7 entries, 5,000,000 coins held" in found.found


@pytest.mark.parametrize(
    ("api", "why"),
    [
        (Audits(None), "it has made none"),
        (Audits(ENDED_MS - 60_000), "its newest began 60 s before the run's end"),
        (Audits(ENDED_MS - 60_000, failed="the disk is full"), "the disk is full"),
    ],
)
def test_an_audit_that_never_comes_is_wrong(api: Api, why: str) -> None:
    """The wait has an end, and the verdict says what there was instead."""
    [wrong] = audit(api, ENDED_MS, wait_s=0).wrong
    assert "no audit came that began after the run" in wrong
    assert why in wrong


async def test_the_servers_clock_is_asked(site: Site) -> None:
    """The run ends by the clock that audits begin by, rounded up."""
    before_ms = time.time_ns() // 1_000_000
    api = Api(site.url, site.settings.service_key)
    said_ms = await asyncio.to_thread(api.clock_ms)
    api.close()
    assert before_ms - 1_000 <= said_ms <= time.time_ns() // 1_000_000 + CLOCK_LATE_MS
