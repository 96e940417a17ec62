"""Reports: counted once per person and message, told to staff, and enough of them take a message away."""

from collections.abc import Awaitable, Callable

import pytest

from server import limits
from tests.features.test_members import host_of
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_staff_hears_of_reports(site: Site, another_site: MakeSite, codec: str) -> None:
    """With their number, on every node; a second report of the same person changes nothing."""
    there = await another_site()
    mod, alice = await there.join("mod", "moderator", codec=codec), await site.join("alice")
    bob, carol = await site.join("bob", codec=codec), await there.join("carol")
    said = await alice.ask("chat.send", text="hm")
    await carol.happened("chat.sent")
    for _ in range(2):
        assert (await bob.ask("chat.report", id=said["id"], reason="rude"))["type"] == "ok"
    told = await mod.happened("chat.reported", id=said["id"])
    assert (told["reports"], told["user_id"], told["reason"]) == (1, "alice", "rude")
    assert (await carol.ask("chat.report", id=said["id"]))["type"] == "ok"
    assert (await mod.happened("chat.reported", reports=2))["of_user"] == 2
    again = await alice.ask("chat.send", text="hm hm")
    await bob.happened("chat.sent", id=again["id"])
    await bob.ask("chat.report", id=again["id"])
    assert (await mod.happened("chat.reported", id=again["id"]))["of_user"] == 3
    assert not [message for message in carol.told if message["type"] == "chat.reported"]
    assert (await alice.ask("chat.report", id=said["id"]))["reason"] == "not_allowed"
    assert (await bob.ask("chat.report", id="nothing"))["reason"] == "unknown_event"


async def test_enough_reports_hold_a_message(site: Site, another_site: MakeSite) -> None:
    """It is gone for everybody, waits for staff, and comes back when staff approves. Staff's own is not held."""
    await site.put_room("demo", reports_hold=2)
    there = await another_site()
    host, alice = await host_of(site), await site.join("alice")
    bob, carol = await there.join("bob"), await site.join("carol")
    said, own = await alice.ask("chat.send", text="hm"), await host.ask("chat.send", text="mine")
    for viewer in (bob, carol):
        await viewer.happened("chat.sent", id=own["id"])
        for each in (own, said):
            assert (await viewer.ask("chat.report", id=each["id"]))["type"] == "ok"
    gone = await alice.happened("chat.deleted", ids=[said["id"]])
    assert gone["by"]["user_id"] == "platform"
    held = await host.happened("chat.held", reported=said["id"])
    assert (held["text"], held["user"]["user_id"], held["reason"]) == ("hm", "alice", "reported")
    assert (await host.ask("chat.approve", id=held["id"]))["type"] == "ok"
    assert (await bob.happened("chat.sent", id=held["id"]))["text"] == "hm"
    assert len(bob.events("chat.deleted")) == 1
    acts = (await site.http.get("/v1/rooms/demo/moderation")).json()["acts"]
    assert [act["act"] for act in acts] == ["chat.approve", "chat.hold"]


async def test_reports_have_bounds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one message, and of people whose reports are counted; what is older than so many events is not found."""
    monkeypatch.setattr(limits, "REPORTS_MAX", 1)
    monkeypatch.setattr(limits, "REPORTED_USERS_MAX", 1)
    host, alice, bob = await host_of(site), await site.join("alice"), await site.join("bob")
    hers, his = await alice.ask("chat.send", text="hm"), await bob.ask("chat.send", text="hm")
    carol, dave = await site.join("carol", chats=9), await site.join("dave", chats=9)
    for viewer in (carol, dave):
        assert (await viewer.ask("chat.report", id=hers["id"]))["type"] == "ok"
    await dave.ask("chat.report", id=his["id"])
    assert (await host.happened("chat.reported", id=his["id"]))["of_user"] == 0
    counts = [(each["reports"], each["of_user"]) for each in host.told if each["type"] == "chat.reported"]
    assert counts == [(1, 1), (1, 0)]
    monkeypatch.setattr(limits, "LOOK_BACK", 0)
    assert (await bob.ask("chat.report", id=hers["id"]))["reason"] == "unknown_event"


async def test_a_new_broadcast_counts_from_zero(site: Site) -> None:
    """What somebody did last week does not stand beside what they do now."""
    alice, bob = await site.join("alice"), await site.join("bob")
    said = await alice.ask("chat.send", text="hm")
    await bob.happened("chat.sent")
    await bob.ask("chat.report", id=said["id"])
    for turn in ("end", "start"):
        await site.http.post(f"/v1/rooms/demo/{turn}")
    alice, bob, host = await site.join("alice"), await site.join("bob"), await host_of(site)
    said = await alice.ask("chat.send", text="hm")
    await bob.happened("chat.sent", id=said["id"])
    await bob.ask("chat.report", id=said["id"])
    assert (await host.happened("chat.reported", id=said["id"]))["of_user"] == 1
