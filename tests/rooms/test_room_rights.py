"""A room store on which not everything works: missing rights show at once, and no half-done script runs again."""

import contextlib
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import redis

from server.app import feature_scripts
from server.clock import Clock
from server.rooms.admin import SCRIPTS as ADMIN_SCRIPTS
from server.rooms.history import SCRIPTS, History, open_history
from server.rooms.people import SCRIPTS as PEOPLE_SCRIPTS
from server.rooms.staff import SCRIPTS as STAFF_SCRIPTS
from server.store import guard, keys
from server.store.client import Store, StoreError
from server.store.scripts import Script
from tests.conftest import Stores
from tests.program import eventually
from tests.site import WAIT_S, Site

ALL = (*SCRIPTS, *ADMIN_SCRIPTS, *PEOPLE_SCRIPTS, *STAFF_SCRIPTS, *feature_scripts())


@pytest.fixture
def chatter(stores: Stores) -> Iterator[redis.Redis]:
    """A connection of the store's owner, who has made the user `chatter` without channels, as Redis 7 does."""
    with stores.room.client() as store:
        store.execute_command("ACL", "SETUSER", "chatter", "on", ">secret", "~*", "+@all", "resetchannels")
        yield store
        store.execute_command("ACL", "DELUSER", "chatter")


async def test_a_user_without_channels(chatter: redis.Redis, stores: Stores) -> None:
    """The store is not used, and one sentence says which commands are missing; once they are allowed, it goes on."""
    history: History = open_history(f"unix://chatter:secret@{quote(str(stores.room.socket))}", ALL, Clock(lambda: 0.0))
    store = history.store
    assert isinstance(store, Store)
    await store.start()
    try:
        await eventually(lambda: store.refusal, WAIT_S, "a refusal")
        assert str(store.refusal).startswith("NOPERM the store's user may not run PUBLISH, SUBSCRIBE (")
        assert not store.up
        chatter.execute_command("ACL", "SETUSER", "chatter", "allchannels")
        await store.wait_up(WAIT_S)
        assert store.refusal is None
    finally:
        await store.stop()


@pytest.mark.parametrize("script", ALL, ids=lambda script: script.name)
def test_each_command_of_a_rooms_script_is_found(script: Script) -> None:
    """The check of rights knows every command of every script, and its arguments."""
    named = {command[0] for command in guard.commands_of([script], key="k")}
    assert named == set(re.findall(r"redis\.p?call\('([A-Z]+)'", script.text))
    assert len(guard._COMMAND.findall(script.text)) == len(re.findall(r"redis\.p?call\b", script.text))


async def test_a_gift_whose_event_fails_counts_once(site: Site, stores: Stores) -> None:
    """However often the journal process tries to show the gift, the board has it once, and at last it is seen once."""
    alice = await site.join("alice")
    board = keys.room("demo", "board")
    with stores.room.client() as store:
        store.delete(keys.room("demo", keys.EVENTS))
        store.set(keys.room("demo", keys.EVENTS), "broken")
        await alice.gift("heart")
        await eventually(lambda: store.zscore(board, "alice"), WAIT_S, "the first try")
        async with site.draining(ahead_s=10) as drain:
            await drain.drain_once()
            for _ in range(3):
                with contextlib.suppress(StoreError):
                    await drain.retell_once()
            assert store.zscore(board, "alice") == 5
            store.delete(keys.room("demo", keys.EVENTS))
            for _ in range(2):
                await drain.retell_once()
            assert drain.retold == 1
        assert store.zscore(board, "alice") == 5
        shown = [row[1]["b"] for row in store.xrange(keys.room("demo", keys.EVENTS))]
        assert sum("gifts.sent" in each for each in shown) == 1
