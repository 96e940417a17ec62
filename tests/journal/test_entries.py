"""Every kind of ledger entry goes through everything once: drain, audit, replay into an empty store, comparison."""

import ast
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from protocol.ids import uuid7_ms
from server import limits
from server.booked import CorrectionEntry, HoldEntry, Money, Move, PaidEntry, ReleaseEntry, ReturnEntry, WriteOffEntry
from server.entries import BOOKS, KIND_OF, KINDS, TOTALS, Also, Receipt
from server.journal import pen
from server.journal.audit import Audit
from server.journal.repair import Repair
from server.journal.tables import entries, metadata, quarantine
from server.journal.texts import join
from server.store import keys
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import rows
from tests.journal.payout_rows import write_payout_rows
from tests.site import Site
from tests.tree import ROOT, name_of, parsed, sources

USER = "alice"
PARTITION = keys.partition_of(USER)

Sample = Callable[[Desk], Awaitable[object]]


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


# --- what makes an entry of each kind --------------------------------------------------------------------------------
async def _opened(_desk: Desk) -> None:
    """The node's start has written one."""


async def _topped_up(desk: Desk) -> None:
    await desk.buy(USER, 100)


async def _given(desk: Desk) -> None:
    await desk.give(USER, 30)


async def _refunded(desk: Desk) -> None:
    gift = await desk.give(USER, 30)
    await desk.journal()
    await desk.refund(gift)


async def _charged_back(desk: Desk) -> None:
    topup = await desk.buy("spender", 100)
    await desk.give("spender", 30)
    await desk.charge_back(topup)


async def _frozen(desk: Desk) -> None:
    await desk.site.node.freezes.freeze(USER, "f1")


async def _unfrozen(desk: Desk) -> None:
    await _frozen(desk)
    await desk.site.node.freezes.unfreeze(USER, "u1")


async def _limited(desk: Desk) -> None:
    await desk.site.node.own_limits.set(USER, "l1", 5_000)


# --- in the books ----------------------------------------------------------------------------------------------------
STEP: dict[str, Any] = {"id": "p1", "creator": "ann", "diamonds": 10}
OUT: dict[str, Any] = {"provider": "bank", "money": Money(currency="EUR", net=480, fee=15, withheld=4, rounding=1)}
DECIDED: dict[str, Any] = {"id": "d1", "creator": "ann", "salt": "s", "by": "olga", "reason": "typed twice"}


async def _booked(desk: Desk, *some: msgspec.Struct) -> None:
    await desk.give(USER, 30)
    await desk.journal()
    with desk.site.node.engine.begin() as connection:
        for entry in some:
            pen.write(connection, entry, desk.site.node.clock.now_ms())
        write_payout_rows(connection)


async def _held(desk: Desk) -> None:
    await _booked(desk, HoldEntry(**STEP))


async def _released(desk: Desk) -> None:
    await _booked(desk, HoldEntry(**STEP), ReleaseEntry(**STEP))


async def _paid(desk: Desk) -> None:
    await _booked(desk, HoldEntry(**STEP), PaidEntry(**STEP, **OUT))


async def _returned(desk: Desk) -> None:
    await _booked(desk, HoldEntry(**STEP), PaidEntry(**STEP, **OUT), ReturnEntry(**STEP, **OUT))


async def _written_off(desk: Desk) -> None:
    await _booked(desk, WriteOffEntry(**DECIDED, diamonds=3))


async def _corrected(desk: Desk) -> None:
    moves = Move("diamonds", "creator:ann", 3), Move("diamonds", "house:corrected", -3)
    await _booked(desk, CorrectionEntry(**DECIDED, moves=moves))


SAMPLES: dict[str, Sample] = {
    "open": _opened,
    "topup": _topped_up,
    "gift": _given,
    "refund": _refunded,
    "chargeback": _charged_back,
    "freeze": _frozen,
    "unfreeze": _unfrozen,
    "limit": _limited,
    "payout_hold": _held,
    "payout_release": _released,
    "payout_paid": _paid,
    "payout_return": _returned,
    "write_off": _written_off,
    "correction": _corrected,
}


def _state(stores: Stores) -> dict[str, Any]:
    """What the wallet store holds, without what each opening changes: epoch, process, and its marker.

    Claims on top-ups' ids are not put back: the journal has the orders.
    """
    found: dict[str, Any] = {}
    with stores.wallet.client() as look:
        for key in (each for each in look.keys("*") if "}:t:" not in each):
            match look.type(key):
                case "hash":
                    held = look.hgetall(key)
                    found[key] = {field: held[field] for field in held.keys() - {"epoch", "opened", "confirmed"}}
                case "stream":
                    found[key] = [(id, fields) for id, fields in look.xrange(key) if not id.endswith("-0")]
                case _:
                    found[key] = look.get(key), round(look.pexpiretime(key) / 10_000)
    return found


def _receipt(state: dict[str, Any], row: Any) -> Any:
    """An entry's receipt in the store, if there is one."""
    kind = KINDS[row.kind]
    if kind.receipt is not Receipt.GIFT:
        return state.get(keys.receipt(row.user_id or USER, kind.operation(row.ref)))
    receipts: dict[str, str] = state[keys.receipts(row.partition, uuid7_ms(row.ref))]
    return receipts.get(keys.receipts_field(row.user_id, row.ref))


@pytest.mark.parametrize("name", sorted(KINDS.keys() | SAMPLES.keys()))
async def test_a_kind_through_everything(
    desk: Desk,
    stores: Stores,
    another_site: Callable[[], Awaitable[Site]],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The journal takes it, store and journal agree, and an empty store gets all its effects back.

    An entry of the books has none there: the store is filled without it.
    """
    kind, engine, clock = KINDS[name], desk.site.node.engine, desk.site.node.clock
    await SAMPLES[name](desk)
    await desk.assert_sound()
    row = rows(engine, entries, entries.c.kind == name)[-1]
    entry = join(row.body, row.text)
    assert msgspec.json.encode(msgspec.json.decode(entry, type=kind.body)).decode() == entry
    before = _state(stores)
    assert (kind.receipt is Receipt.NONE) == (_receipt(before, row) is None)
    with stores.wallet.client() as look:
        look.flushall()
    back = await another_site()
    assert back.node.opening.replayed == len(rows(engine, entries, entries.c.partition != limits.BOOKS))
    after = _state(stores)
    assert after == before
    monkeypatch.setattr(limits, "AUDIT_STILL_S", 0.1)  # nobody drains what the other node has opened
    assert (await Audit(engine, desk.money, clock).run()).wrong == []
    if kind.writer == BOOKS:
        reason = {"partition": row.partition, "epoch": 0, "n": 0, "reason": "a test", "body": "", "at_ms": 1}
        with engine.begin() as connection:
            connection.execute(insert(quarantine).values(reason))
    else:
        await desk.money.call("HSET", keys.wallet_meta(row.partition), "frozen", "1")
    await Repair(engine, desk.money, clock).thaw(row.partition)  # a thaw compares once more
    await desk.assert_sound()


def test_every_kind_has_its_sample() -> None:
    """A new kind needs a sample here."""
    assert SAMPLES.keys() == KINDS.keys()


def test_the_table_is_whole() -> None:
    """Each row names things that exist: body, script, table of orders, totals and effects."""
    scripts = {path.stem for path in (ROOT / "server/store/lua").glob("*.lua")}
    assert {kind.body for kind in KINDS.values()} == KIND_OF.keys()
    assert len(KIND_OF) == len(KINDS)
    for name, kind in KINDS.items():
        assert kind.name == name == kind.body.__struct_config__.tag
        assert kind.writer in {BOOKS, *scripts}
        assert kind.closes in {"", *(each.name for each in KINDS.values() if each.writer == BOOKS)}
        assert kind.order in {"", *metadata.tables}
        assert bool(kind.coins) == (kind.total is not None), name
        assert kind.credits == (kind.total_diamonds is not None), name
    moved = [total for kind in KINDS.values() for total in (kind.total, kind.total_diamonds) if total]
    assert sorted(total.counter for total in moved) == sorted(total.counter for total in TOTALS)
    replay = (ROOT / "server/store/lua/refill_replay.lua").read_text()
    assert set(re.findall(r"also == '(\w+)'", replay)) == {also.value for also in Also if also is not Also.NOTHING}


def test_no_kind_is_spelled_elsewhere() -> None:
    """No code decides by a kind's name: the table says what to do."""
    spelled = [
        f"{name_of(path)}:{node.lineno} {node.value}"
        for path in sources("server/journal", "server/money", "server/orders", "server/processes", "server/store")
        if "migrations" not in path.parts  # they keep the names of their time
        for parent in ast.walk(parsed(path))
        if isinstance(parent, ast.Compare | ast.MatchValue | ast.Dict | ast.keyword | ast.Tuple | ast.List | ast.Set)
        for node in ast.iter_child_nodes(parent)
        if isinstance(node, ast.Constant) and node.value in KINDS
    ]
    assert spelled == []
    named = re.compile(rf"[=~]= '({'|'.join(KINDS)})'|\"kind\"")
    scripts = [path for path in sources("server", suffix=".lua") if path.name != "goals_move.lua"]  # kinds of goals
    assert [name_of(path) for path in scripts if named.search(path.read_text())] == []
