"""The catalogue's file: TOML or JSON, read again when it changes, and a faulty one changes nothing."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from server import catalogue, limits
from server.catalogue import Catalogue
from server.settings import Unusable
from tests.program import eventually
from tests.site import Site

MakeSite = Callable[..., Awaitable[Site]]
ROSE = {
    "id": "rose",
    "name": "Rose",
    "coins": 1,
    "diamonds": 1,
    "tier": 1,
    "streakable": True,
    "animation": {"kind": "float", "url": "/web/gifts/rose.svg", "duration_ms": 1000},
}
TOML = """
[[gifts]]
id = "rose"
name = "Rose"
coins = 1
diamonds = 1
tier = 1
streakable = true
[gifts.animation]
kind = "float"
url = "/web/gifts/rose.svg"
duration_ms = 1000
"""


def written(path: Path, *gifts: dict[str, Any]) -> Path:
    """Put a catalogue in place, as an operator does."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(gifts))
    return new.rename(path)


def test_toml_and_json_are_the_same(tmp_path: Path) -> None:
    """The same gifts have the same version, in whichever language; another price has another."""
    toml, same, other = tmp_path / "gifts.toml", tmp_path / "gifts.json", tmp_path / "dear.json"
    toml.write_text(TOML)
    written(same, ROSE)
    written(other, {**ROSE, "coins": 2})
    versions = [Catalogue(path).version for path in (toml, same, other)]
    assert versions[0] == versions[1] != versions[2]
    assert len(versions[0]) == limits.CATALOGUE_VERSION_CHARS


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gifts = 5", "it must be a list of"),
        ("", "it must be a list of"),
        (TOML + "\n[other]\n", "it must be a list of"),
        (TOML.replace("tier", "teir"), "missing required field `tier`"),
        (TOML.replace("tier = 1", "tier = 1\nmin_levl = 5"), "the unknown key min_levl"),
        (TOML.replace("coins = 1", "coins = 0"), "Expected `int` >= 1"),
        (TOML + TOML, "names a gift twice"),
        ("[[gifts", "Expected"),
        ("gifts = '\udcff'", "codec"),
        (TOML + "adult = true", "the unknown key adult"),
        (TOML.replace("tier = 1", 'tier = 1\nregions = ["Germany"]'), "regions"),
    ],
)
def test_toml_that_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    """It is refused as a whole, in one sentence with its path."""
    path = tmp_path / "gifts.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Unusable, match=r"gifts\.toml") as refused:
        catalogue.load(path)
    assert why in str(refused.value)


def test_a_changed_file_is_read_once(tmp_path: Path) -> None:
    """A faulty one leaves the old gifts, and is complained of once; the next good one is taken."""
    path = written(tmp_path / "gifts.json", ROSE)
    gifts = Catalogue(path)
    before = gifts.version
    with structlog.testing.capture_logs() as said:
        gifts.look()
        written(path, {**ROSE, "coins": 0})
        gifts.look()
        gifts.look()
        path.unlink()
        gifts.look()
    assert [line["event"] for line in said] == ["catalogue_kept", "catalogue_kept"]
    assert all(str(path) in line["why"] and "The old catalogue stays." in line["why"] for line in said)
    assert (gifts.version, [gift.coins for gift in gifts.gifts]) == (before, [1])
    written(path, {**ROSE, "coins": 7})
    gifts.look()
    assert [gift.coins for gift in gifts.gifts] == [7]
    assert gifts.version != before


async def test_nodes_get_a_new_price(another_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node when somebody says so, the other by itself. What was paid stays: a repeat is the first gift on both."""
    monkeypatch.setattr(limits, "CATALOGUE_EVERY_S", 0.1)
    path = written(tmp_path / "gifts.json", ROSE)
    here, there = [await another_site(LIVEROOM_CATALOGUE=str(path)) for _ in range(2)]
    alice, again = await here.join("alice"), await there.join("alice")
    first = await alice.gift("rose")
    assert first["coins"] == 9_999
    written(path, {**ROSE, "coins": 5})
    answer = await here.http.post("/v1/catalogue/reload")
    assert (answer.status_code, answer.json()["gifts"]) == (200, 1)
    version = answer.json()["version"]
    await eventually(lambda: _has(there, version), what="the new catalogue on the other node")
    for site in (here, there):
        listed = await site.http.get("/v1/gifts")
        assert [gift["coins"] for gift in listed.json()] == [5]
        assert listed.headers["ETag"] == f'"{version}"'
        metrics = (await site.http.get("/metrics")).text
        [number] = re.findall(r"^liveroom_catalogue_version (\S+)$", metrics, re.MULTILINE)
        assert int(float(number)) == int(version, 16)
    assert (await again.gift("rose", id=first["id"]))["coins"] == 9_999
    assert (await again.gift("rose"))["coins"] == 9_994
    assert (await alice.happened("gifts.sent", coins=5))["gift"]["coins"] == 5


async def _has(site: Site, version: str) -> bool:
    return site.node.catalogue.version == version


async def test_a_faulty_file_is_refused_to_who_asks(another_site: MakeSite, tmp_path: Path) -> None:
    """The answer says why, and the old prices stay. Only the platform may ask."""
    path = written(tmp_path / "gifts.json", ROSE)
    site = await another_site(LIVEROOM_CATALOGUE=str(path))
    path.write_text("[")
    answer = await site.http.post("/v1/catalogue/reload")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "bad_catalogue")
    assert str(path) in answer.json()["error"]["message"]
    assert [gift["id"] for gift in (await site.http.get("/v1/gifts")).json()] == ["rose"]
    assert (await site.http.post("/v1/catalogue/reload", headers={"Authorization": ""})).status_code == 401
