"""Fan points in SQL: a minute counts once, a day up to its cap, and gifts as the ledger has them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from server import limits
from server.journal import database, points
from server.journal.points import Caps, Minute
from tests.journal.shop import NOW_MS, Books, Shop

CAPS = Caps(minute_ms=60_000, watch=60, chat=20, gifts=500)
START = NOW_MS // CAPS.minute_ms
A_DAY = limits.DAY_MS // CAPS.minute_ms
CHATTED, WATCHED = Minute("alice", True), Minute("alice", False)


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def earned(engine: Engine, user: str = "alice", now_ms: int = NOW_MS) -> tuple[int, int, int, int, int, int]:
    found = points.read(engine, CAPS, "ann", user, now_ms)
    assert found.total == found.watch + found.chat + found.gifts
    return found.watch, found.chat, found.gifts, found.day_watch, found.day_chat, found.day_gifts


def test_a_minute_counts_once(engine: Engine) -> None:
    """However often nodes tell of it; an older one that comes late does not count behind a newer one."""
    assert earned(engine) == (0, 0, 0, 0, 0, 0)
    for _ in range(3):
        points.count(engine, CAPS, "ann", START, [WATCHED, Minute("bob", False)])
    assert earned(engine) == (1, 0, 0, 1, 0, 0)
    points.count(engine, CAPS, "ann", START, [CHATTED])
    assert earned(engine) == (1, 1, 0, 1, 1, 0)
    points.count(engine, CAPS, "ann", START + 2, [WATCHED])
    points.count(engine, CAPS, "ann", START + 1, [CHATTED])
    assert earned(engine) == (2, 2, 0, 2, 2, 0), "a chat of a minute in which nothing newer was said"
    points.count(engine, CAPS, "zoe", START, [CHATTED])
    assert earned(engine) == (2, 2, 0, 2, 2, 0)
    assert earned(engine, "bob") == (1, 0, 0, 1, 0, 0)
    assert points.read(engine, CAPS, "ann", "alice", NOW_MS).last_ms == (START + 2) * CAPS.minute_ms


def test_a_day_has_its_caps(engine: Engine) -> None:
    """The next day counts from zero; what was earned stays."""
    for minute in range(CAPS.watch + 5):
        points.count(engine, CAPS, "ann", START + minute, [CHATTED])
    assert earned(engine) == (CAPS.watch, CAPS.chat, 0, CAPS.watch, CAPS.chat, 0)
    tomorrow = NOW_MS + limits.DAY_MS
    assert earned(engine, now_ms=tomorrow)[3:] == (0, 0, 0)
    points.count(engine, CAPS, "ann", START + A_DAY, [WATCHED])
    assert earned(engine, now_ms=tomorrow) == (CAPS.watch + 1, CAPS.chat, 0, 1, 0, 0)
    points.count(engine, CAPS, "ann", START + CAPS.watch + 9, [CHATTED])  # of the day before, and late
    assert earned(engine, now_ms=tomorrow)[:2] == (CAPS.watch + 1, CAPS.chat + 1)


def test_many_tell_at_once(engine: Engine) -> None:
    """Nodes and retries that overlap: nobody waits for another without end, and nothing counts twice."""
    people = [Minute(f"fan{n}", n % 2 == 0) for n in range(50)]

    def tell(n: int) -> None:
        some = people if n % 2 else people[::-1]
        for minute in range(3):
            points.count(engine, CAPS, "ann", START + minute, some)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tell, range(6)))
    for n in (0, 1, 49):
        watch, chat, *_ = earned(engine, f"fan{n}")
        assert (watch, chat) == (3, 3 if n % 2 == 0 else 0)


def test_gifts_are_the_ledgers(engine: Engine) -> None:
    """Up to a day's cap, less what went back."""
    shop = Shop(Books(engine), "alice")
    shop.buy(10_000)
    first = shop.give(40, 20, "ann")
    shop.give(7, 3, "ann", NOW_MS - limits.DAY_MS)
    shop.give(90, 45, "zoe")
    assert earned(engine) == (0, 0, 47, 0, 0, 40)
    shop.refund(first)
    shop.journal()
    assert earned(engine) == (0, 0, 7, 0, 0, 0)
    shop.give(CAPS.gifts + 100, 20, "ann")
    assert earned(engine) == (0, 0, CAPS.gifts + 7, 0, 0, CAPS.gifts)
    assert points.read(engine, CAPS, "ann", "alice", NOW_MS).last_ms == NOW_MS
