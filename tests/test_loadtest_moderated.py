"""The scenario with trolls: it passes on our server, and its verdict finds a troll who is seen too late."""

from random import Random

import pytest

from loadtest.moderated import Decision, Evening, Person
from protocol.wire import Role
from tests.site import Site


def people(site: Site, name: str, count: int, role: Role = "viewer") -> list[Person]:
    users = [f"{name}{number}" for number in range(count)]
    return [Person(user, f"/v1/rooms/demo/ws?token={site.token(user, role)}") for user in users]


async def test_nobody_is_seen_after_a_decision(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each troll is seen before, decided about, and not seen after."""
    monkeypatch.setattr("loadtest.moderated.LOOK_S", (0.02, 0.05))
    monkeypatch.setattr("loadtest.moderated.SPEAK_S", 0.02)
    trolls, moderators = people(site, "troll", 8), people(site, "mod", 2, "moderator")
    evening = Evening(site.url, trolls, moderators, people(site, "witness", 2))
    check = await evening.go_on(Random(1), 2.0)
    assert check.wrong == []
    assert set(evening.decisions) == {troll.user for troll in trolls}
    assert {decided.verb for decided in evening.decisions.values()} == {"ban", "mute", "hide"}
    bans = sum(decided.verb == "ban" for decided in evening.decisions.values())
    assert evening.shut_out == bans
    assert {user for user, *_ in evening.seen} == set(evening.decisions)


def test_the_verdict_finds_what_is_wrong() -> None:
    """A troll seen after the decision, by its event if there was one; and an evening without decisions."""
    evening = Evening("http://127.0.0.1:1", [Person("troll", "")], [], [])
    assert evening.verdict().wrong == ["no moderator has decided anything"]
    evening.decisions["troll"] = Decision("hide", "e", 5)
    evening.seen += [("troll", "e", 5), ("troll", "another", 9), ("crowd", "e", 9)]
    assert evening.verdict().wrong == []
    evening.seen.append(("troll", "e", 6))
    assert evening.verdict().wrong == ["troll was seen at seq 6, and hide held from 5 on"]
    evening.told["troll"] = ("e", 4)
    assert len(evening.verdict().wrong) == 2
