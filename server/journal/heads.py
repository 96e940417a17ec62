"""Remembers how far each partition's chain is verified, signed with a key that SQL does not have.

Who can write SQL can recompute a chain, but cannot sign its head. Without LIVEROOM_AUDIT_KEY heads are remembered only
in memory, and every start verifies from the beginning. The counter rises with every audit: it stands in every row, in
the anchor (`anchors`) and in the wallet store, so that older rows and an older database show.
"""

import hashlib
import hmac
import secrets

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Connection, Engine, select

from server import limits
from server.journal.books import FIRST_HASH
from server.journal.bulk import upsert_many
from server.journal.database import reading
from server.journal.findings import Wrong
from server.journal.log import Position
from server.journal.sums import held_by
from server.journal.tables import audit_heads, entries
from server.journal.totals import Counted, Totals, between, count

log = structlog.get_logger()

WHOLE = -1  # the row that is not of a partition: it has the newest counter


class Head(Struct, frozen=True):
    """How far a partition's chain is verified: its last entry, the hash there, and the totals up to there."""

    epoch: int
    n: int
    hash: str
    totals: Totals = Totals()

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @property
    def position(self) -> Position:
        return self.epoch, self.n


START = Head(0, 0, FIRST_HASH)


class Verified(Struct, frozen=True):
    """What is remembered of a partition. `again` is how far the slices of this pass have verified it once more."""

    head: Head
    whole_ms: int  # every row was verified since
    again: Head = START
    again_since_ms: int = 0  # when this pass began


class Newest(Struct, frozen=True):
    """Which database an audit saw, and the audit's number there."""

    instance: str = ""
    counter: int = 0

    def __str__(self) -> str:
        return f"{self.instance} {self.counter}"


class _Row(Struct, frozen=True):
    """A row of `audit_heads`."""

    partition: int
    instance: str
    counter: int
    key_id: str
    state: str
    mac: str


_COLUMNS = [audit_heads.c[name] for name in _Row.__struct_fields__]


class Heads:
    """The verified heads of all partitions: in memory between audits, and in SQL between starts."""

    def __init__(self, engine: Engine, key: str | None) -> None:
        self._engine = engine
        self._key = key.encode() if key else None
        self._key_id = hashlib.sha256(b"id:" + self._key).hexdigest()[:16] if self._key else ""
        self._loaded = False
        self._suspects: set[int] = set()  # verified from the beginning, without moving their heads
        self.newest = Newest()
        self.known: dict[int, Verified] = {}
        self.fresh: set[int] = set()  # verified from the beginning in this audit
        self.doubts: list[str] = []  # what is wrong with the memory itself, and with no partition
        self.of_whole = "{}"  # what others remember there, of no partition (`drifts`)

    def head(self, partition: int) -> Head:
        """Where the next audit of a partition begins."""
        known = self.known.get(partition)
        return START if known is None or partition in self._suspects else known.head

    def places(self) -> dict[int, Position]:
        """How far each partition is verified that was verified before."""
        return {partition: known.head.position for partition, known in self.known.items()}

    def advance(self, partition: int, head: Head, now_ms: int) -> None:
        """Note that a partition is verified up to `head`."""
        if partition in self._suspects:
            return
        known = self.known.get(partition)
        if known is None:
            self.fresh.add(partition)
        self.known[partition] = Verified(head, now_ms) if known is None else msgspec.structs.replace(known, head=head)

    def forget(self, partition: int) -> None:
        """Verify a partition from the beginning the next time."""
        self.known.pop(partition, None)

    # --- in SQL --------------------------------------------------------------------------------------------------
    def load(self) -> list[Wrong]:
        """Read the newest counter, and when first called the heads. Returns what is forged. Raises SQLAlchemyError."""
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            query = select(*_COLUMNS).order_by(audit_heads.c.partition)
            if self._loaded:
                query = query.where(audit_heads.c.partition == WHOLE)
            rows = [_Row(*row) for row in connection.execute(query)]
            whole = next((row for row in rows if row.partition == WHOLE), None)
            self.newest = Newest() if whole is None else Newest(whole.instance, whole.counter)
            if self._loaded:
                if whole is None:  # a person has accepted the database: begin again
                    self.known.clear()
                return []
            self._loaded = True
            self._say_whose(rows)
            return [wrong for row in rows if (wrong := self._believe(connection, row)) is not None]

    def _say_whose(self, rows: list[_Row]) -> None:
        """Say once that heads are not believed. Without a key none are signed, and none are expected to be."""
        others = sum(row.key_id != self._key_id for row in rows)
        if others:
            ours = "this one" if self._key is not None else "none, because LIVEROOM_AUDIT_KEY is not set"
            log.warning("audit_heads_of_another_key", heads=others, key=ours, then="verified from the beginning")

    def _believe(self, connection: Connection, row: _Row) -> Wrong | None:
        """Take over a row, or say what is wrong with it."""
        if self._key is None or row.key_id != self._key_id:
            return None
        partition = row.partition
        forged = not hmac.compare_digest(row.mac, self._sign(row))
        if partition == WHOLE:
            self.doubts = ["the newest counter's signature is forged"] if forged else []
            self.of_whole = "{}" if forged else row.state
            return None
        if forged:
            return Wrong(partition, "head", "its signature is forged")
        if (row.instance, row.counter) != (self.newest.instance, self.newest.counter):
            return Wrong(partition, "head", f"it is of {row.instance} {row.counter}, not of {self.newest}")
        known = msgspec.json.decode(row.state, type=Verified)
        at = (entries.c.partition == partition, entries.c.epoch == known.head.epoch, entries.c.n == known.head.n)
        found = connection.execute(select(entries.c.hash).where(*at)).scalar()
        if found != known.head.hash:
            return Wrong(partition, str(known.head), "its hash is not the one that was verified")
        self.known[partition] = known
        return None

    def save(self) -> None:
        """Remember the heads under the next counter. Raises SQLAlchemyError."""
        with self._engine.begin() as connection:
            at = audit_heads.c.partition == WHOLE
            row = connection.execute(select(audit_heads.c.instance, audit_heads.c.counter).where(at)).first()
            instance, counter = (secrets.token_hex(8), 0) if row is None else (row.instance, row.counter)
            newest = Newest(instance, counter + 1)
            states = {WHOLE: self.of_whole}
            if self._key is not None:
                states |= {p: msgspec.json.encode(known).decode() for p, known in self.known.items()}
            rows = [self._signed(partition, newest, state) for partition, state in states.items()]
            connection.execute(audit_heads.delete().where(audit_heads.c.partition.not_in(states)))
            upsert_many(connection, audit_heads, [msgspec.structs.astuple(row) for row in rows])
        self.newest, self.doubts = newest, []

    def clear(self) -> None:
        """Forget everything, also in SQL. Raises SQLAlchemyError."""
        with self._engine.begin() as connection:
            connection.execute(audit_heads.delete())
        self.known.clear()

    def _signed(self, partition: int, newest: Newest, state: str) -> _Row:
        row = _Row(partition, newest.instance, newest.counter, self._key_id, state, "")
        return row if self._key is None else msgspec.structs.replace(row, mac=self._sign(row))

    def _sign(self, row: _Row) -> str:
        assert self._key is not None
        text = f"{row.instance} {row.partition} {row.counter} {row.key_id} {row.state}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    # --- counts --------------------------------------------------------------------------------------------------
    def count(self) -> list[Wrong]:
        """Compare the counts and sums of all rows with the heads. Raises SQLAlchemyError.

        This finds rows that were inserted, removed or changed below a head. Their partitions are verified from the
        beginning, so that the first wrong row is named.
        """
        with reading(self._engine, limits.SQL_AUDIT_S).connect() as connection:
            return self.count_in(connection)

    def count_in(self, connection: Connection) -> list[Wrong]:
        """The same, as one transaction sees it. Raises SQLAlchemyError."""
        wrong: list[Wrong] = []
        self._suspects.clear()
        found = count(connection)
        for partition, known in self.known.items():
            counted = found.get(partition, Counted())
            if counted.mark < known.head.position:
                what = f"it is behind the verified {known.head}"
                wrong.append(Wrong(partition, "watermark", what))
                continue
            new = between(connection, partition, known.head.position, counted.mark)
            wrong += self._differ(partition, known.head.totals.plus(new), counted)
        self._suspects.update(each.partition for each in wrong)
        return wrong

    def _differ(self, partition: int, totals: Totals, counted: Counted) -> list[Wrong]:
        wrong = [Wrong(partition, "rows", what) for what in totals.flat.differs(counted.rows)]
        coins, _ = held_by(totals.sums)
        for what, ours, theirs in (
            ("coins", coins, counted.held.coins),
            ("diamonds", totals.credits, counted.held.diamonds),
        ):
            if ours != theirs:
                wrong.append(Wrong(partition, "positions", f"{what} sum to {theirs}, not {ours}"))
        return wrong
