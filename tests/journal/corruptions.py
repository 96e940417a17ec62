"""The table of corruptions in SQL: what is changed by hand, the first wrong row, and which audit finds it.

An audit that remembers the correct entries finds AT_ONCE what changes counts or sums, and what is wrong in new rows.
FULL needs all entries derived again, as the command does at once and the journal process in slices within a day, or all
orders compared, as it does four times an hour.
"""

from typing import Any, NamedTuple

from tests.journal.small import ALICE, BOB

GIFT = f"partition = {ALICE} AND epoch = 1 AND n = 3"  # alice gave ben 20 coins: g2
BACK = f"partition = {ALICE} AND epoch = 1 AND n = 7"  # t1 was charged back: ben and ann lose, too
LEGS = f"{BACK} AND leg"
IN = f"partition = {ALICE}"
E = "entries"
DOUBLE = "partition, epoch, n, leg + 7, asset, account, amount"
HASH_BEFORE = f"SELECT hash FROM entries WHERE {IN} AND epoch = 2 AND n = 1"
COPY = (
    "kind, user_id, ref || 'x', room_id, creator_id, coins, diamonds, balance, credited, combo_count, at_ms, body, "
    "hash, version, text"
)


FULL, AT_ONCE = False, True


class Corruption(NamedTuple):
    at_once: bool
    name: str
    statements: tuple[str, ...]
    where: str  # the first wrong row: a log id, an account or an order
    partitions: frozenset[int] = frozenset({ALICE})


def _of(where: str, *each: tuple[Any, ...]) -> list[Corruption]:
    return [Corruption(at_once, name, tuple(statements), where) for at_once, name, *statements in each]


def set_to(table: str, where: str, **values: str) -> str:
    return f"UPDATE {table} SET {', '.join(f'{column} = {value}' for column, value in values.items())} WHERE {where}"


def _legs(n: int, *legs: tuple[int, str, str, int], epoch: int = 1) -> str:
    rows = (f"({ALICE}, {epoch}, {n}, {leg}, '{asset}', '{acc}', {amount})" for leg, asset, acc, amount in legs)
    return f"INSERT INTO legs VALUES {', '.join(rows)}"


BODY = 'REPLACE(body, \'"creator":"ben"\', \'"creator":"eve"\')'

COLUMNS = [
    *_of(
        "1-3",
        (FULL, "user_id", set_to(E, GIFT, user_id="'eve'")),
        (FULL, "ref", set_to(E, GIFT, ref="'another'")),
        (FULL, "room_id", set_to(E, GIFT, room_id="'elsewhere'")),
        (FULL, "no room_id", set_to(E, GIFT, room_id="NULL")),
        (AT_ONCE, "balance", set_to(E, GIFT, balance="balance + 1")),
        (AT_ONCE, "no balance", set_to(E, GIFT, balance="NULL")),
        (AT_ONCE, "credited", set_to(E, GIFT, credited="credited + 1")),
        (AT_ONCE, "combo_count", set_to(E, GIFT, combo_count="4")),
        (AT_ONCE, "at_ms", set_to(E, GIFT, at_ms="at_ms - 86400000")),
        (FULL, "body", set_to(E, GIFT, body=BODY)),
        (FULL, "a body that is no JSON", set_to(E, GIFT, body="'{'")),
        (FULL, "a space in a body", set_to(E, GIFT, body="body || ' '")),
        (FULL, "hash", set_to(E, GIFT, hash="'0'")),
        (FULL, "version", set_to(E, GIFT, version="1")),
        (FULL, "a version that does not exist", set_to(E, GIFT, version="3")),
        (FULL, "text", set_to(E, GIFT, text="REPLACE(text, 'Alice', 'Eve')")),
        (
            FULL,
            "another gift's text",
            set_to(E, GIFT, text=f"(SELECT text FROM entries WHERE {IN} AND epoch = 1 AND n = 2)"),
        ),
    ),
    *_of(
        "1-3",
        (FULL, "kind", set_to(E, GIFT, kind="'topup'")),
        (FULL, "an unknown kind", set_to(E, GIFT, kind="'wish'")),
        (FULL, "creator_id", set_to(E, GIFT, creator_id="'eve'")),
        (FULL, "no creator_id", set_to(E, GIFT, creator_id="NULL")),
        (AT_ONCE, "coins", set_to(E, GIFT, coins="coins + 5000")),
        (AT_ONCE, "diamonds", set_to(E, GIFT, diamonds="diamonds + 5000")),
        (FULL, "body and creator_id", set_to(E, GIFT, body=BODY, creator_id="'eve'")),
    ),
    *_of("1-0", (FULL, "a text where none was", set_to(E, f"{IN} AND epoch = 1 AND n = 0", text="'{}'"))),
    *_of("2-2", (FULL, "the last hash", set_to(E, f"{IN} AND epoch = 2 AND n = 2", hash="'0'"))),
    *_of("1-1", (AT_ONCE, "bought coins", set_to(E, f"{IN} AND ref = 't1' AND kind = 'topup'", coins="90"))),
    *_of("1-4", (AT_ONCE, "refunded coins", set_to(E, f"{IN} AND kind = 'refund'", coins="31"))),
    *_of("1-4", (AT_ONCE, "a refund's diamonds", set_to(E, f"{IN} AND kind = 'refund'", diamonds="0"))),
    *_of("1-7", (AT_ONCE, "charged back coins", set_to(E, f"{IN} AND kind = 'chargeback'", coins="29"))),
]

ENTRIES = [
    *_of(
        "1-4",  # the first that does not follow the one before it
        (AT_ONCE, "an entry is deleted", f"DELETE FROM entries WHERE {GIFT}"),
        (FULL, "an entry gets another number", set_to(E, GIFT, n="99")),
        (AT_ONCE, "an entry gets another epoch", set_to(E, GIFT, epoch="3")),
    ),
    *_of("1-7", (AT_ONCE, "a chargeback is deleted, its legs are left", f"DELETE FROM entries WHERE {BACK}")),
    *_of("1-1", (AT_ONCE, "the first entry is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 1 AND n = 0")),
    *_of("2-1", (AT_ONCE, "an OPEN marker is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 0")),
    *_of("2-1", (AT_ONCE, "the last entry is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 2")),
    *_of(
        "freeze f1",
        (
            AT_ONCE,
            "the last entry is deleted, and the watermark moved back",
            f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 2",
            f"UPDATE watermarks SET n = 1, hash = ({HASH_BEFORE}) WHERE {IN}",
        ),
    ),
    *_of(
        "1-2",
        (
            FULL,
            "two entries are swapped",
            set_to(E, f"{IN} AND epoch = 1 AND n = 2", n="99"),
            set_to(E, f"{IN} AND epoch = 1 AND n = 3", n="2"),
            set_to(E, f"{IN} AND epoch = 1 AND n = 99", n="3"),
        ),
    ),
    *_of(
        "2-3",
        (AT_ONCE, "an entry is added", f"INSERT INTO entries SELECT partition, 2, 3, {COPY} FROM entries WHERE {GIFT}"),
    ),
    *_of(
        "3-0",
        (
            AT_ONCE,
            "an epoch is added",
            f"INSERT INTO entries SELECT partition, 3, 0, {COPY} FROM entries WHERE {IN} AND epoch = 2 AND n = 0",
        ),
    ),
    Corruption(
        AT_ONCE,
        "an entry is moved to another partition",
        (set_to(E, GIFT, partition=str(BOB)),),
        "1-4",
        frozenset({ALICE, BOB}),
    ),
]

ENTRIES += _of(
    "1-8",
    (
        AT_ONCE,
        "an entry is deleted with its legs",
        f"DELETE FROM entries WHERE {BACK}",
        f"DELETE FROM legs WHERE {BACK}",
    ),
)

ENTRIES += _of("1--1", (FULL, "an entry has a negative number", set_to(E, GIFT, n="-1")))

# Legs of gifts, top-ups and refunds are not stored: nobody can change, move, double or delete one. They are made of
# columns, which are above. A view that says something else is in test_views.py.
POSTINGS = [
    *_of(
        "1-7",
        (AT_ONCE, "the legs move to another epoch", set_to("legs", BACK, epoch="2")),
        (AT_ONCE, "a leg is deleted", f"DELETE FROM legs WHERE {LEGS} = 0"),
        (AT_ONCE, "all legs of an entry are deleted", f"DELETE FROM legs WHERE {BACK}"),
        (AT_ONCE, "an amount is changed", set_to("legs", f"{LEGS} = 3", amount="amount + 1")),
        (AT_ONCE, "two amounts are changed alike", set_to("legs", f"{LEGS} IN (3, 4)", amount="amount * 2")),
        (FULL, "a leg moves to another viewer", set_to("legs", f"{LEGS} = 0", account="'viewer:eve'")),
        (FULL, "a leg moves to another creator", set_to("legs", f"{LEGS} = 3", account="'creator:eve'")),
        (FULL, "a leg moves to another asset", set_to("legs", f"{LEGS} = 1", asset="'diamonds'")),
        (
            AT_ONCE,
            "the legs are doubled",
            f"INSERT INTO legs SELECT {DOUBLE} FROM legs WHERE {BACK}",
        ),
        (
            AT_ONCE,
            "legs for somebody else are invented",
            _legs(7, (7, "coins", "house:sold", -9), (8, "coins", "viewer:eve", 9)),
        ),
    ),
    *_of(
        "1-7",
        (FULL, "a leg moves to another house account", set_to("legs", f"{LEGS} = 1", account="'house:awarded'")),
        (AT_ONCE, "a leg gets another number", set_to("legs", f"{LEGS} = 3", leg="7")),
        (
            AT_ONCE,
            "legs of the house are invented",
            _legs(7, (7, "coins", "house:sold", -9), (8, "coins", "house:spent", 9)),
        ),
        (FULL, "the legs move to an entry after it", set_to("legs", BACK, n="9")),
        (FULL, "a chargeback takes from another creator", set_to("legs", f"{LEGS} = 3", account="'creator:ann'")),
    ),
    *_of(
        "1-3",
        (
            AT_ONCE,
            "legs of a gift are stored",
            _legs(3, (0, "coins", "viewer:alice", -20), (1, "coins", "house:spent", 20)),
        ),
        (FULL, "the legs move to a gift before it", set_to("legs", BACK, n="3")),
        (AT_ONCE, "a gift gets legs for somebody else", _legs(3, (4, "coins", "viewer:eve", 9))),
    ),
    *_of(
        "1-99",
        (AT_ONCE, "legs without an entry", _legs(99, (0, "coins", "house:sold", -9), (1, "coins", "house:spent", 9))),
    ),
    *_of(
        "9-1",
        (
            AT_ONCE,
            "legs of an epoch to come",
            _legs(1, (0, "coins", "house:sold", -9), (1, "coins", "house:spent", 9), epoch=9),
        ),
    ),
    *_of(
        "0-1",
        (
            AT_ONCE,
            "legs of an epoch before all",
            _legs(1, (0, "coins", "house:sold", -9), (1, "coins", "house:spent", 9), epoch=0),
        ),
    ),
    Corruption(
        AT_ONCE,
        "legs move to another partition",
        (set_to("legs", BACK, partition=str(BOB)),),
        "1-7",
        frozenset({ALICE, BOB}),
    ),
]

POSITIONS = [
    *_of(
        "viewer:aaa",
        (
            FULL,
            "a viewer's position has another name",
            set_to("positions", f"{IN} AND account = 'viewer:alice'", account="'viewer:aaa'"),
        ),
    ),
    *_of(
        "viewer:alice",
        (
            AT_ONCE,
            "a viewer's position",
            set_to("positions", f"{IN} AND account = 'viewer:alice'", balance="balance + 1"),
        ),
        (AT_ONCE, "a viewer's position is deleted", f"DELETE FROM positions WHERE {IN} AND account = 'viewer:alice'"),
    ),
    *_of(
        "creator:ann",
        (
            AT_ONCE,
            "a creator's position",
            set_to("positions", f"{IN} AND account = 'creator:ann'", balance="balance - 1"),
        ),
        (AT_ONCE, "a creator's position is deleted", f"DELETE FROM positions WHERE {IN} AND account = 'creator:ann'"),
    ),
    *_of(
        "viewer:eve",
        (AT_ONCE, "a viewer is invented", f"INSERT INTO positions VALUES ({ALICE}, 'viewer:eve', 9)"),
    ),
    *_of(
        "viewer:eve",
        (FULL, "an empty wallet is invented", f"INSERT INTO positions VALUES ({ALICE}, 'viewer:eve', 0)"),
    ),
    *_of(
        "creator:eve",
        (AT_ONCE, "a creator is invented", f"INSERT INTO positions VALUES ({ALICE}, 'creator:eve', 9)"),
    ),
    *_of(
        "house:sold",
        (AT_ONCE, "the house has a position", f"INSERT INTO positions VALUES ({ALICE}, 'house:sold', 9)"),
    ),
]

WATERMARKS = _of(
    "2-2",
    (AT_ONCE, "the watermark is deleted", f"DELETE FROM watermarks WHERE {IN}"),
    (AT_ONCE, "the watermark is moved back", f"UPDATE watermarks SET n = 1 WHERE {IN}"),
    (AT_ONCE, "the watermark is moved ahead", f"UPDATE watermarks SET n = 9 WHERE {IN}"),
    (AT_ONCE, "the watermark has another epoch", f"UPDATE watermarks SET epoch = 3 WHERE {IN}"),
    (AT_ONCE, "the watermark has another hash", f"UPDATE watermarks SET hash = '0' WHERE {IN}"),
)


def _gone(*tables: str) -> tuple[str, ...]:
    return tuple(f"DELETE FROM {table} WHERE {IN}" for table in tables)


PARTITIONS = [
    *_of(
        "1-7",  # it has legs
        (AT_ONCE, "a partition's entries are deleted", *_gone("entries")),
        (AT_ONCE, "a partition's entries and watermark are deleted", *_gone("entries", "watermarks")),
        (AT_ONCE, "a partition's legs are deleted", *_gone("legs")),
    ),
    *_of("creator:ann", (AT_ONCE, "a partition's positions are deleted", *_gone("positions"))),
    *_of("creator:ann", (AT_ONCE, "only positions are left", *_gone("entries", "legs", "watermarks"))),
    *_of("0-0", (AT_ONCE, "only the watermark is left", *_gone("entries", "legs", "positions"))),
    *_of(
        "top-up t1",
        (AT_ONCE, "nothing of a partition is left", *_gone("entries", "legs", "positions", "watermarks")),
    ),
]

ORDERS = [
    *_of(
        "top-up t1",
        (FULL, "a top-up's coins", set_to("topups", "id = 't1'", coins="101")),
        (FULL, "a top-up's user", set_to("topups", "id = 't1'", user_id="'bob'")),
        (FULL, "a top-up's source", set_to("topups", "id = 't1'", source="'gift card'")),
        (FULL, "a top-up's balance", set_to("topups", "id = 't1'", balance="balance + 1")),
        (FULL, "a top-up without a balance", set_to("topups", "id = 't1'", balance="NULL")),
        (FULL, "a journaled top-up is pending", set_to("topups", "id = 't1'", state="'pending'")),
        (FULL, "a top-up has an unknown state", set_to("topups", "id = 't1'", state="'gone'")),
    ),
    *_of("top-up t4", (FULL, "a pending top-up is posted", set_to("topups", "id = 't4'", state="'posted'"))),
    *_of(
        "top-up t9",
        (FULL, "a top-up is invented", "INSERT INTO topups VALUES ('t9', 'alice', 9, 'shop', 1, 'posted', 9, NULL)"),
        (FULL, "a top-up has another id", set_to("topups", "id = 't1'", id="'t9'")),
    ),
    *_of("1-1", (FULL, "a top-up is deleted", "DELETE FROM topups WHERE id = 't1'")),
    *_of(
        "refund g1",
        (FULL, "a refund is pending again", set_to("reversals", "kind = 'refund' AND ref = 'g1'", state="'pending'")),
        (FULL, "a refund is refused", set_to("reversals", "kind = 'refund' AND ref = 'g1'", state="'refused'")),
    ),
    *_of("refund g4", (FULL, "a pending refund is posted", set_to("reversals", "ref = 'g4'", state="'posted'"))),
    *_of("unfreeze u2", (FULL, "a refused order is posted", set_to("reversals", "ref = 'u2'", state="'posted'"))),
    *_of("freeze f1", (FULL, "an order has an unknown state", set_to("reversals", "ref = 'f1'", state="'gone'"))),
    *_of(
        "chargeback t1",
        (
            FULL,
            "a decision's coins",
            set_to("reversals", "ref = 't1'", body="REPLACE(body, '\"coins\":30', '\"coins\":29')"),
        ),
        (FULL, "a decision's creator", set_to("reversals", "ref = 't1'", body="REPLACE(body, 'ben', 'eve')")),
        (FULL, "a decision is deleted", set_to("reversals", "ref = 't1'", body="NULL")),
    ),
    *_of("1-4", (FULL, "a refund is deleted", "DELETE FROM reversals WHERE kind = 'refund' AND ref = 'g1'")),
    *_of("1-7", (FULL, "a chargeback is deleted", "DELETE FROM reversals WHERE kind = 'chargeback'")),
    *_of("2-2", (FULL, "a freeze is deleted", "DELETE FROM reversals WHERE ref = 'f1'")),
    *_of("1-8", (FULL, "an unfreeze is deleted", "DELETE FROM reversals WHERE ref = 'u1'")),
]

CORRUPTIONS = [*COLUMNS, *ENTRIES, *POSTINGS, *POSITIONS, *WATERMARKS, *PARTITIONS, *ORDERS]
