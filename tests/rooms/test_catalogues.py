"""A node's copies of word lists and emotes: new within seconds, and what happens while SQL is away."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from server import limits
from server.journal import catalogues as journal
from server.journal import database
from server.journal.catalogues import SITE, Key
from server.rooms.catalogues import Catalogues


@pytest.fixture
async def engine(journal: str) -> AsyncIterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def put(engine: Engine, kind: str, owner: str, body: str) -> int:
    return journal.change(engine, Key(kind, owner), 1, lambda _: body.encode()).version


def found(catalogues: Catalogues, text: str, host: str = "creator") -> list[str]:
    return [one.phrase for words in catalogues.words(host) for one in words.find(text)]


async def test_copies_follow_sql(engine: Engine) -> None:
    """Those of the site and of what was loaded; others are not kept."""
    put(engine, "words", SITE, '{"blocked":["darn"]}')
    catalogues = Catalogues(engine)
    await catalogues.look_again()
    assert found(catalogues, "darn fool") == ["darn"]
    put(engine, "words", "creator", '{"insult":["fool"]}')
    await catalogues.load("demo", "creator")
    assert found(catalogues, "darn fool") == ["darn", "fool"]
    put(engine, "words", "creator", '{"insult":[]}')
    put(engine, "words", SITE, '{"blocked":["heck"]}')
    put(engine, "words", "somebody", '{"blocked":["x"]}')
    put(engine, "emotes", "demo", '[{"id":"w","code":"wave","url":"/w"}]')
    await catalogues.look_again()
    assert found(catalogues, "darn fool heck x") == ["heck"]
    assert list(catalogues.emotes("demo")[0]) == ["wave"]
    assert Key("words", "somebody") not in catalogues._copies


async def test_what_is_asked_for_and_not_there_is_read_soon(engine: Engine) -> None:
    """Such as the list of a room's new host."""
    put(engine, "words", "other", '{"blocked":["darn"]}')
    catalogues = Catalogues(engine)
    await catalogues.look_again()
    assert found(catalogues, "darn", "other") == []
    await catalogues.look_again()
    assert found(catalogues, "darn", "other") == ["darn"]


async def test_while_sql_is_away(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies stay, what was never read counts as empty, and comes later."""
    put(engine, "words", SITE, '{"blocked":["darn"]}')
    put(engine, "words", "creator", '{"blocked":["fool"]}')
    catalogues = Catalogues(engine)
    await catalogues.look_again()
    with monkeypatch.context() as away:

        def read(*_: object) -> None:
            raise OperationalError("SELECT", None, Exception("away"))

        for name in ("read", "newer", "newest"):
            away.setattr(journal, name, read)
        await catalogues.load("demo", "creator")
        await catalogues.look_again()
        assert found(catalogues, "darn fool") == ["darn"]
    await catalogues.look_again()
    assert found(catalogues, "darn fool") == ["darn", "fool"]


async def test_only_so_many_are_kept(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, but never the site's."""
    monkeypatch.setattr(limits, "LISTS_KEPT", 6)
    catalogues = Catalogues(engine)
    await catalogues.look_again()
    for number in range(9):
        await catalogues.load(f"room{number}", f"host{number}")
    assert len(catalogues._copies) == 6
    assert {Key("words", SITE), Key("emotes", SITE), Key("words", "host8")} <= catalogues._copies.keys()


async def test_many_changes_come_in_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some with each look; none is left out."""
    monkeypatch.setattr(limits, "LISTS_BATCH", 2)
    catalogues = Catalogues(engine)
    await catalogues.look_again()
    versions = [put(engine, "words", f"host{number}", '{"blocked":["x"]}') for number in range(3)]
    assert versions == [versions[0] + number for number in range(3)]
    put(engine, "words", SITE, '{"blocked":["darn"]}')
    await catalogues.look_again()
    assert found(catalogues, "darn") == []
    await catalogues.look_again()
    assert found(catalogues, "darn") == ["darn"]


async def test_two_changes_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes too late tries again, and finds what the first has written."""
    key, tried = Key("words", "creator"), list[bytes]()

    def change(before: bytes) -> bytes:
        tried.append(before)
        return before + b"x"

    real = journal._changed

    def overtaken(*args: object) -> object:
        if not tried:
            tried.append(b"")
            raise journal.IntegrityError("INSERT", None, Exception("unique"))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "_changed", overtaken)
    assert journal.change(engine, key, 1, change).body == b"x"
    assert journal.read(engine, key).body == b"x"
    monkeypatch.setattr(limits, "LIST_TRIES_MAX", 1)
    tried.clear()
    with pytest.raises(journal.IntegrityError):
        journal.change(engine, key, 1, change)
