"""The environment and the catalogue: good defaults, and one sentence about anything that cannot be used."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.inspect import type_info

from protocol.gifts import Gift, SendGift
from server import catalogue, limits
from server.settings import DEV_SECRET, DEV_SERVICE_KEY, Unusable, child_environment, load
from server.store import embedded
from tests.stores import SECRETS

LONG = "a-random-secret-of-at-least-thirty-two-characters"
PRODUCTION = {"LIVEROOM_MODE": "production", **SECRETS}
OF_KUBERNETES = {
    "LIVEROOM_PORT": "tcp://10.0.0.7:8000",
    "LIVEROOM_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "LIVEROOM_PORT_8000_TCP_ADDR": "10.0.0.7",
    "LIVEROOM_SERVICE_HOST": "10.0.0.7",
    "LIVEROOM_SERVICE_PORT": "8000",
    "LIVEROOM_JOURNAL_SERVICE_PORT_POSTGRES": "5432",
    "LIVEROOM_JOURNAL_PORT": "tcp://10.0.0.8:5432",
}


def test_nothing_has_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty environment is development on 127.0.0.1:8000 with everything embedded under ./data."""
    monkeypatch.chdir(tmp_path)
    settings = load({})
    assert (settings.mode, settings.development) == ("development", True)
    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8000, Path("data"))
    assert (settings.token_secret, settings.service_key) == (DEV_SECRET, DEV_SERVICE_KEY)
    assert (settings.wallet_url, settings.room_url, settings.journal_url) == (None, None, None)
    assert settings.wallet_address == f"unix://{tmp_path}/data/wallet.sock"
    assert settings.room_address == f"unix://{tmp_path}/data/room.sock"
    assert settings.journal_address == f"sqlite:///{tmp_path}/data/journal.sqlite3"
    assert (settings.audit_key, settings.anchors) == (None, Path("data/anchors.log"))


def test_everything_can_be_set() -> None:
    """Addresses, port, folder and names come from the environment; an empty value counts as unset."""
    settings = load(
        PRODUCTION
        | {
            "LIVEROOM_HOST": "::1",
            "LIVEROOM_PORT": "9001",
            "LIVEROOM_DATA": "/var/lib/liveroom",
            "LIVEROOM_WALLET_URL": "rediss://wallet:6379",
            "LIVEROOM_ROOM_URL": "valkey://room",
            "LIVEROOM_JOURNAL_URL": "postgresql://journal/liveroom",
            "LIVEROOM_CATALOGUE": "/etc/gifts.json",
            "LIVEROOM_NODE_ID": "node-7",
            "LIVEROOM_LOG": "WARNING",
        }
    )
    assert not settings.development
    assert (settings.host, settings.port, settings.data) == ("::1", 9001, Path("/var/lib/liveroom"))
    assert settings.wallet_address == "rediss://wallet:6379"
    assert settings.room_address == "valkey://room"
    assert settings.journal_address == "postgresql://journal/liveroom"
    assert (settings.catalogue, settings.node_id, settings.log_level) == (Path("/etc/gifts.json"), "node-7", "warning")
    unset = load(
        {"LIVEROOM_WALLET_URL": "", "LIVEROOM_CATALOGUE": "", "LIVEROOM_NODE_ID": "", "LIVEROOM_TOKEN_SECRET": ""}
    )
    assert (unset.wallet_url, unset.catalogue, unset.node_id, unset.token_secret) == (None, None, None, DEV_SECRET)


def test_the_audits_key_may_be_in_a_file(tmp_path: Path) -> None:
    """A file that is not there, a short key in production, and a key given twice are refused."""
    file = tmp_path / "key"
    file.write_text(LONG + "\n")
    named = {"LIVEROOM_AUDIT_KEY_FILE": str(file)}
    assert load(PRODUCTION).audit_key is None
    assert load(PRODUCTION | named).audit_key == LONG
    assert load({"LIVEROOM_AUDIT_KEY": "mine"}).audit_key == "mine"
    file.write_text("short")
    for refused in (
        PRODUCTION | named,
        PRODUCTION | named | {"LIVEROOM_AUDIT_KEY": LONG},
        {"LIVEROOM_AUDIT_KEY_FILE": str(tmp_path / "none")},
    ):
        with pytest.raises(Unusable, match="LIVEROOM_AUDIT_KEY"):
            load(refused)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"LIVEROOM_MODE": "prod"}, "LIVEROOM_MODE"),
        ({"LIVEROOM_MODE": ""}, "LIVEROOM_MODE"),
        ({"LIVEROOM_TOKEN_SECRET": ""}, "LIVEROOM_TOKEN_SECRET is not set"),
        ({"LIVEROOM_TOKEN_SECRET": DEV_SECRET}, "LIVEROOM_TOKEN_SECRET is a development secret"),
        ({"LIVEROOM_TOKEN_SECRET": "x" * 31}, "shorter than 32"),
        ({"LIVEROOM_SERVICE_KEY": ""}, "LIVEROOM_SERVICE_KEY is not set"),
        ({"LIVEROOM_SERVICE_KEY": DEV_SERVICE_KEY}, "LIVEROOM_SERVICE_KEY is a development secret"),
        ({"LIVEROOM_TOKEN_SECRET": "ab" * 20}, "easy to guess"),
        ({"LIVEROOM_TOKEN_SECRET": "correct horse " * 4}, "spaces around it"),
        ({"LIVEROOM_SERVICE_KEY": "correct-horse-" * 4}, "repeats itself"),
        ({"LIVEROOM_SERVICE_KEY": SECRETS["LIVEROOM_TOKEN_SECRET"]}, "are the same"),
        ({"LIVEROOM_JOURNL_URL": "postgresql://h/d"}, "LIVEROOM_JOURNL_URL is not a setting; LIVEROOM_JOURNAL_URL is"),
        ({"LIVEROOM_PORT": "0"}, "LIVEROOM_PORT"),
        ({"LIVEROOM_PORT": "65536"}, "LIVEROOM_PORT"),
        ({"LIVEROOM_PORT": "-1"}, "LIVEROOM_PORT"),
        ({"LIVEROOM_PORT": "80 "}, "LIVEROOM_PORT"),
        ({"LIVEROOM_PORT": ""}, "LIVEROOM_PORT"),
        ({"LIVEROOM_PORT": "9" * 20}, "LIVEROOM_PORT"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_used_is_said(changed: dict[str, str], says: str) -> None:
    """Production refuses development secrets and missing ones; a value of a wrong shape is named."""
    load(PRODUCTION)
    with pytest.raises(Unusable, match=says):
        load(PRODUCTION | changed)


def test_secrets_and_addresses_in_files(tmp_path: Path) -> None:
    """Any secret, and any address of a store, may be in a file: an address may contain a password."""
    values = {**SECRETS, "LIVEROOM_JOURNAL_URL": "postgresql://u:p@h/d", "LIVEROOM_WALLET_URL": "embedded"}
    environ = {"LIVEROOM_MODE": "production"}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
        environ[f"{name}_FILE"] = str(tmp_path / name)
    loaded = load(environ)
    assert (loaded.token_secret, loaded.service_key) == tuple(SECRETS.values())
    assert (loaded.journal_url, loaded.wallet_url) == ("postgresql://u:p@h/d", None)
    assert loaded.unnamed == ("LIVEROOM_ROOM_URL",)


def test_what_kubernetes_sets_is_no_mistake() -> None:
    """Those of services called `liveroom` and `liveroom-journal` count as unset; development only warns of others."""
    loaded = load(PRODUCTION | OF_KUBERNETES)
    assert (loaded.port, loaded.unknown) == (8000, ())
    assert load({"LIVEROOM_HOSTT": "h"}).unknown == ("LIVEROOM_HOSTT is not a setting; LIVEROOM_HOST is.",)


def test_secrets_are_not_said() -> None:
    """A sentence about a bad secret does not contain it."""
    with pytest.raises(Unusable) as error:
        load(PRODUCTION | {"LIVEROOM_TOKEN_SECRET": "hunter2"})
    assert "hunter2" not in str(error.value)


def test_unix_sockets_of_a_deep_folder(tmp_path: Path) -> None:
    """A data folder too deep for a unix socket has its sockets in its own short path, always the same."""
    deep, other = tmp_path / ("d" * 200), tmp_path / ("e" * 200)
    sockets = load({"LIVEROOM_DATA": str(deep)}).sockets
    assert len(os.fsencode(sockets / "wallet.sock")) <= limits.UNIX_PATH_BYTES_MAX
    assert sockets == load({"LIVEROOM_DATA": str(deep)}).sockets
    assert sockets != load({"LIVEROOM_DATA": str(other)}).sockets
    umlauts = load({"LIVEROOM_DATA": "/" + "ü" * 60}).sockets  # 60 characters, 120 bytes
    assert len(os.fsencode(umlauts / "wallet.sock")) <= limits.UNIX_PATH_BYTES_MAX


@pytest.mark.parametrize("taken", ["open", "link", "file"])
def test_a_folder_of_sockets_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    """The short path lies where others may write: what somebody has put there is refused."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings = load({"LIVEROOM_DATA": str(tmp_path / ("d" * 200))})
    assert embedded.command(embedded.WALLET, settings)
    shutil.rmtree(settings.sockets)
    if taken == "open":
        settings.sockets.mkdir()
        settings.sockets.chmod(0o777)
    elif taken == "link":
        settings.sockets.symlink_to(tmp_path)
    else:
        settings.sockets.touch()
    with pytest.raises(Unusable, match="sockets"):
        embedded.command(embedded.WALLET, settings)


def test_a_child_gets_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children get the program's settings, and more on top."""
    monkeypatch.setenv("LIVEROOM_PORT", "9001")
    environment = child_environment(LIVEROOM_NODE_ID="n1")
    assert (environment["LIVEROOM_PORT"], environment["LIVEROOM_NODE_ID"]) == ("9001", "n1")
    assert "LIVEROOM_NODE_ID" not in os.environ


def test_a_child_keeps_freed_memory_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library keeps freed memory, unless the environment already says otherwise."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert child_environment()["GLIBC_TUNABLES"].startswith("glibc.malloc.tcache_count=")
    assert "GLIBC_TUNABLES" not in child_environment(keeps_memory=False)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert child_environment()["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"


# --- the catalogue -------------------------------------------------------------------------------------------------
def gift(**changed: Any) -> dict[str, Any]:
    animation = {"kind": "float", "url": "/web/gifts/rose.svg", "duration_ms": 1000}
    made = {
        "id": "rose",
        "name": "Rose",
        "coins": 1,
        "diamonds": 1,
        "tier": 1,
        "streakable": True,
        "animation": animation,
    }
    return made | changed


def test_our_own_catalogue() -> None:
    """It has gifts of every tier, more expensive ones in higher tiers, and each animation is one of our files."""
    gifts = list(catalogue.load(None).values())
    assert {gift.tier for gift in gifts} == {1, 2, 3, 4}
    by_coins = sorted(gifts, key=lambda each: each.coins)
    assert [each.tier for each in by_coins] == sorted(each.tier for each in gifts)
    assert all(each.diamonds <= each.coins for each in gifts)
    assert all((catalogue.OWN.parent / each.animation.url.replace("/web/", "web/shared/")).is_file() for each in gifts)
    assert {"rose"} <= {each.id for each in gifts if each.streakable}


def test_a_catalogue_of_the_owner(tmp_path: Path) -> None:
    """The gifts of LIVEROOM_CATALOGUE are the catalogue, in the same order."""
    path = tmp_path / "gifts.json"
    path.write_text(json.dumps([gift(id="b", coins=100_000), gift(id="a", diamonds=0)]))
    loaded = catalogue.load(path)
    assert list(loaded) == ["b", "a"]
    assert (loaded["b"].coins, loaded["a"].diamonds) == (100_000, 0)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{}",
        "[1]",
        json.dumps([gift(), gift()]),
        json.dumps([gift(coins=0)]),
        json.dumps([gift(coins=-5)]),
        json.dumps([gift(coins=1.5)]),
        json.dumps([gift(coins=100_001)]),
        json.dumps([gift(diamonds=-1)]),
        json.dumps([gift(tier=5)]),
        json.dumps([gift(id="a rose")]),
        json.dumps([gift(animation={"kind": "explode", "url": "x", "duration_ms": 1000})]),
        json.dumps([gift(animation={"kind": "float", "url": "x", "duration_ms": 60_001})]),
    ],
    ids=lambda written: written[:70],
)
def test_a_catalogue_that_cannot_be_used(tmp_path: Path, written: str) -> None:
    """It is refused as a whole, with its path in the message."""
    path = tmp_path / "gifts.json"
    path.write_text(written)
    with pytest.raises(Unusable, match=r"gifts\.json"):
        catalogue.load(path)


def test_a_catalogue_that_is_not_there(tmp_path: Path) -> None:
    """A path without a file is refused in the same way."""
    with pytest.raises(Unusable, match=r"nothing\.json cannot be used: No such file or directory\.$"):
        catalogue.load(tmp_path / "nothing.json")


def test_no_gift_can_cost_more_than_the_wallet_takes() -> None:
    """The most expensive gift times the largest count has at most nine digits."""
    (dearest,) = (each.type.le for each in type_info(Gift).fields if each.name == "coins")
    (most,) = (each.type.le for each in type_info(SendGift).fields if each.name == "count")
    assert len(str(dearest * most)) <= 9
