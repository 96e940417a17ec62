"""The scripts of the boards of day, week and all time, one by one: what they return and leave in the store."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server import limits
from server.features.boards import GET
from server.features.gifts import REFUND, SHOW
from server.rooms.admin import DELETE
from server.rooms.tally import ADD, BEGIN, NAMES, WHOLE, board_key, window_of
from server.store import keys
from tests.conftest import Stores
from tests.frozen import NOW_MS, ROOM, Frozen

DAY, WEEK = window_of("day", NOW_MS), window_of("week", NOW_MS)
NAMES_KEY, WHOLE_KEY = keys.room(ROOM, NAMES), keys.room(ROOM, WHOLE)
KEPT_S = {DAY: limits.BOARD_DAY_S, WEEK: limits.BOARD_WEEK_S, "all": limits.BOARD_ALL_S}


@pytest.fixture
def store(stores: Stores) -> Iterator[Frozen]:
    with stores.room.client() as client:
        frozen = Frozen(client)
        frozen.made()
        yield frozen
        frozen.close()


def gift_id(number: int = 1, at_ms: int = NOW_MS) -> str:
    """A gift's id, which has its time; its last figure is the number's."""
    moment = f"{at_ms:012x}"
    return f"{moment[:8]}-{moment[8:]}-7000-8000-{number:012x}"


def show(store: Frozen, id: str, coins: int = 5, user: str = "alice", **changed: Any) -> list[str]:
    named: dict[str, Any] = {
        "once": keys.room(ROOM, "once", id),
        "broadcast": "b1",
        "user_id": user,
        "user_name": user.capitalize(),
        "coins": coins,
        "combo_field": "",
        "combo_head": "",
        "combo_count": 0,
        "body": f'{{"gift":"{id}"}}',
        **changed,
    }
    return list(store.run(SHOW, once_s=100, gap_ms=4_000, combos_max=10, each=[named])[0])


def take_back(store: Frozen, id: str, coins: int, user: str = "alice", **changed: Any) -> None:
    named = {"broadcast": "b1", "user_id": user, "coins": coins, "body": f'{{"gift_id":"{id}","coins":{coins}}}'}
    once = keys.room(ROOM, "refunded", f"{id}-{coins}")
    store.run(REFUND, once_s=100, each=[{"once": once, **named, **changed}])


def board(store: Frozen, window: str, by: str = "sum") -> dict[str, float]:
    return dict(store.client.zrange(board_key(ROOM, window, by), 0, -1, withscores=True))


# --- what a gift does ----------------------------------------------------------------------------------------------
def test_a_gift_counts_in_each_window(store: Frozen) -> None:
    """Of the time in its id; each board ends in its own time, counted from the first gift of a person."""
    show(store, gift_id(1), 5)
    show(store, gift_id(2), 7)
    for window, kept_s in KEPT_S.items():
        assert board(store, window) == {"alice": 12.0}
        assert board(store, window, "single") == {f"{gift_id(1)} alice": 5.0, f"{gift_id(2)} alice": 7.0}
        for by in ("sum", "single"):
            assert kept_s - 5 < store.client.ttl(board_key(ROOM, window, by)) <= kept_s
    assert board(store, "broadcast", "single") == board(store, "all", "single")
    assert board(store, "broadcast") == {}
    assert 0 < store.client.ttl(board_key(ROOM, "broadcast", "single")) <= limits.BOARD_ALL_S
    assert store.client.hgetall(NAMES_KEY) == {"alice": "Alice"}
    assert limits.BOARD_ALL_S - 5 < store.client.ttl(NAMES_KEY) <= limits.BOARD_ALL_S


def test_the_broadcasts_board_is_kept_by_every_gift(store: Frozen) -> None:
    """It has no first gift of a person: whose single ones it has nobody may have given before."""
    show(store, gift_id(1))
    store.client.persist(board_key(ROOM, "broadcast", "single"))
    store.client.persist(board_key(ROOM, "all", "sum"))
    show(store, gift_id(2))
    assert store.client.ttl(board_key(ROOM, "broadcast", "single")) > 0
    assert store.client.ttl(board_key(ROOM, "all", "sum")) == -1


def test_a_gift_of_another_broadcast_counts_in_time(store: Frozen) -> None:
    """On all boards but the broadcast's."""
    assert show(store, gift_id(), broadcast="b0")[0] == "other_broadcast"
    assert board(store, DAY) == board(store, "all") == {"alice": 5.0}
    assert board(store, "broadcast", "single") == {}


def test_nobody_anonymous_is_on_a_board(store: Frozen) -> None:
    """Their name is kept nowhere."""
    show(store, gift_id(), user="")
    assert not store.client.exists(board_key(ROOM, "all", "sum"), board_key(ROOM, "all", "single"), NAMES_KEY)


def test_single_gifts_are_bounded(store: Frozen) -> None:
    """The smallest go, now and then: one gift in sixteen looks."""
    singles = board_key(ROOM, "all", "single")
    store.client.zadd(singles, {f"x{n} bob": 10 + n for n in range(limits.SINGLES_MAX)})
    show(store, gift_id(1), 5)
    assert store.client.zcard(singles) == limits.SINGLES_MAX + 1
    show(store, gift_id(16), 6)
    assert store.client.zcard(singles) == limits.SINGLES_MAX
    assert store.client.zrange(singles, 0, 0) == ["x0 bob"]


# --- what a refund does --------------------------------------------------------------------------------------------
def test_a_part_lowers_the_boards_of_its_gift(store: Frozen) -> None:
    """Whose day and week the id says, not the clock. Who has nothing left is not there."""
    old = gift_id(1, NOW_MS - 30 * limits.DAY_MS)
    show(store, old, 9)
    show(store, gift_id(2), 5)
    take_back(store, old, 4)
    then = window_of("day", NOW_MS - 30 * limits.DAY_MS)
    assert (board(store, then), board(store, DAY), board(store, "all")) == (
        {"alice": 5.0},
        {"alice": 5.0},
        {"alice": 10.0},
    )
    assert board(store, "broadcast", "single") == {f"{old} alice": 5.0, f"{gift_id(2)} alice": 5.0}
    take_back(store, old, 5)
    assert (board(store, then), board(store, then, "single")) == ({}, {})
    assert board(store, "all", "single") == {f"{gift_id(2)} alice": 5.0}


def test_a_part_of_what_the_boards_do_not_have(store: Frozen) -> None:
    """Whole boards have nothing below 0: what was not there is not lowered."""
    take_back(store, gift_id(), 4)
    assert not store.client.exists(board_key(ROOM, "all", "sum"), board_key(ROOM, "all", "single"))
    take_back(store, gift_id(), 3, "")
    assert not store.client.exists(board_key(ROOM, "all", "sum"))


def test_a_part_may_come_before_its_gift_while_boards_are_filled(store: Frozen) -> None:
    """It then stands there below 0, or at 0, until the gift is added; the broadcast's board is never filled."""
    begin(store)
    take_back(store, gift_id(), 4)
    assert board(store, "all") == board(store, DAY) == {"alice": -4.0}
    assert board(store, "broadcast", "single") == {}
    show(store, gift_id(2), 4)
    assert board(store, "all") == {"alice": 0.0}
    take_back(store, gift_id(2), 4)
    assert board(store, "all") == {"alice": -4.0}
    assert board(store, "all", "single") == {f"{gift_id()} alice": -4.0, f"{gift_id(2)} alice": 0.0}


def test_an_anonymous_part_lowers_no_board(store: Frozen) -> None:
    show(store, gift_id(), 5)
    take_back(store, gift_id(), 5, "")
    assert board(store, "all") == {"alice": 5.0}


def test_a_deleted_room_leaves_no_board(store: Frozen) -> None:
    """Of all time and of the broadcast; those of a day and a week end by themselves."""
    show(store, gift_id(), 5)
    store.run(DELETE, body="{}")
    left = {key.rpartition("tally:")[2] for key in store.client.scan_iter(match=f"*{ROOM}*tally:*")}
    assert left == {f"{window}:{by}" for window in (DAY, WEEK) for by in ("sum", "single")}


# --- counting again ------------------------------------------------------------------------------------------------
def begin(store: Frozen, epoch: str = "e1", token: str = "t1") -> list[str]:
    each = [{"board_key": board_key(ROOM, "all", by), "name": ""} for by in ("sum", "single")]
    return list(store.run(BEGIN, epoch=epoch, token=token, marked_s=50, each=each))


def row(member: str, amount: int, by: str = "sum", name: str = "", user: str = "alice") -> dict[str, Any]:
    key = board_key(ROOM, "all", by)
    return {"board_key": key, "member": member, "amount": amount, "user_id": user, "name": name, "expires_s": 0}


def add(store: Frozen, *rows: dict[str, Any], whole: bool = False, token: str = "t1") -> list[str]:
    bounds = {"singles_max": 2, "kept_s": 70, "marked_s": 60}
    return list(store.run(ADD, epoch="e1", token=token, whole=int(whole), each=rows, **bounds))


def ends() -> list[dict[str, Any]]:
    return [{**row("", 0, by), "expires_s": 80} for by in ("sum", "single")]


def test_who_counts_the_boards_again(store: Frozen) -> None:
    """One at a time, for the present epoch, and nobody when they are whole; what was there is gone."""
    show(store, gift_id(), 5)
    assert begin(store, "e0") == ["other_epoch"]
    assert board(store, "all") == {"alice": 5.0}
    assert begin(store) == ["ok", "1"]
    assert (board(store, "all"), board(store, "all", "single")) == ({}, {})
    assert (store.client.get(WHOLE_KEY), 0 < store.client.ttl(WHOLE_KEY) <= 50) == ("~t1", True)
    assert begin(store, token="t2") == ["ok", "1"]
    assert add(store, row("alice", 3)) == ["other_token"]
    assert add(store, row("alice", 3), token="t2") == ["ok"]
    assert add(store, *ends(), whole=True, token="t2") == ["ok"]
    assert begin(store) == ["known"]
    store.client.delete(keys.room(ROOM, keys.META))
    assert (begin(store), add(store)) == (["no_room"], ["no_room"])


def test_the_last_call_makes_the_boards_whole(store: Frozen) -> None:
    """Without those who have nothing left, with the largest single gifts alone, each with its end. Names stay."""
    begin(store)
    store.client.hset(NAMES_KEY, "alice", "Newer")
    rows = [row("alice", 7, name="Alice"), row("bob", 4, name="Bob", user="bob"), row("bob", -4, user="bob")]
    singles = [row(f"g{n} alice", n, "single") for n in (3, 1, 2)]
    assert add(store, *rows, *singles) == ["ok"]
    assert board(store, "all") == {"alice": 7.0, "bob": 0.0}
    assert store.client.ttl(board_key(ROOM, "all", "sum")) == -1
    assert add(store, *ends(), whole=True) == ["ok"]
    assert board(store, "all") == {"alice": 7.0}
    assert board(store, "all", "single") == {"g2 alice": 2.0, "g3 alice": 3.0}
    for by in ("sum", "single"):
        assert 70 < store.client.ttl(board_key(ROOM, "all", by)) <= 80
    assert store.client.hgetall(NAMES_KEY) == {"alice": "Newer", "bob": "Bob"}
    assert 60 < store.client.ttl(NAMES_KEY) <= 70
    assert (store.client.get(WHOLE_KEY), 50 < store.client.ttl(WHOLE_KEY) <= 60) == ("e1", True)


# --- reading -------------------------------------------------------------------------------------------------------
def read(
    store: Frozen, user: str = "", rows: int = 2, *hidden: str, by: str = "sum", checked: int = 0
) -> tuple[list[tuple[str, str, str]], list[str]] | str:
    """The first places, and one's own: rank, coins, coins of the next place."""
    named = {"one": board_key(ROOM, "all", by), "names_of": NAMES_KEY, "epoch": "e1", "checked": checked}
    gone = json.dumps(dict.fromkeys(hidden, True))
    outcome = store.run(GET, **named, single=int(by == "single"), rows=rows, user_id=user, hidden=gone)
    if outcome[0] != "ok":
        return str(outcome[0])
    top = outcome[1]
    return list(zip(top[::3], top[1::3], top[2::3], strict=True)), list(outcome[2])


def places(store: Frozen, **coins: int) -> None:
    store.client.zadd(board_key(ROOM, "all", "sum"), coins)


def test_a_board_that_is_not_whole(store: Frozen) -> None:
    """Is asked for again, but for the broadcast's, which is always whole."""
    places(store, alice=5)
    assert read(store, checked=1) == "not_whole"
    store.client.set(WHOLE_KEY, "e0")
    assert read(store, checked=1) == "not_whole"
    assert read(store) == ([("alice", "alice", "5")], ["0", "0", "5"])
    store.client.set(WHOLE_KEY, "e1")
    assert read(store, checked=1) == read(store)
    store.client.delete(keys.room(ROOM, keys.META))
    assert read(store) == "no_room"


@pytest.mark.parametrize(
    ("user", "hidden", "top", "own"),
    [
        ("ann", (), "ann ben", ["1", "50", "-1"]),
        ("ben", (), "ann ben", ["2", "40", "50"]),
        ("cem", (), "ann ben", ["3", "30", "40"]),
        ("eve", (), "ann ben", ["5", "10", "20"]),
        ("zoe", (), "ann ben", ["0", "0", "10"]),
        ("ann", ("ann",), "ben cem", ["0", "0", "10"]),
        ("ben", ("ann",), "ben cem", ["1", "40", "-1"]),
        ("cem", ("ann", "ben"), "cem dan", ["1", "30", "-1"]),
        ("dan", ("ben", "cem"), "ann dan", ["2", "20", "50"]),
        ("eve", ("dan",), "ann ben", ["4", "10", "30"]),
        ("eve", ("dan", "zoe"), "ann ben", ["4", "10", "30"]),
        ("eve", ("ann", "ben"), "cem dan", ["3", "10", "20"]),
        ("dan", ("eve",), "ann ben", ["4", "20", "30"]),
        ("eve", ("eve",), "ann ben", ["0", "0", "10"]),
    ],
)
def test_ones_own_place(store: Frozen, user: str, hidden: tuple[str, ...], top: str, own: list[str]) -> None:
    """Among those who are not hidden, with the coins of the next one; who has none sees the last place."""
    places(store, ann=50, ben=40, cem=30, dan=20, eve=10)
    shown, mine = read(store, user, 2, *hidden)
    assert ([name for name, _, _ in shown], mine) == (top.split(), own)


def test_an_empty_board(store: Frozen) -> None:
    assert read(store, "ann") == ([], ["0", "0", "-1"])


def test_a_board_of_single_gifts(store: Frozen) -> None:
    """Each person's largest gift; all of them are looked at, for one's own place, too."""
    gifts = {"g1 ann": 9, "g2 ann": 8, "g3 ben": 7, "g4 cem": 6, "g5 ben": 5, "g6 dan": 4}
    store.client.zadd(board_key(ROOM, "all", "single"), gifts)
    store.client.hset(NAMES_KEY, "ben", "Ben")
    assert read(store, "dan", by="single") == ([("ann", "ann", "9"), ("ben", "Ben", "7")], ["4", "4", "6"])
    assert read(store, "dan", 2, "ann", by="single") == ([("ben", "Ben", "7"), ("cem", "cem", "6")], ["3", "4", "6"])
    assert read(store, "zoe", by="single")[1] == ["0", "0", "4"]
