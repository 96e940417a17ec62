"""The Python client reads frames of both codecs, and its room equals the one that a newcomer gets."""

import time
from typing import Any, cast

import msgspec
import pytest

from protocol.chat import ChatSent
from protocol.client import Answered, Lost, Missed, RoomClient
from protocol.closes import Close, comes_back
from protocol.gifts import GiftComboEnded, GiftSent
from protocol.ids import uuid7_ms
from protocol.session import Heartbeat, Notice, WalletChanged, Welcome
from protocol.wire import Codec

SERVER_MS = 1_750_000_000_000
LOCAL_MS = SERVER_MS - 90_000  # our clock is a minute and a half slow


def now_ms() -> int:
    return int(time.time() * 1000)


class Wire:
    """A client of one codec, and frames for it."""

    def __init__(self, codec: Codec) -> None:
        self.client = RoomClient(lambda: LOCAL_MS, codec=codec)
        self.codec = codec

    def told(self, *messages: dict[str, Any]) -> list[Any]:
        """What the client returns for one frame with these messages."""
        if self.codec == "json":
            return cast(list[Any], self.client.receive(msgspec.json.encode(messages).decode()))
        return cast(list[Any], self.client.receive(msgspec.msgpack.encode(messages)))

    def said(self, frame: str | bytes) -> dict[str, Any]:
        """What is in a frame that the client made."""
        if self.codec == "json":
            assert isinstance(frame, str), "JSON goes in text frames"
            return cast(dict[str, Any], msgspec.json.decode(frame))
        assert isinstance(frame, bytes), "msgpack goes in binary frames"
        return cast(dict[str, Any], msgspec.msgpack.decode(frame))

    def welcomed(self, seq: int = 0, **changed: Any) -> list[Any]:
        return self.told(welcome(seq, **changed))


@pytest.fixture(params=["json", "msgpack"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


ALICE = {"user_id": "alice", "name": "Alice", "role": "viewer", "badges": []}
CREATOR = {"user_id": "creator", "name": "Creator", "role": "host", "badges": []}
ROSE = {
    "id": "rose",
    "name": "Rose",
    "coins": 1,
    "tier": 1,
    "animation": {"kind": "float", "url": "/web/gifts/rose.svg", "duration_ms": 2000},
}


def snapshot(**changed: Any) -> dict[str, Any]:
    room = {
        "room_id": "demo",
        "broadcast_id": "b1",
        "title": "Welcome",
        "status": "live",
        "host": {"user_id": "creator", "name": "Creator"},
        "started_at_ms": SERVER_MS,
        "settings": {"chat": True, "gifts": True, "slow_mode_s": 0, "unique_chat_s": 0},
        "viewers": {"now": 1, "peak": 2, "unique": 3},
        "likes": 4,
        "coins": 5,
        "top": [],
    }
    return {**room, **changed}


def welcome(seq: int = 0, *, room: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    you = {
        "user_id": "alice",
        "name": "Alice",
        "role": "viewer",
        "coins": 100,
        "muted_until_ms": None,
        "member_id": "m",
    }
    message = {
        "type": "welcome",
        "protocol": 1,
        "epoch": "e1",
        "seq": seq,
        "resumed": False,
        "gap": None,
        "you": you,
        "room": snapshot(**(room or {})),
        "heartbeat_s": 25,
        "server_time_ms": SERVER_MS,
    }
    return {**message, **changed}


def chat(seq: int, text: str = "hello", **changed: Any) -> dict[str, Any]:
    about = {"seq": seq, "at_ms": SERVER_MS, "id": f"chat-{seq}"}
    return {"type": "chat.sent", **about, "user": ALICE, "text": text, **changed}


def gift(seq: int, id_: str = "gift-1", count: int = 3, **changed: Any) -> dict[str, Any]:
    message = {"type": "gifts.sent", "seq": seq, "at_ms": SERVER_MS, "id": id_, "from": ALICE, "to": CREATOR}
    paid = {"gift": ROSE, "count": count, "coins": count, "diamonds": count, "combo": None, "message": None}
    return {**message, **paid, "test": False, **changed}


# --- frames in -----------------------------------------------------------------------------------------------------
def test_events_come_typed_and_in_order(wire: Wire) -> None:
    """A frame becomes the welcome and typed events, with heartbeats and notices among them."""
    told = wire.told(
        welcome(7), chat(8), {"type": "heartbeat"}, {"type": "notice", "kind": "hidden", "count": 4}, gift(9)
    )
    assert [type(each) for each in told] == [Welcome, ChatSent, Heartbeat, Notice, GiftSent]
    assert told[1].user.name == "Alice"
    assert told[4].from_.user_id == "alice"
    assert wire.client.epoch == "e1"
    assert wire.client.seq == 9


def test_what_is_unknown_is_ignored_and_passed_by(wire: Wire) -> None:
    """Unknown types, fields and shapes of a newer server are ignored, and the client resumes after them."""
    wire.welcomed(7)
    newer = {"type": "polls.opened", "seq": 8, "id": "p", "question": "?"}
    odd = {"type": "likes.counted", "seq": 9, "id": "l", "added": "many", "total": 1, "top": []}
    told = wire.told(newer, odd, {"type": "weather"}, chat(10, mood="sunny"))
    assert [type(each) for each in told] == [ChatSent]
    assert wire.client.unknown == 3
    assert wire.client.resume_query() == "since=e1:10"


def test_an_event_counts_once(wire: Wire) -> None:
    """An event with a known seq is left out, and so is a known gift under another seq."""
    wire.welcomed(7)
    assert len(wire.told(chat(8), chat(8), gift(9))) == 2
    assert wire.told(chat(8), gift(9)) == []
    assert wire.told(gift(10)) == []
    assert (wire.client.gifts, wire.client.gift_coins) == (1, 3)
    assert wire.client.seq == 10


def test_sums_are_over_distinct_real_gifts(wire: Wire) -> None:
    """Coins of distinct ids add up; a test alert is shown but not counted."""
    wire.welcomed(0)
    told = wire.told(gift(1, "a", 3), gift(2, "b", 4), gift(3, "c", 50, test=True))
    assert [each.id for each in told] == ["a", "b", "c"]
    assert wire.client.gift_coins == 7
    assert wire.client.room is not None
    assert wire.client.room.coins == 12  # 5 are from the snapshot


def test_before_the_welcome_nothing_is_known(wire: Wire) -> None:
    """There is nothing to resume from, and events before the welcome are ignored."""
    assert wire.client.resume_query() == ""
    assert wire.told(chat(1)) == []
    assert wire.client.room is None
    assert wire.client.seq == 0
    assert wire.client.server_now_ms() == wire.client._clock_ms()


# --- the room ------------------------------------------------------------------------------------------------------
def test_the_room_is_folded(wire: Wire) -> None:
    """Counts, board, title, settings and status follow the events."""
    wire.welcomed(0)
    rank = {"rank": 1, "user": {"user_id": "alice", "name": "Alice"}, "coins": 9}
    settings = {"chat": False, "gifts": True, "slow_mode_s": 5, "unique_chat_s": 0}
    wire.told(
        {"type": "viewers.counted", "seq": 1, "id": "v", "now": 7, "peak": 8, "unique": 9, "joined": []},
        {"type": "likes.counted", "seq": 2, "id": "l", "added": 2, "total": 6, "top": []},
        {"type": "board.changed", "seq": 3, "id": "b", "top": [rank]},
        {"type": "room.updated", "seq": 4, "id": "u", "title": "New", "settings": settings},
        {"type": "room.paused", "seq": 5, "id": "p", "status": "paused"},
    )
    room = wire.client.room
    assert room is not None
    assert (room.viewers.now, room.viewers.peak, room.viewers.unique) == (7, 8, 9)
    assert room.likes == 6
    assert [(row.rank, row.user.name, row.coins) for row in room.top] == [(1, "Alice", 9)]
    assert (room.title, room.settings.slow_mode_s, room.status) == ("New", 5, "paused")
    assert room.host.user_id == "creator"


def test_a_new_broadcast_starts_at_zero(wire: Wire) -> None:
    """Totals belong to one broadcast; the viewers stay."""
    wire.welcomed(0, room={"status": "ended"})
    start = {"status": "live", "broadcast_id": "b2", "started_at_ms": SERVER_MS + 1}
    wire.told(gift(1), {"type": "room.updated", "seq": 2, "id": "u", **start})
    room = wire.client.room
    assert room is not None
    assert (room.status, room.broadcast_id, room.likes, room.coins, room.top) == ("live", "b2", 0, 0, ())
    assert (room.viewers.now, room.viewers.peak, room.viewers.unique) == (1, 1, 1)


def test_a_streak_runs_and_ends(wire: Wire) -> None:
    """An open combo has its highest count and all its coins until it ends; other combos stay."""
    wire.welcomed(0)
    wire.told(
        gift(1, "a", 3, combo={"id": "x", "count": 3}),
        gift(2, "b", 2, combo={"id": "x", "count": 7}),
        gift(3, "c", 2, combo={"id": "x", "count": 5}),  # a gift that is shown late
        gift(4, "d", 1, combo={"id": "y", "count": 1}),
    )
    room = wire.client.room
    assert room is not None
    assert [(combo.id, combo.count, combo.coins) for combo in room.open_combos] == [("x", 7, 7), ("y", 1, 1)]
    ended = {"combo": {"id": "x", "count": 7}, "from": ALICE, "to": CREATOR, "gift": {"id": "rose"}, "coins": 7}
    (told,) = wire.told({"type": "gifts.combo_ended", "seq": 5, "id": "z", **ended})
    assert isinstance(told, GiftComboEnded)
    room = wire.client.room
    assert room is not None
    assert [combo.id for combo in room.open_combos] == ["y"]


# --- resuming ------------------------------------------------------------------------------------------------------
def test_what_is_replayed_is_told_but_in_the_totals_already(wire: Wire) -> None:
    """After a resume the missed events come, marked as replayed; the snapshot has counted them already."""
    wire.welcomed(7)
    wire.told(gift(8, "a"))
    wire.client.lost(4001)
    assert wire.client.resume_query() == "since=e1:8"
    told = wire.told(
        welcome(10, resumed=True, room={"coins": 20}),
        chat(9, replayed=True),
        gift(10, "b", replayed=True),
        gift(11, "c"),
    )
    assert [type(each) for each in told] == [Welcome, ChatSent, GiftSent, GiftSent]
    assert [each.replayed for each in told[1:]] == [True, True, False]
    assert wire.client.gift_coins == 9
    assert wire.client.room is not None
    assert wire.client.room.coins == 23
    assert wire.client.skipped == 0


def test_a_connection_lost_in_the_middle_of_a_replay_resumes_there(wire: Wire) -> None:
    """The client resumes after the last event it got, not at the snapshot's seq."""
    wire.welcomed(7)
    wire.told(welcome(20, resumed=True), chat(8, replayed=True))
    assert wire.client.resume_query() == "since=e1:8"


def test_a_gap_is_told_and_the_snapshot_replaces_the_room(wire: Wire) -> None:
    """If the events are gone or the epoch is new, the client says which it missed and goes on."""
    wire.welcomed(7)
    told = wire.told(welcome(3, epoch="e2", gap={"from": 1, "to": 3}, room={"coins": 50}), chat(4))
    assert told[1] == Missed(from_=1, to=3)
    assert isinstance(told[2], ChatSent)
    assert wire.client.missed == 3
    assert wire.client.resume_query() == "since=e2:4"
    assert wire.client.room is not None
    assert wire.client.room.coins == 50


def test_left_out_events_are_noted(wire: Wire) -> None:
    """A seq that a live connection skips is counted: hidden chat, or a superseded count."""
    wire.welcomed(7)
    wire.told(chat(8), chat(11))
    assert wire.client.skipped == 2


# --- the wallet ----------------------------------------------------------------------------------------------------
def test_an_older_balance_is_no_news(wire: Wire) -> None:
    """Balances are ordered by the numbers in their ledger entries, epoch first."""

    def changed(coins: int, entry: str) -> dict[str, Any]:
        return {"type": "wallet.changed", "coins": coins, "cause": "gift", "ref": "g", "entry": entry}

    wire.welcomed(0)
    told = wire.told(changed(90, "1-9"), changed(80, "1-10"), changed(95, "1-8"), changed(80, "1-10"))
    assert [each.coins for each in told] == [90, 80]
    told = wire.told(changed(70, "2-1"), changed(60, "1-11"))
    assert [type(each) for each in told] == [WalletChanged]
    assert wire.client.you is not None
    assert wire.client.you.coins == 70


def test_a_balance_without_an_entry(wire: Wire) -> None:
    """It is taken if the welcome had no balance; a known balance is newer."""

    def reopened(coins: int) -> dict[str, Any]:
        return {"type": "wallet.changed", "coins": coins, "cause": "reopened", "ref": None, "entry": None}

    wire.welcomed(0)
    assert wire.client.you is not None
    wire.client.you = msgspec.structs.replace(wire.client.you, coins=None)
    told = wire.told(reopened(90), reopened(80))
    assert [each.coins for each in told] == [90]
    assert wire.client.you.coins == 90


def test_a_gifts_reply_is_a_balance_too(wire: Wire) -> None:
    """The reply's entry orders it among the changes: a newer balance stays."""
    wire.welcomed(0)
    for _ in range(2):
        wire.client.gift("rose")
    ok = {"type": "ok", "id": "g", "duplicate": False, "combo": None}
    wire.told({**ok, "ref": "c2", "coins": 98, "entry": "1-12"})
    assert wire.client.you is not None
    assert wire.client.you.coins == 98
    wire.told({**ok, "ref": "c1", "coins": 99, "entry": "1-11"})
    assert wire.client.you.coins == 98


def test_a_duplicates_reply_is_no_balance(wire: Wire) -> None:
    """It has the balance of then: a gift that is sent again after a welcome does not undo the welcome's balance."""
    wire.welcomed(0)
    wire.client.gift("rose")
    wire.told(welcome(0, resumed=True))
    assert wire.client.you is not None
    now = wire.client.you.coins
    wire.told({"type": "ok", "ref": "c1", "id": "g", "duplicate": True, "combo": None, "coins": 7, "entry": "1-12"})
    assert wire.client.you.coins == now


# --- commands ------------------------------------------------------------------------------------------------------
def test_commands_have_a_ref_and_get_their_reply(wire: Wire) -> None:
    """Each reply finds its command, in any order; an unknown ref belongs to none."""
    client = wire.client
    wire.welcomed(0)
    said = [wire.said(client.chat("hi")), wire.said(client.likes(3)), wire.said(client.ping())]
    assert [(each["type"], each["ref"]) for each in said] == [("chat.send", "c1"), ("likes.send", "c2"), ("ping", "c3")]
    told = wire.told(
        {"type": "ok", "ref": "c3", "server_time_ms": SERVER_MS + 5},
        {"type": "refused", "ref": "c1", "reason": "slow_mode", "message": "Wait.", "retry_after_ms": 900},
        {"type": "ok", "ref": "c2"},
        {"type": "ok", "ref": "c99"},
    )
    assert all(isinstance(each, Answered) for each in told)
    assert [(each.command.ref, each.ok, each.reason) for each in told] == [
        ("c3", True, None),
        ("c1", False, "slow_mode"),
        ("c2", True, None),
    ]
    assert told[1].fields == {"message": "Wait.", "retry_after_ms": 900}
    assert client.unanswered == ()
    assert client.server_now_ms() == SERVER_MS + 5


def test_a_gift_id_has_the_servers_time(wire: Wire) -> None:
    """A wrong clock here does not make ids that the server refuses as expired."""
    wire.welcomed(0)
    said = wire.said(wire.client.gift("rose", 5, message="for you"))
    assert uuid7_ms(said["id"]) == SERVER_MS
    assert said == {
        "type": "gifts.send",
        "ref": "c1",
        "id": said["id"],
        "gift": "rose",
        "count": 5,
        "message": "for you",
    }


def test_a_gift_without_reply_goes_out_again_with_its_id(wire: Wire) -> None:
    """A lost connection drops chat but keeps gifts: the same frame follows each welcome until answered."""
    client = wire.client
    wire.welcomed(0)
    first = client.gift("rose")
    client.chat("lost?")
    lost = client.lost(1006)
    assert [each.__struct_config__.tag for each in lost.unanswered] == ["chat.send"]
    wire.told(welcome(0, resumed=True))
    assert client.resend() == [first]
    (answered,) = wire.told({"type": "ok", "ref": "c1", "id": "g", "duplicate": True, "coins": 99, "combo": None})
    assert answered.fields["duplicate"] is True
    assert client.resend() == []


def test_a_command_sent_again_keeps_all_but_its_ref(wire: Wire) -> None:
    """A refused gift can be tried again under its id."""
    wire.welcomed(0)
    first = wire.said(wire.client.gift("rose"))
    refusal = {"reason": "wallet_unavailable", "message": "Later.", "retry_after_ms": 1000}
    (answered,) = wire.told({"type": "refused", "ref": "c1", **refusal})
    again = wire.said(wire.client.send(answered.command))
    assert again == {**first, "ref": "c2"}


@pytest.mark.parametrize("close", [*Close, 1006, 1011, 1012, 4100, 4600])
def test_close_codes_say_whether_to_come_back(close: int) -> None:
    """Known codes follow `Close`, others their band."""
    expected = close.comes_back if isinstance(close, Close) else close < 4500
    assert comes_back(close) is expected
    assert RoomClient(now_ms).lost(close) == Lost(code=close, comes_back=expected, unanswered=())
