"""Staff: what was written into SQL reaches the room, once, whatever fails in between."""

import asyncio
from typing import Any

import pytest

from protocol.closes import Close
from server import limits
from server.rooms import staff
from tests.features.test_members import host_of
from tests.program import eventually
from tests.site import Site


async def test_a_late_act_comes_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that dies between SQL and the room: another tells the room, once, however many try."""
    host, alice = await host_of(site), await site.join("alice")

    async def dies(*_args: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(staff, "_tell", dies)
        await host.tell({"type": "members.ban", "user_id": "alice"})
        await eventually(lambda: _untold(site), what="the act in SQL")
    monkeypatch.setattr(limits, "UNTOLD_AFTER_MS", -60_000)
    told = await asyncio.gather(*(staff.tell_late(site.node.services) for _ in range(3)))
    assert max(told) == 1
    assert await alice.closed() == Close.BANNED
    assert await staff.tell_late(site.node.services) == 0
    await host.ask("chat.send", text="gone")
    await host.happened("chat.sent", text="gone")
    assert len(host.events("members.banned")) == 1


async def _untold(site: Site) -> bool:
    return bool(await asyncio.to_thread(staff.journal.untold, site.node.engine, 2**53))


async def test_a_late_act_does_not_undo_a_newer_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ban that the room did not get, then its lifting, which it got: nobody is banned in the end."""
    host, alice = await host_of(site), await site.join("alice")

    async def dies(*_args: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(staff, "_tell", dies)
        await host.tell({"type": "members.ban", "user_id": "alice"})
        await eventually(lambda: _untold(site), what="the act in SQL")
    assert (await host.ask("members.unban", user_id="alice"))["type"] == "ok"
    monkeypatch.setattr(limits, "UNTOLD_AFTER_MS", -60_000)
    assert await staff.tell_late(site.node.services) == 1
    await host.happened("members.unbanned")
    assert (await alice.ask("chat.send", text="here"))["type"] == "ok"
    assert host.events("members.banned") == []
