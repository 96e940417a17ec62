"""Alerts: controls reach every overlay, overlays prove what they show, and silent ones are started again."""

from collections.abc import Awaitable, Callable

import pytest

from server.features import alerts
from tests.features.test_members import host_of
from tests.features.test_overlay import overlay_of
from tests.program import eventually
from tests.site import Site, new_gift_id

MakeSite = Callable[..., Awaitable[Site]]
VERBS = ("pause", "resume", "mute", "unmute", "skip", "replay", "next", "clear", "test", "reset")


@pytest.fixture(autouse=True)
def _nodes_look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from server.rooms import registry  # noqa: PLC0415

    often = [(0.05 if what.__name__ == "look_at_overlays" else s, what) for s, what in registry.PERIODICS]
    monkeypatch.setattr(registry, "PERIODICS", often)
    monkeypatch.setattr("server.rooms.room.PERIODICS", often)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_each_control_reaches_the_overlays_of_every_node(site: Site, another_site: MakeSite, codec: str) -> None:
    """Host and moderators control them; viewers and overlays do not, and get nothing of it."""
    there = await another_site()
    host, screen, alice = await host_of(site), await overlay_of(there, codec), await there.join("alice")
    mona = await there.join("mona", token=there.token("mona", "moderator"))
    for verb in VERBS:
        gift = new_gift_id()
        assert (await host.ask("alerts.control", verb=verb, id=gift))["type"] == "ok"
        said = await screen.happened("alerts.controlled", verb=verb)
        assert (said["id"], said["by"]["user_id"]) == (gift, "creator")
    assert (await mona.ask("alerts.control", verb="skip"))["type"] == "ok"
    assert (await alice.ask("alerts.control", verb="skip"))["reason"] == "not_allowed"
    assert (await screen.ask("alerts.control", verb="skip"))["reason"] == "not_allowed"
    for wrong in ({"verb": "reload"}, {"verb": "dance"}, {"verb": "skip", "id": "x"}, {}):
        assert (await host.ask("alerts.control", **wrong))["reason"] == "bad_command"
    assert not [m for m in alice.told if m["type"].startswith(("alerts.", "overlay."))]


async def test_what_lasts_is_told_to_who_comes_later(site: Site) -> None:
    """Pause and mute hold until they are undone; clear says from when."""
    host = await host_of(site)
    for verb, field in (("pause", "paused"), ("mute", "muted")):
        await host.ask("alerts.control", verb=verb)
        assert (await (await overlay_of(site)).happened("overlay.changed"))[field] is True
        await host.ask("alerts.control", verb="resume" if verb == "pause" else "unmute")
        assert (await (await overlay_of(site)).happened("overlay.changed"))[field] is False
    await host.ask("alerts.control", verb="clear")
    cleared = (await (await overlay_of(site)).happened("overlay.changed"))["cleared_ms"]
    assert abs(cleared - site.node.clock.now_ms()) < 10_000


async def test_overlays_prove_what_they_show(site: Site, another_site: MakeSite) -> None:
    """Staff sees what plays and how many wait, on every node; the platform reads every stage afterwards."""
    there = await another_site()
    host, screen, alice = await host_of(site), await overlay_of(there), await site.join("alice")
    assert (await host.happened("alerts.status", overlays=1))["playing"] is None
    gift, also = new_gift_id(), new_gift_id()
    for stage in ("received", "started"):
        assert (await screen.ask("alerts.ack", id=gift, stage=stage, queued=3))["type"] == "ok"
    assert (await host.happened("alerts.status", playing=gift))["queued"] == 3
    assert (await screen.ask("alerts.ack", id=gift, stage="finished", also=[also]))["type"] == "ok"
    await host.until(lambda told: [m for m in told if m["type"] == "alerts.status"][-1]["playing"] is None)
    await screen.leave()
    await host.until(lambda told: [m for m in told if m["type"] == "alerts.status"][-1]["overlays"] == 0)
    found = (await site.http.get("/v1/rooms/demo/alerts")).json()["alerts"]
    assert [(each["stage"], each["gifts"]) for each in found] == [
        *(("finished", [gift, also]), ("started", [gift]), ("received", [gift])),
    ]
    assert {each["overlay"] for each in found} == {"screen"}
    assert len((await site.http.get("/v1/rooms/demo/alerts?limit=1")).json()["alerts"]) == 1
    assert (await site.http.get("/v1/rooms/nowhere/alerts")).status_code == 404
    assert (await alice.ask("alerts.ack", id=gift, stage="finished"))["reason"] == "not_allowed"
    for wrong in ({"stage": "seen"}, {"stage": "started", "also": [gift] * 51}, {"stage": "started", "queued": -1}):
        assert (await alice.ask("alerts.ack", id=gift, **wrong))["reason"] == "bad_command"
    assert not [m for m in alice.told if m["type"].startswith(("alerts.", "overlay."))]


async def test_a_silent_overlay_is_reset_then_loaded_again_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that owes an answer to a gift; an answer ends it, and one that owes nothing is left alone."""
    monkeypatch.setattr(alerts, "LOOK_S", 0.0)
    monkeypatch.setattr(alerts, "RESET_AFTER_S", 0.2)
    monkeypatch.setattr(alerts, "RELOAD_AFTER_S", 1.2)
    host, screen, alice = await host_of(site), await overlay_of(site), await site.join("alice")
    await host.happened("alerts.status", overlays=1, silent_ms=0)
    assert not [m for m in screen.told if m["type"] == "alerts.controlled"]
    gift = (await alice.gift("rose"))["id"]
    await screen.happened("alerts.controlled", verb="reset", by=None)
    await screen.happened("alerts.controlled", verb="reload")
    await host.until(lambda told: [m for m in told if m["type"] == "alerts.status"][-1]["silent_ms"] >= 1000)
    assert (await screen.ask("alerts.ack", id=gift, stage="received"))["type"] == "ok"
    await host.until(lambda told: [m for m in told if m["type"] == "alerts.status"][-1]["silent_ms"] == 0)
    await alice.gift("rose")
    await screen.until(lambda told: [m for m in told if m.get("verb") == "reset"][1:])
    await host.until(lambda told: [m for m in told if m["type"] == "alerts.status"][-1]["silent_ms"] >= 1000)
    assert len([m for m in screen.told if m.get("verb") == "reload"]) == 1


async def test_an_alert_that_does_not_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay that has begun one, and says nothing more, is silent as well."""
    monkeypatch.setattr(alerts, "SHOWN_S_MAX", 0.1)
    monkeypatch.setattr(alerts, "RESET_AFTER_S", 0.2)
    screen = await overlay_of(site)
    await screen.ask("alerts.ack", id=new_gift_id(), stage="started")
    await screen.happened("alerts.controlled", verb="reset")


async def test_a_node_that_died_is_forgotten(
    site: Site, another_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its overlays no longer count."""
    monkeypatch.setattr(alerts, "FORGOTTEN_S", 0.5)
    monkeypatch.setattr(alerts, "TOLD_AGAIN_S", 0.1)
    there = await another_site()
    host, _screen = await host_of(site), await overlay_of(there)
    await host.happened("alerts.status", overlays=1)
    await there.stop()
    await eventually(
        lambda: [m for m in host.told if m["type"] == "alerts.status"][-1]["overlays"] == 0, what="it was forgotten"
    )
