"""Personal text of gifts: the journal keeps it beside the chained body, and lives on when it is erased."""

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from server import limits
from server.journal.audit import Audit
from server.journal.books import LogEntry, Unreadable, parse
from server.journal.tables import entries
from server.journal.texts import digest, join, split
from server.store import keys
from tests.conftest import Stores
from tests.journal.desk import Desk, a_desk
from tests.journal.ledger import drained, rows
from tests.money import a_gift
from tests.site import Site


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    async with a_desk(site, site.settings.wallet_address) as made:
        yield made


def parsed(entry: bytes) -> LogEntry | Unreadable:
    return parse((b"1-1", [b"t", b"1", b"b", b"0", b"d", b"0", b"k", b"0", b"e", entry]))


def test_split_and_join() -> None:
    """An entry without its text names the digest; both parts together are the entry again."""
    entry = a_gift("alice", 10, creator="ann").entry
    body, text = split(entry)
    assert text is not None
    assert (b"Alice" in body, b"Ann" in body, b"fp" in body) == (False, False, False)
    assert msgspec.json.decode(body)["digest"] == digest(text)
    assert join(body.decode(), text.decode()).encode() == entry
    assert split(body) == (body, None), "an erased entry comes back from the log as it is"
    assert split(b'{"kind":"open","partition":3}') == (b'{"kind":"open","partition":3}', None)


def test_equal_texts_have_other_digests() -> None:
    """The salt is random, so that a digest tells nobody whether two gifts have the same names and message."""
    one, other = (split(a_gift("alice", 10, id="g").entry) for _ in range(2))
    assert one[0] != other[0]


@pytest.mark.parametrize(
    "added", [b',"coins":1', b',"creator":"mallory"', b',"kind":"topup"', b',"wish":1', b"}", b' {"a":1}']
)
def test_text_says_nothing_that_is_booked(added: bytes) -> None:
    """The body is booked without the text: an entry whose text has fields of a body cannot be read."""
    entry = a_gift("alice", 10).entry
    assert isinstance(parsed(entry), LogEntry)
    assert isinstance(parsed(entry[:-1] + added + b"}"), Unreadable)


def test_a_message_cannot_look_like_the_text() -> None:
    """Users choose some of the strings before the text. In JSON their quotes have backslashes."""
    entry = a_gift("alice", 10, combo='x","salt":"y', room='"salt":"').entry
    body, _ = split(entry)
    assert msgspec.json.decode(body)["combo"] == 'x","salt":"y'


async def test_erased_text(desk: Desk, stores: Stores, another_site: Callable[[], Awaitable[Site]]) -> None:
    """Without the texts the audit is content, refunds work, and an empty store gets all balances back."""
    await desk.buy("cleo", 100)
    gifts = [await desk.give("cleo", 10) for _ in range(3)]
    await desk.journal()
    engine = desk.site.node.engine
    gift = entries.c.kind == "gift"
    texts = [row.text for row in rows(engine, entries, gift)]
    assert all("Cleo" in text and "Ann" in text for text in texts)
    assert not any("Cleo" in row.body for row in rows(engine, entries))
    with engine.begin() as connection:
        connection.execute(update(entries).where(entries.c.user_id == "cleo").values(text=None))
    report = await Audit(engine, desk.money, desk.site.node.clock).run()
    assert report.wrong == []
    with stores.wallet.client() as look:
        look.flushall()
    back = await another_site()
    await desk.assert_sound()
    assert (await back.node.wallet.view("cleo")).coins == 70
    await desk.refund(gifts[1], back)
    await desk.journal()
    with stores.wallet.client() as look:
        log = look.xrange(keys.log(keys.partition_of("cleo")))
    assert [fields["e"] for _, fields in log if '"kind":"gift"' in fields["e"]] == [
        row.body for row in rows(engine, entries, gift)
    ]


async def test_a_gift_without_its_text_is_not_shown_again(
    desk: Desk, stores: Stores, another_site: Callable[[], Awaitable[Site]]
) -> None:
    """A node that died never showed the gift, and its text is gone: nothing is left to show. That logs nothing."""
    await desk.buy("cleo", 100)
    await desk.give("cleo", 10)
    await desk.journal()
    with desk.site.node.engine.begin() as connection:
        connection.execute(update(entries).values(text=None))
    with stores.wallet.client() as look:
        look.flushall()
    back = await another_site()
    await back.node.wallet.spend(a_gift("cleo", 20))
    async with back.draining(ahead_s=limits.RETELL_AFTER_MS / 1000 + 1) as drain:
        with capture_logs() as logs:
            await drained(drain)
            await drain.retell_once()
    told = [each["event"] for each in logs if each["event"].startswith("gift_")]
    assert told == ["gift_of_another_broadcast"], "only of the second gift"


async def test_replay_restores_the_text(
    desk: Desk, stores: Stores, another_site: Callable[[], Awaitable[Site]]
) -> None:
    """An empty store gets its entries back byte for byte, so that a room can still show the gift."""
    await desk.buy("cleo", 100)
    await desk.give("cleo", 10)
    await desk.journal()

    def log() -> list[str]:
        with stores.wallet.client() as look:
            found = look.xrange(keys.log(keys.partition_of("cleo")))
            return [fields["e"] for id, fields in found if not id.endswith("-0")]

    before = log()
    assert "Cleo" in before[-1]
    with stores.wallet.client() as look:
        look.flushall()
    await another_site()
    assert log() == before
