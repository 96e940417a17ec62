"""The table of corruptions in SQL: what is changed by hand, the first wrong row, and which audit finds it.

The `incremental` audit remembers that all entries were correct and looks only at new ones, and at sums over all. Only
the `full` audit derives every entry again. Both compare all orders.
"""

from typing import NamedTuple

from tests.journal.small import ALICE, BOB

GIFT = f"partition = {ALICE} AND epoch = 1 AND n = 3"  # alice gave ben 20 coins: g2
LEGS = f"partition = {ALICE} AND epoch = 1 AND n = 3 AND leg"
IN = f"partition = {ALICE}"
E = "entries"
DOUBLE = "partition, epoch, n, leg + 4, asset, account, amount"
HASH_BEFORE = f"SELECT hash FROM entries WHERE {IN} AND epoch = 2 AND n = 1"
COPY = (
    "kind, user_id, ref || 'x', room_id, creator_id, coins, diamonds, balance, credited, combo_count, at_ms, body, "
    "hash, version, text"
)


class Corruption(NamedTuple):
    name: str
    where: str  # the first finding's: a log id, an account or an order
    by: str
    statements: tuple[str, ...]
    partitions: frozenset[int] = frozenset({ALICE})


def _of(where: str, by: str, *each: tuple[str, ...]) -> list[Corruption]:
    return [Corruption(name, where, by, statements) for name, *statements in each for statements in [tuple(statements)]]


def _set(table: str, where: str, **values: str) -> str:
    return f"UPDATE {table} SET {', '.join(f'{column} = {value}' for column, value in values.items())} WHERE {where}"


def _legs(n: int, *legs: tuple[int, str, str, int], epoch: int = 1) -> str:
    rows = (f"({ALICE}, {epoch}, {n}, {leg}, '{asset}', '{acc}', {amount})" for leg, asset, acc, amount in legs)
    return f"INSERT INTO postings VALUES {', '.join(rows)}"


BODY = 'REPLACE(body, \'"creator":"ben"\', \'"creator":"eve"\')'

COLUMNS = [
    *_of(
        "1-3",
        "full",
        ("user_id", _set(E, GIFT, user_id="'eve'")),
        ("ref", _set(E, GIFT, ref="'another'")),
        ("room_id", _set(E, GIFT, room_id="'elsewhere'")),
        ("no room_id", _set(E, GIFT, room_id="NULL")),
        ("balance", _set(E, GIFT, balance="balance + 1")),
        ("no balance", _set(E, GIFT, balance="NULL")),
        ("credited", _set(E, GIFT, credited="credited + 1")),
        ("combo_count", _set(E, GIFT, combo_count="4")),
        ("at_ms", _set(E, GIFT, at_ms="at_ms - 86400000")),
        ("body", _set(E, GIFT, body=BODY)),
        ("a body that is no JSON", _set(E, GIFT, body="'{'")),
        ("a space in a body", _set(E, GIFT, body="body || ' '")),
        ("hash", _set(E, GIFT, hash="'0'")),
        ("version", _set(E, GIFT, version="1")),
        ("a version that does not exist", _set(E, GIFT, version="3")),
        ("text", _set(E, GIFT, text="REPLACE(text, 'Alice', 'Eve')")),
        ("another gift's text", _set(E, GIFT, text=f"(SELECT text FROM entries WHERE {IN} AND epoch = 1 AND n = 2)")),
    ),
    *_of(
        "1-3",
        "incremental",
        ("kind", _set(E, GIFT, kind="'topup'")),
        ("an unknown kind", _set(E, GIFT, kind="'wish'")),
        ("creator_id", _set(E, GIFT, creator_id="'eve'")),
        ("no creator_id", _set(E, GIFT, creator_id="NULL")),
        ("coins", _set(E, GIFT, coins="coins + 5000")),
        ("diamonds", _set(E, GIFT, diamonds="diamonds + 5000")),
        ("body and creator_id", _set(E, GIFT, body=BODY, creator_id="'eve'")),
    ),
    *_of("1-0", "full", ("a text where none was", _set(E, f"{IN} AND epoch = 1 AND n = 0", text="'{}'"))),
    *_of("2-2", "incremental", ("the last hash", _set(E, f"{IN} AND epoch = 2 AND n = 2", hash="'0'"))),
    *_of("1-1", "incremental", ("bought coins", _set(E, f"{IN} AND ref = 't1' AND kind = 'topup'", coins="90"))),
    *_of("1-4", "incremental", ("refunded coins", _set(E, f"{IN} AND kind = 'refund'", coins="31"))),
    *_of("1-4", "full", ("a refund's diamonds", _set(E, f"{IN} AND kind = 'refund'", diamonds="0"))),
    *_of("1-7", "incremental", ("charged back coins", _set(E, f"{IN} AND kind = 'chargeback'", coins="29"))),
]

ENTRIES = [
    *_of(
        "1-3",
        "incremental",
        ("an entry is deleted", f"DELETE FROM entries WHERE {GIFT}"),
        ("an entry gets another number", _set(E, GIFT, n="99")),
        ("an entry gets another epoch", _set(E, GIFT, epoch="3")),
    ),
    *_of(
        "1-1", "incremental", ("the first entry is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 1 AND n = 0")
    ),
    *_of(
        "2-1", "incremental", ("an OPEN marker is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 0")
    ),
    *_of(
        "2-1", "incremental", ("the last entry is deleted", f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 2")
    ),
    *_of(
        "freeze f1",
        "incremental",
        (
            "the last entry is deleted, and the watermark moved back",
            f"DELETE FROM entries WHERE {IN} AND epoch = 2 AND n = 2",
            f"UPDATE watermarks SET n = 1, hash = ({HASH_BEFORE}) WHERE {IN}",
        ),
    ),
    *_of(
        "1-2",
        "full",
        (
            "two entries are swapped",
            _set(E, f"{IN} AND epoch = 1 AND n = 2", n="99"),
            _set(E, f"{IN} AND epoch = 1 AND n = 3", n="2"),
            _set(E, f"{IN} AND epoch = 1 AND n = 99", n="3"),
        ),
    ),
    *_of(
        "2-3",
        "incremental",
        ("an entry is added", f"INSERT INTO entries SELECT partition, 2, 3, {COPY} FROM entries WHERE {GIFT}"),
    ),
    *_of(
        "3-0",
        "incremental",
        (
            "an epoch is added",
            f"INSERT INTO entries SELECT partition, 3, 0, {COPY} FROM entries WHERE {IN} AND epoch = 2 AND n = 0",
        ),
    ),
    Corruption(
        "an entry is moved to another partition",
        "1-3",
        "incremental",
        (_set(E, GIFT, partition=str(BOB)),),
        frozenset({ALICE, BOB}),
    ),
]

ENTRIES += _of(
    "1-4",
    "incremental",
    (
        "an entry is deleted with its postings",
        f"DELETE FROM entries WHERE {GIFT}",
        f"DELETE FROM postings WHERE {GIFT}",
    ),
)

ENTRIES += _of("1--1", "incremental", ("an entry has a negative number", _set(E, GIFT, n="-1")))

POSTINGS = [
    *_of(
        "1-3",
        "incremental",
        ("the legs move to another epoch", _set("postings", GIFT, epoch="2")),
        ("a leg is deleted", f"DELETE FROM postings WHERE {LEGS} = 0"),
        ("all legs of an entry are deleted", f"DELETE FROM postings WHERE {GIFT}"),
        ("an amount is changed", _set("postings", f"{LEGS} = 3", amount="amount + 1")),
        ("two amounts are changed alike", _set("postings", f"{LEGS} IN (0, 1)", amount="amount * 2")),
        ("a leg moves to another viewer", _set("postings", f"{LEGS} = 0", account="'viewer:eve'")),
        ("a leg moves to another creator", _set("postings", f"{LEGS} = 3", account="'creator:eve'")),
        ("a leg moves to another asset", _set("postings", f"{LEGS} = 1", asset="'diamonds'")),
        (
            "the legs are doubled",
            f"INSERT INTO postings SELECT {DOUBLE} FROM postings WHERE {GIFT}",
        ),
        (
            "legs for somebody else are invented",
            _legs(3, (4, "coins", "house:sold", -9), (5, "coins", "viewer:eve", 9)),
        ),
    ),
    *_of(
        "1-3",
        "full",
        ("a leg moves to another house account", _set("postings", f"{LEGS} = 1", account="'house:sold'")),
        ("a leg gets another number", _set("postings", f"{LEGS} = 3", leg="7")),
        ("legs of the house are invented", _legs(3, (4, "coins", "house:sold", -9), (5, "coins", "house:spent", 9))),
        ("the legs move to an entry after it", _set("postings", GIFT, n="9")),
    ),
    *_of(
        "1-7",
        "full",
        (
            "a chargeback takes from another creator",
            _set("postings", f"{IN} AND n = 7 AND leg = 3", account="'creator:ann'"),
        ),
    ),
    *_of(
        "1-99",
        "full",
        ("legs without an entry", _legs(99, (0, "coins", "house:sold", -9), (1, "coins", "house:spent", 9))),
    ),
    *_of(
        "9-1",
        "incremental",
        ("legs of an epoch to come", _legs(1, (0, "coins", "house:sold", -9), (1, "coins", "house:spent", 9), epoch=9)),
    ),
    Corruption(
        "legs move to another partition",
        "1-3",
        "incremental",
        (_set("postings", GIFT, partition=str(BOB)),),
        frozenset({ALICE, BOB}),
    ),
]

POSITIONS = [
    *_of(
        "viewer:aaa",
        "incremental",
        (
            "a viewer's position has another name",
            _set("positions", f"{IN} AND account = 'viewer:alice'", account="'viewer:aaa'"),
        ),
    ),
    *_of(
        "viewer:alice",
        "incremental",
        ("a viewer's position", _set("positions", f"{IN} AND account = 'viewer:alice'", balance="balance + 1")),
        ("a viewer's position is deleted", f"DELETE FROM positions WHERE {IN} AND account = 'viewer:alice'"),
    ),
    *_of(
        "creator:ann",
        "incremental",
        ("a creator's position", _set("positions", f"{IN} AND account = 'creator:ann'", balance="balance - 1")),
        ("a creator's position is deleted", f"DELETE FROM positions WHERE {IN} AND account = 'creator:ann'"),
    ),
    *_of(
        "viewer:eve",
        "incremental",
        ("a viewer is invented", f"INSERT INTO positions VALUES ({ALICE}, 'viewer:eve', 9)"),
    ),
    *_of(
        "viewer:eve",
        "full",
        ("an empty wallet is invented", f"INSERT INTO positions VALUES ({ALICE}, 'viewer:eve', 0)"),
    ),
    *_of(
        "creator:eve",
        "incremental",
        ("a creator is invented", f"INSERT INTO positions VALUES ({ALICE}, 'creator:eve', 9)"),
    ),
    *_of(
        "house:sold",
        "incremental",
        ("the house has a position", f"INSERT INTO positions VALUES ({ALICE}, 'house:sold', 9)"),
    ),
]

WATERMARKS = _of(
    "2-2",
    "incremental",
    ("the watermark is deleted", f"DELETE FROM watermarks WHERE {IN}"),
    ("the watermark is moved back", f"UPDATE watermarks SET n = 1 WHERE {IN}"),
    ("the watermark is moved ahead", f"UPDATE watermarks SET n = 9 WHERE {IN}"),
    ("the watermark has another epoch", f"UPDATE watermarks SET epoch = 3 WHERE {IN}"),
    ("the watermark has another hash", f"UPDATE watermarks SET hash = '0' WHERE {IN}"),
)


def _gone(*tables: str) -> tuple[str, ...]:
    return tuple(f"DELETE FROM {table} WHERE {IN}" for table in tables)


PARTITIONS = [
    *_of(
        "1-1",
        "incremental",
        ("a partition's entries are deleted", *_gone("entries")),
        ("a partition's entries and watermark are deleted", *_gone("entries", "watermarks")),
        ("a partition's postings are deleted", *_gone("postings")),
    ),
    *_of("viewer:alice", "incremental", ("a partition's positions are deleted", *_gone("positions"))),
    *_of("creator:ann", "incremental", ("only positions are left", *_gone("entries", "postings", "watermarks"))),
    *_of("0-0", "incremental", ("only the watermark is left", *_gone("entries", "postings", "positions"))),
    *_of(
        "topup t1",
        "incremental",
        ("nothing of a partition is left", *_gone("entries", "postings", "positions", "watermarks")),
    ),
]

ORDERS = [
    *_of(
        "topup t1",
        "incremental",
        ("a top-up's coins", _set("topups", "id = 't1'", coins="101")),
        ("a top-up's user", _set("topups", "id = 't1'", user_id="'bob'")),
        ("a top-up's source", _set("topups", "id = 't1'", source="'gift card'")),
        ("a top-up's balance", _set("topups", "id = 't1'", balance="balance + 1")),
        ("a top-up without a balance", _set("topups", "id = 't1'", balance="NULL")),
        ("a journaled top-up is pending", _set("topups", "id = 't1'", state="'pending'")),
        ("a top-up has an unknown state", _set("topups", "id = 't1'", state="'gone'")),
    ),
    *_of("topup t4", "incremental", ("a pending top-up is posted", _set("topups", "id = 't4'", state="'posted'"))),
    *_of(
        "topup t9",
        "incremental",
        ("a top-up is invented", "INSERT INTO topups VALUES ('t9', 'alice', 9, 'shop', 1, 'posted', 9)"),
        ("a top-up has another id", _set("topups", "id = 't1'", id="'t9'")),
    ),
    *_of("1-1", "incremental", ("a top-up is deleted", "DELETE FROM topups WHERE id = 't1'")),
    *_of(
        "refund g1",
        "incremental",
        ("a refund is pending again", _set("reversals", "kind = 'refund' AND ref = 'g1'", state="'pending'")),
        ("a refund is refused", _set("reversals", "kind = 'refund' AND ref = 'g1'", state="'refused'")),
    ),
    *_of("refund g4", "incremental", ("a pending refund is posted", _set("reversals", "ref = 'g4'", state="'posted'"))),
    *_of(
        "unfreeze u2", "incremental", ("a refused order is posted", _set("reversals", "ref = 'u2'", state="'posted'"))
    ),
    *_of(
        "freeze f1", "incremental", ("an order has an unknown state", _set("reversals", "ref = 'f1'", state="'gone'"))
    ),
    *_of(
        "chargeback t1",
        "incremental",
        ("a decision's coins", _set("reversals", "ref = 't1'", body="REPLACE(body, '\"coins\":30', '\"coins\":29')")),
        ("a decision's creator", _set("reversals", "ref = 't1'", body="REPLACE(body, 'ben', 'eve')")),
        ("a decision is deleted", _set("reversals", "ref = 't1'", body="NULL")),
    ),
    *_of("1-4", "incremental", ("a refund is deleted", "DELETE FROM reversals WHERE kind = 'refund' AND ref = 'g1'")),
    *_of("1-7", "incremental", ("a chargeback is deleted", "DELETE FROM reversals WHERE kind = 'chargeback'")),
    *_of("2-2", "incremental", ("a freeze is deleted", "DELETE FROM reversals WHERE ref = 'f1'")),
    *_of("1-8", "incremental", ("an unfreeze is deleted", "DELETE FROM reversals WHERE ref = 'u1'")),
]

CORRUPTIONS = [*COLUMNS, *ENTRIES, *POSTINGS, *POSITIONS, *WATERMARKS, *PARTITIONS, *ORDERS]
