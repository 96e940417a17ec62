"""The report of a month: what every account had and has, what was sold where, and what is owed. It adds up to zero."""

from collections.abc import Iterator

import msgspec
import pytest
from sqlalchemy import Engine

from server import limits
from server.entries import TopUpEntry
from server.journal import database, trial
from server.journal.database import reading
from server.journal.trial import Line
from server.processes import report
from server.settings import Unusable
from tests.journal.shop import Books, Shop
from tests.journal.small import MS, fill
from tests.journal.tampering import tamper
from tests.stores import settings

OCTOBER = 1_759_276_800_000, 1_761_955_200_000  # 2025, when the small journal was written
assert OCTOBER[0] <= MS < OCTOBER[1]


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def lines(engine: Engine, since_ms: int, until_ms: int) -> list[Line]:
    with reading(engine).connect() as connection:
        return trial.lines(connection, since_ms, until_ms)


def page(engine: Engine, since_ms: int, until_ms: int) -> list[str]:
    with reading(engine).connect() as connection:
        return [" ".join(line.split()) for line in report.page_of(connection, "2025-10", since_ms, until_ms)[1]]


def test_the_trial_balance(engine: Engine) -> None:
    """Each account with what it had, what moved and what it has, in coins, diamonds and each currency."""
    fill(engine)
    found = lines(engine, *OCTOBER)
    assert {(line.asset, line.account): line.after for line in found} == {
        ("coins", "house:sold"): -300,
        ("coins", "house:spent"): 50,
        ("coins", "viewers"): 250,
        ("diamonds", "creators"): 25,
        ("diamonds", "held"): 7,
        ("diamonds", "house:awarded"): -25,
        ("diamonds", "house:corrected"): -3,
        ("diamonds", "house:loss"): -4,
        ("diamonds", "house:redeemed"): 0,
        ("money:EUR", "house:fees"): 0,
        ("money:EUR", "house:redeemed"): 0,
        ("money:EUR", "house:rounding"): 0,
        ("money:EUR", "house:withheld"): 0,
        ("money:EUR", "provider:bank"): 0,
    }
    assert all(line.before == 0 for line in found)
    assert trial.out_of_balance(found) == {}


def test_months_follow_each_other(engine: Engine) -> None:
    """What a month ends with is what the next begins with. A month's last millisecond is in it."""
    fill(engine)
    whole = lines(engine, 0, 2**62)
    for cut in (MS, MS + 1, MS + 5, MS + 9):
        before, after = lines(engine, 0, cut), lines(engine, cut, 2**62)
        assert {(line.asset, line.account): line.before for line in after if line.before} == {
            (line.asset, line.account): line.after for line in before if line.after
        }
        assert [(line.asset, line.account, line.after) for line in after] == [
            (line.asset, line.account, line.after) for line in whole
        ]
        assert trial.out_of_balance(before) == trial.out_of_balance(after) == {}


def test_income_by_region(engine: Engine) -> None:
    """Sales have their currency and region, and a chargeback takes them back. Without a price only coins are known."""
    shop = Shop(Books(engine), "cleo")
    sales = (("EUR", 499, "DE"), ("EUR", 499, "DE"), ("EUR", 599, "FR"), ("JPY", 800, "JP"))
    for n, (currency, minor, region) in enumerate(sales):
        entry = msgspec.json.encode(TopUpEntry(id=f"t{n}", viewer="cleo", coins=100, source="shop", fp="f"))
        sale = msgspec.json.encode({"currency": currency, "minor": minor, "region": region})
        shop.coins += 100
        shop.topups[f"t{n}"] = 100
        whole = b'%b,"sale":%b}' % (entry[:-1], sale)
        shop.books.write(shop.partition, "t", shop.now_ms, "b", shop.coins, "e", whole)
    shop.buy(50)
    shop.charge_back("t1")
    shop.journal()
    found = page(engine, shop.now_ms, shop.now_ms + 1)
    at = found.index("Income region coins sold charged back")
    assert found[at + 1 : at + 5] == ["no price - 50 0 0", "EUR DE 200 998 499", "EUR FR 100 599 0", "JPY JP 100 800 0"]
    assert "to viewers: 350 coins that are not spent" in found


def test_the_command(
    journal: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints one page, and fails when a balance is not zero or the month is none."""
    engine = database.connect(journal)
    fill(engine)
    site = settings(tmp_path_factory.mktemp("report"), LIVEROOM_JOURNAL_URL=journal)
    assert report.run(site, "2025-10") == 0
    said = capsys.readouterr().out
    assert "Every asset adds up to zero." in said
    assert "to creators: 25 diamonds, and 7 that payouts hold" in said
    assert len(said.splitlines()) < 50
    tamper(engine, f"UPDATE legs SET amount = amount + 5 WHERE partition = {limits.BOOKS} AND n = 0 AND leg = 1")
    engine.dispose()
    assert report.run(site, "2025-10") == 1
    assert "diamonds are out of balance by 5." in capsys.readouterr().out
    for month in ("2025", "2025-13", "", "november", "2025-10-01"):
        with pytest.raises(Unusable, match="is not a month"):
            report.run(site, month)
