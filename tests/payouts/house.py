"""Creators who earned something, and everything that a payout needs, in the journal alone."""

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, func, insert, select

from server import limits
from server.clock import Clock
from server.journal import earnings, of_books
from server.journal.findings import Report
from server.journal.payouts import payouts, withholdings
from server.journal.rates import register
from server.journal.tables import audits, postings
from server.payouts import rows, told
from server.payouts.asking import Asked, Method, Policy, Requests, Standing
from server.payouts.desk import Desk
from server.payouts.rows import Act, Doing, Payout
from server.payouts.runner import Runner
from server.payouts.told import Said
from server.providers.files import FileProvider
from server.providers.http import HttpProvider
from server.providers.interface import Outcome
from server.rates import Card, Fee, Price, RateCards, Rates
from tests.journal.shop import NOW_MS, Books, Shop
from tests.providers.bank import API_KEY, SECRET, Bank

IBAN = "DE89370400440532013000"
METHOD = Method("service", "Ann Example", account="acct_1")


def rates(**more: Any) -> Rates:
    """2 diamonds are a cent; nothing is taken off unless a test says so."""
    rest: dict[str, Any] = {"maturity_days": 7, "processing_days": 5, "minimum": 100}
    rest |= {"daily_max": 10_000_000, "weekly_max": 10_000_000, "currency": "EUR", "money": Price(2, 1)}
    return Rates(**{**rest, **more})


CARD = Card(
    "t1",
    {
        "default": rates(),
        "JP": rates(currency="JPY", money=Price(2, 3), time_zone="Asia/Tokyo"),
        "KW": rates(currency="KWD", money=Price(20, 7)),
        "DE": rates(
            time_zone="Europe/Berlin", daily_max=2_000, weekly_max=5_000, fee=Fee(25, 150), withholding={"none": 2400}
        ),
    },
)


class House:
    """One site: its journal, its desk, and its two providers."""

    def __init__(self, engine: Engine, bank: Bank, folder: Path) -> None:
        self.engine = engine
        self.bank = bank
        self.now_ms = NOW_MS
        self.clock = Clock(lambda: self.now_ms / 1000)
        self.books = Books(engine)
        register(engine, CARD, NOW_MS)
        self.shops: dict[str, Shop] = {}
        self.standings: dict[str, Standing] = {}
        self.cards = RateCards(CARD)
        service = HttpProvider("service", bank.url, API_KEY, [SECRET], answer_s=1.0)
        self.providers: dict[str, Any] = {"service": service}
        self.providers["files"] = FileProvider("files", folder, self.clock.now_ms)
        self.requests = self.make_requests()
        self.desk = Desk(engine)
        self.runner = self.make_runner()

    def make_requests(self, **policy: int) -> Requests:
        names = tuple(self.providers)
        return Requests(self.engine, self.cards.terms, self.standing, names, Policy(**policy))

    def make_runner(self) -> Runner:
        return Runner(self.engine, self.clock, self.providers, self.standing, lambda _: 5)

    def standing(self, _connection: Connection, creator: str, _now_ms: int) -> Standing:
        return self.standings.get(creator, Standing())

    def earn(self, creator: str = "ann", diamonds: int = 1_000, fans: int = 3, days_ago: int = 60) -> None:
        """So many diamonds from some fans, given so many days ago."""
        for n in range(fans):
            name = f"fan{n}-{creator}"
            fan = self.shops.setdefault(name, Shop(self.books, name))
            share = diamonds // fans + (diamonds % fans if n == 0 else 0)
            fan.buy(share * 2)
            fan.give(share * 2, share, creator, NOW_MS - days_ago * limits.DAY_MS)

    def ask(self, diamonds: int = 1_000, id: str = "p1", creator: str = "ann", **more: Any) -> Payout:
        method = more.pop("method", METHOD)
        return self.requests.request(creator, Asked(id, diamonds, method), creator, self.now_ms)[0]

    def do(self, act: str, id: str = "p1", by: str = "olga", reason: str = "", **more: Any) -> Payout:
        return self.desk.act(id, Doing(act, by, self.now_ms, reason), **more)

    def audited(self, ok: bool = True) -> None:
        """An audit that has begun now is good."""
        zeros = {field: 0 for field in Report.__struct_fields__ if field not in ("ok", "wrong")}
        kept = {
            name: zeros[name]
            for name in Report.__struct_fields__[: Report.__struct_fields__.index("wrong")]
            if name in zeros
        }
        report = Report(
            **{**kept, "ok": ok, "at_ms": self.now_ms, "wrong": [], "began_ms": self.now_ms, "finished_ms": self.now_ms}
        )
        with self.engine.begin() as connection:
            encoded = msgspec.json.encode(report).decode()
            connection.execute(insert(audits).values(at_ms=self.now_ms, ok=int(ok), report=encoded))

    def later(self, ms: int = 3_600_000) -> None:
        self.now_ms += ms

    def round(self, ms: int = 3_600_000) -> None:
        """Time passes, an audit is made, and the journal process does one round."""
        self.later(ms)
        self.audited()
        self.runner.once()

    def out(self, id: str = "p1", **more: Any) -> Payout:
        """Ask, approve, and let it leave."""
        self.ask(id=id, **more)
        self.do("approve", id)
        self.round()
        return self.payout(id)

    def hear(self, outcome: Outcome, id: str = "p1", batch: str | None = None) -> None:
        payout = self.payout(id)
        told.hear(self.engine, Said(payout.key, outcome, payout.provider, batch), self.now_ms)

    def webhook(self, sent: tuple[dict[str, str], bytes]) -> None:
        for each in self.providers["service"].webhook(*sent, 1_000_000):
            told.hear(self.engine, Said(each.key, each.outcome, "service"), self.now_ms)

    # --- what came of it -----------------------------------------------------------------------------------------
    def payout(self, id: str = "p1") -> Payout:
        with self.engine.connect() as connection:
            found = rows.find(connection, id)
            assert found is not None
            return found

    def state(self, id: str = "p1") -> str:
        return self.payout(id).state.value

    def acts(self, id: str = "p1") -> list[Act]:
        with self.engine.connect() as connection:
            return rows.acts_of(connection, id)

    def numbers(self, creator: str = "ann") -> tuple[int, int, int, int]:
        """Available, held, paid and debt. They always add up."""
        with self.engine.connect() as connection:
            figures = earnings.read(connection, creator, self.now_ms)
        left = figures.pending + figures.available + figures.held + figures.paid - figures.debt
        assert figures.credited - figures.taken_back == left
        return figures.available, figures.held, figures.paid, figures.debt

    def withheld(self) -> list[tuple[str, int, int]]:
        columns = withholdings.c.kind, withholdings.c.gross, withholdings.c.withheld
        with self.engine.connect() as connection:
            return [
                tuple(row)
                for row in connection.execute(select(*columns).order_by(withholdings.c.at_ms, withholdings.c.kind))
            ]

    def check(self) -> None:
        """The books are whole, sum to zero, and say of each payout what its row says."""
        with self.engine.connect() as connection:
            assert of_books.look(connection).wrong == []
            query = select(postings.c.asset, func.sum(postings.c.amount)).group_by(postings.c.asset)
            assert {asset: int(total) for asset, total in connection.execute(query) if total} == {}
            for row in connection.execute(select(payouts)):
                payout = rows.of_row(row)
                assert rows.acts_of(connection, payout.id)[-1].after == payout.state.value
