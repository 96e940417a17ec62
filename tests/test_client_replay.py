"""The Python client, the gifts and chats that a gap sends again, and chats that are deleted."""

from typing import Any

import pytest

from protocol import chatlines
from protocol.chat import ChatDeleted
from protocol.client import RoomClient
from tests.test_client_python import ALICE, CREATOR, LOCAL_MS, SERVER_MS, Wire, chat, gift, welcome, wire

__all__ = ["wire"]


def test_gifts_of_a_new_epoch_come_again_below_its_snapshot(wire: Wire) -> None:
    """Each id comes and counts once; position and totals of the room stay."""
    wire.welcomed(7)
    wire.told(gift(8, "a"))
    wire.client.lost(1006)
    told = wire.told(
        welcome(30, epoch="e2", gap={"from": 1, "to": 30}, room={"coins": 20}),
        gift(8, "a", replayed=True),
        gift(9, "b", replayed=True),
        gift(9, "b", replayed=True),
        chat(10),
        gift(31, "c"),
    )
    assert [getattr(each, "id", None) for each in told[2:]] == ["b", "c"]
    assert wire.client.resume_query() == "since=e2:31"
    assert (wire.client.gift_coins, wire.client.skipped) == (9, 0)
    assert wire.client.room is not None
    assert wire.client.room.coins == 23
    wire.client.lost(1006)
    wire.told(welcome(40, epoch="e2", gap={"from": 32, "to": 40}))
    assert wire.told(gift(33, "d", replayed=True)) == []


@pytest.mark.parametrize("epoch", ["e1", "e2"])
def test_a_connection_that_is_lost_among_the_gifts_of_a_gap(wire: Wire, epoch: str) -> None:
    """We come back with the position of before until they have all come; each counts once."""
    wire.welcomed(7)
    gapped = welcome(3_000, epoch=epoch, gap={"from": 8, "to": 3_000}, replays=2, room={"coins": 6})
    for _ in range(2):
        wire.client.lost(1006)
        wire.told(gapped, gift(900, "a", replayed=True))
        assert wire.client.resume_query() == "since=e1:7"
    assert [getattr(each, "id", None) for each in wire.told(gift(950, "b", replayed=True))] == ["b"]
    assert wire.client.resume_query() == f"since={epoch}:3000"
    assert (wire.client.gift_coins, wire.client.skipped) == (6, 0)
    assert wire.client.room is not None
    assert wire.client.room.coins == 6
    wire.told(gapped, chat(3_001))
    assert wire.client.resume_query() == f"since={epoch}:3001"


# --- chats ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def reader(wire: Wire) -> Wire:
    """A client that wants the newest chats."""
    wire.client = RoomClient(lambda: LOCAL_MS, codec=wire.codec, chats=50)
    return wire


def deleted(seq: int, *ids: str, users: tuple[str, ...] = (), at_ms: int = SERVER_MS) -> dict[str, Any]:
    about = {"seq": seq, "at_ms": at_ms, "id": f"deleted-{seq}"}
    return {
        "type": "chat.deleted",
        **about,
        "ids": list(ids),
        "user_ids": list(users),
        "by": {"user_id": "creator", "name": "Creator"},
    }


def ids(told: tuple[Any, ...] | list[Any]) -> list[str]:
    return [each.id for each in told if hasattr(each, "id")]


def test_chats_are_asked_for_on_joining_and_on_coming_back(reader: Wire) -> None:
    """Who does not want them keeps none."""
    assert reader.client.resume_query() == "chats=50"
    reader.welcomed(7)
    assert reader.client.resume_query() == "since=e1:7&chats=50"
    plain = RoomClient(lambda: LOCAL_MS)
    assert plain.resume_query() == ""
    assert plain.chat_lines == ()


@pytest.mark.parametrize("epoch", ["e1", "e2"])
def test_the_chats_of_a_gap_come_once_and_in_order(reader: Wire, epoch: str) -> None:
    """Also when the connection is lost among them; those seen before the gap do not come again."""
    assert ids(reader.told(welcome(7), chat(6, replayed=True), chat(7, replayed=True), chat(8))) == [
        "chat-6",
        "chat-7",
        "chat-8",
    ]
    gapped = welcome(3_000, epoch=epoch, gap={"from": 9, "to": 3_000}, replays=4)
    behind = [chat(n, replayed=True) for n in (8, 2_998)]
    reader.client.lost(1006)
    assert ids(reader.told(gapped, *behind)) == ["chat-2998"]
    assert reader.client.resume_query() == "since=e1:8&chats=50"
    reader.client.lost(1006)
    more = [gift(2_999, "g", replayed=True), chat(3_000, replayed=True), chat(3_001)]
    assert ids(reader.told(gapped, *behind, *more)) == ["g", "chat-3000", "chat-3001"]
    assert ids(reader.client.chat_lines) == [f"chat-{n}" for n in (6, 7, 8, 2_998, 3_000, 3_001)]
    assert reader.client.resume_query() == f"since={epoch}:3001&chats=50"


def test_deleted_chats_go_and_stay_away(reader: Wire) -> None:
    """Those that are named, and all that a person has said so far, also if a replay brings them later."""
    said = [chat(1), chat(2), chat(3, user=CREATOR), chat(4, user=CREATOR, at_ms=SERVER_MS + 9)]
    reader.told(welcome(), *said[:3])
    told = reader.told(deleted(5, "chat-1", "later", users=("creator",), at_ms=SERVER_MS + 9), chat(6, id="later"))
    assert [type(each) for each in told] == [ChatDeleted]
    assert ids(reader.client.chat_lines) == ["chat-2"]
    reader.client.lost(1006)
    again = [{**each, "replayed": True} for each in (*said, chat(7, user=CREATOR, at_ms=SERVER_MS + 10))]
    assert ids(reader.told(welcome(9, epoch="e2", gap={"from": 1, "to": 9}, replays=5), *again)) == ["chat-7"]
    assert ids(reader.told(chat(10, user=CREATOR))) == ["chat-10"]  # live, though the store's clock was set back
    assert ids(reader.client.chat_lines) == ["chat-2", "chat-7", "chat-10"]


def test_a_deleted_chat_is_quoted_no_more(reader: Wire) -> None:
    """By its id, or because of who said it; other quotes stay."""
    said = ((1, ALICE), (2, ALICE), (3, CREATOR))
    quotes = [{"id": f"chat-{n}", "user": user, "text": "as it was"} for n, user in said]
    reader.told(welcome(), *(chat(10 + n, reply_to=quote) for n, quote in enumerate(quotes)))
    reader.told(deleted(20, "chat-1", users=("creator",)))
    assert [bool(line.reply_to) for line in reader.client.chat_lines] == [False, True, False]


def test_who_keeps_no_chat_hears_of_deletions(wire: Wire) -> None:
    """It is for the caller to act."""
    wire.welcomed()
    assert [type(each).__name__ for each in wire.told(chat(1), deleted(2, "chat-1"))] == ["ChatSent", "ChatDeleted"]


def test_what_is_kept_of_the_chat_is_bounded(reader: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest lines, and the newest ids."""
    monkeypatch.setattr(chatlines, "IDS_REMEMBERED", 300)
    reader.told(welcome(), *(chat(n, user=ALICE) for n in range(1, 400)))
    assert ids(reader.client.chat_lines) == [f"chat-{n}" for n in range(200, 400)]
    reader.client.lost(1006)
    gapped = welcome(500, epoch="e2", gap={"from": 1, "to": 500}, replays=2)
    assert ids(reader.told(gapped, chat(100, replayed=True), chat(99, replayed=True))) == ["chat-99"]
