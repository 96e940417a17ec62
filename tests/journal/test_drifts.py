"""Derived rows that differ from the entries: an audit finds each within its round, and what is new at once."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, update

from server import limits
from server.journal import database, folding
from server.journal.database import reading
from server.journal.drifts import Drifts, Found, Round, Rounds, of_partition
from server.journal.heads import Head, Heads
from server.journal.tables import creator_days
from server.store import keys
from tests.journal.shop import NOW_MS, Books, Shop
from tests.journal.tampering import tamper

KEY = "an-audit-key-of-at-least-thirty-two-characters"
OTHERS = 3


class Audited:
    """A journal whose audits know how far it is verified. `zoe` and her creators come last in every slice."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.books = Books(engine)
        for name in [*(f"user{n}" for n in range(OTHERS)), "zoe"]:
            self.shop = Shop(self.books, name)
            self.shop.buy(100)
            gift = self.shop.give(30, 15, f"of-{name}")
            self.shop.refund(gift)
            self.shop.journal()
        self.gift = self.shop.give(10, 5, "of-zoe")
        folding.keep(engine, "zoe", folding.fold(engine, "zoe"))
        self.heads = Heads(engine, KEY)
        self.drifts = Drifts(engine, self.heads)
        assert self.look() == Found()

    def look(self, *, everything: bool = False, now_ms: int = NOW_MS) -> Found:
        """The part of an audit that looks at derived rows. It comes after entries are verified."""
        before = self.heads.places()
        for partition, mark in self.books.marks.items():
            if mark.epoch == 0:
                continue
            self.heads.advance(partition, Head(mark.epoch, mark.n, mark.hash), NOW_MS)
        return self.drifts.look(before, now_ms, everything=everything)


@pytest.fixture
def audited(journal: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Audited]:
    """Slices have one day and one wallet."""
    monkeypatch.setattr(limits, "AUDIT_DERIVED_MIN", 1)
    engine = database.connect(journal)
    yield Audited(engine)
    engine.dispose()


INVENTED = "INSERT INTO reversal_parts VALUES ('zoe', 'refund', 'x', 'x', 'of-zoe', 1000, 1, 1, 7)"
CHANGES = {
    "a day changed": ("UPDATE creator_days SET credited = 99 WHERE creator = 'of-zoe'", ""),
    "a day of very many gifts": ("UPDATE creator_days SET gifts = 900000000 WHERE creator = 'of-zoe'", ""),
    "a day removed": ("DELETE FROM creator_days WHERE creator = 'of-zoe'", ""),
    "a day invented": ("INSERT INTO creator_days VALUES ('zz', 1000, 7, 5, 0, 1)", ""),
    "a part invented": (INVENTED, "reversal_parts:zoe"),
    "a part changed": ("UPDATE reversal_parts SET diamonds = 14 WHERE user_id = 'zoe'", "reversal_parts:zoe"),
    "a part removed": ("DELETE FROM reversal_parts WHERE user_id = 'zoe'", "reversal_parts:zoe"),
    "lots changed": ("UPDATE lot_snapshots SET n = n - 1 WHERE user_id = 'zoe'", "lot_snapshots:zoe"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_found_within_a_round(audited: Audited, name: str) -> None:
    """The command finds it in one go, and a slice of some audit; a part and lots name their wallet's partition."""
    statement, where = CHANGES[name]
    assert tamper(audited.engine, statement) == 1
    whole = Drifts(audited.engine, Heads(audited.engine, None)).look({}, NOW_MS, everything=True)
    slices = [audited.look() for _ in range(OTHERS + 3)]
    of_zoe = keys.partition_of("zoe")
    for found in (
        whole,
        Found([w for each in slices for w in each.wrong], [n for each in slices for n in each.nowhere]),
    ):
        assert {(wrong.partition, wrong.where) for wrong in found.wrong} == ({(of_zoe, where)} if where else set())
        assert bool(found.nowhere) == (not where or ("part " in name and "invented" not in name)), found
    with reading(audited.engine).connect() as connection:
        assert {wrong.where for wrong in of_partition(connection, of_zoe)} == ({where} if where else set())
        assert of_partition(connection, (of_zoe + 1) % limits.WALLET_PARTITIONS) == []


def test_what_new_entries_touch_is_compared_at_once(audited: Audited) -> None:
    """A day that a new gift is added to, the parts of a new reversal, and the order of a new top-up."""
    audited.shop.give(1, 1, "of-zoe")
    tamper(audited.engine, "UPDATE creator_days SET gifts = 1 WHERE creator = 'of-zoe'")
    [what] = audited.look().nowhere
    assert what.startswith("creator_days: of-zoe on day 1000: ")
    audited.shop.refund(audited.gift)
    audited.shop.journal()
    tamper(audited.engine, f"UPDATE reversal_parts SET coins = 9 WHERE gift = '{audited.gift}'")
    assert {wrong.where for wrong in audited.look().wrong} == {"reversal_parts:zoe"}
    topup = audited.shop.buy(5)
    tamper(audited.engine, f"UPDATE topups SET coins = 6 WHERE id = '{topup}'")
    assert f"top-up {topup}" in {wrong.where for wrong in audited.look().wrong}


def test_a_reversal_touches_the_day_of_its_gift(audited: Audited) -> None:
    """That day is compared at once, and not when its turn comes."""
    gift = audited.shop.give(1, 1, "zz", NOW_MS + limits.DAY_MS)
    assert audited.look() == Found()
    audited.shop.refund(gift)
    audited.shop.journal()
    tamper(audited.engine, "UPDATE creator_days SET taken_back = 9 WHERE creator = 'zz'")
    [what] = audited.look().nowhere
    assert what.startswith("creator_days: zz on day 1001: ")


def test_a_wrong_day_stays_until_it_is_right(audited: Audited) -> None:
    """It freezes nothing, so each later audit has to say it again, also after a start."""
    with audited.engine.begin() as connection:
        connection.execute(update(creator_days).values(credited=creator_days.c.credited + 1))
    assert sorted(what for _ in range(OTHERS + 2) for what in audited.look().nowhere)
    audited.heads.save()
    again = Heads(audited.engine, KEY)
    assert again.load() == []
    found = Drifts(audited.engine, again).look({}, NOW_MS, everything=False)
    assert len(found.nowhere) == OTHERS + 1
    with audited.engine.begin() as connection:
        connection.execute(update(creator_days).values(credited=creator_days.c.credited - 1))
    assert Drifts(audited.engine, again).look({}, NOW_MS, everything=False).nowhere == []


def test_a_round_goes_on_after_a_start(audited: Audited) -> None:
    """A process that starts often would otherwise never come to the end."""
    for day in range(OTHERS + 3):
        audited.heads.save()
        again = Heads(audited.engine, KEY)
        again.load()
        found = Drifts(audited.engine, again).look({}, NOW_MS + day, everything=False)
        audited.heads = again
        if found.since_ms:
            return
    raise AssertionError("no round has ended")


def test_a_wallet_that_cannot_be_derived(audited: Audited) -> None:
    """Its entries are wrong. The finding says so, and the others are compared all the same."""
    tamper(audited.engine, "UPDATE entries SET ref = 'another' WHERE kind = 'gift' AND user_id = 'user0'")
    found = Drifts(audited.engine, Heads(audited.engine, None)).look({}, NOW_MS, everything=True)
    assert {(wrong.partition, wrong.where) for wrong in found.wrong} == {
        (keys.partition_of("user0"), "reversal_parts:user0")
    }


def test_a_day_of_many_gifts_delays_what_follows() -> None:
    """A day is compared as a whole. If it has more gifts than are due, the next audits have nothing to do."""
    turn = Round()
    assert turn.due(10) == 10
    turn.ahead = 25
    assert [turn.due(10) for _ in range(4)] == [0, 0, 5, 10]


@pytest.mark.parametrize("journal", ["sqlite"], indirect=True)  # it is about times, and not about SQL
def test_a_wallet_of_many_entries_delays_what_follows(audited: Audited) -> None:
    """A wallet is compared as a whole, too: here each has three entries, and one is due."""
    rounds, reached = Rounds(), []
    for _ in range(4):
        audited.drifts._slice_of_wallets(rounds, Found(), NOW_MS, 0.0, 1)
        reached.append(rounds.wallets.at[0])
    assert reached == ["user0", "user0", "user0", "user1"]
