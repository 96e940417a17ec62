"""One partition's audit: what to compare next, what the store has of it, and what differs from the journal.

A step is `plan` (from the journal), `read` (of the store), and `settle` (against the journal, once that has reached the
log id at which the store was read). Steps follow until the run's share is compared.
"""

import sys
from collections.abc import Sequence
from zlib import crc32

from sqlalchemy import Connection

from server import limits
from server.entries import NUMBER_MAX
from server.journal import asof, compare, receipts, tail
from server.journal.books import LogEntry, Unreadable
from server.journal.compare import NOTHING, Stored, StoreSide, WrongType
from server.journal.findings import Wrong
from server.journal.heads import Head, Heads
from server.journal.log import Position
from server.journal.scan import Names
from server.journal.seen import Seen
from server.journal.sums import Sums
from server.journal.turn import Turn
from server.journal.verify import verify
from server.store.client import StoreError


class Part:
    """Remembers between runs how far the partition is verified. After a run it has what was found."""

    def __init__(self, partition: int, heads: Heads) -> None:
        self.partition = partition
        self.turn = Turn()
        self.found = Names()  # by the scan, not compared yet
        self.compared_ms: int | None = None  # when its totals were
        self._heads = heads
        self._log_at = NOTHING
        self._until = NOTHING
        self._receipts_at: Position | None = None  # before the first run: at the mark
        self._clear(0)

    def _clear(self, now_ms: int) -> None:
        """Nothing is found yet in a run."""
        self.wrong: list[Wrong] = []
        self.sums = Sums()
        self.wallets = self.counters = self.receipts = self.log_entries = 0
        self.why_not = ""  # it was not compared
        self.behind = self.failed = self.away = False
        self.oldest_ms = 0  # the age of the oldest entry that the journal does not have
        self.doubtful: dict[tuple[str, str], str] = {}  # receipts of entries that were not in the log
        self.stored: Stored | None = None
        self._now_ms = now_ms
        self._first = True
        self._log_more = self._due_more = False

    def begin(self, now_ms: int, passed_s: float, *, everything: bool) -> None:
        """Begin a run, `passed_s` after the last one."""
        self._clear(now_ms)
        if everything:
            self.turn.forget()
            self._log_at, self._receipts_at = NOTHING, NOTHING
        self._whole = self.turn.size is None
        self._left = self.turn.share(passed_s)
        self._log_left = sys.maxsize if everything else limits.AUDIT_LOG
        self.turn.begin(now_ms)

    @property
    def more(self) -> bool:
        """Whether there is more to compare in this run."""
        if self.why_not:
            return False
        rest = self.turn.begun_ms is not None and self._left > 0
        scanned = bool(self.found.accounts or self.found.receipts)
        return self._first or rest or scanned or self._log_more or self._due_more

    def take(self, names: Names, one_in: int, turn: int) -> None:
        """Take what the scan has found. Of the receipts one in so many: others in another turn."""
        self.wrong += names.wrong
        self.found.accounts = [*dict.fromkeys([*self.found.accounts, *names.accounts])]
        chosen = [key for key in names.receipts if crc32(":".join(key).encode()) % one_in == turn % one_in]
        self.found.receipts = [*dict.fromkeys([*self.found.receipts, *chosen])]

    # --- a step --------------------------------------------------------------------------------------------------
    def plan(self, connection: Connection, mark: Position, *, positions: bool) -> None:
        """Choose what to compare. `mark` is how far the partition is journaled; `positions`, whether it has some."""
        self._mark = mark
        if self._first:
            self._until = mark  # what is journaled during the run is for the next one
        step = limits.AUDIT_WALLETS // 2  # of what the journal knows, and as many of what only the store has
        self._scanned = self.found.accounts[:step], self.found.receipts[: limits.AUDIT_WALLETS]
        strangers = asof.unknown(connection, self.partition, self._scanned[0]) if positions else self._scanned[0]
        self._window: list[str] = []
        self._wanted = min(step, self._left) if self.turn.begun_ms is not None else 0
        if self._wanted and positions:
            self._window = asof.window(connection, self.partition, self.turn.at, self._wanted)
        self._accounts = list(dict.fromkeys([*strangers, *self._window]))
        start = mark if self._receipts_at is None else self._receipts_at
        self._rows: list[tail.Row] = []
        if start < self._until:
            self._rows = tail.rows_after(connection, self.partition, start, self._until, limits.AUDIT_WALLETS)
        self._due = tail.due(self._rows)
        self._log: list[LogEntry | Unreadable] = []
        self._newest: list[LogEntry | Unreadable] = []
        self._log_asked = max(0, min(limits.AUDIT_LOG, self._log_left))

    async def read(self, store: StoreSide) -> None:
        """Read what was chosen. The last log id comes last, so that nothing else is of a later moment.

        A store that does not answer is `away`, and nothing of the partition is compared.
        """
        due = [(row.user_id, left.operation) for row, left in self._due]
        try:
            self._held = await store.receipts([*dict.fromkeys([*self._scanned[1], *due])])
            if self._log_asked:
                self._log = await store.entries(self.partition, self._log_at, self._log_asked)
            whole = self._log_at == NOTHING and len(self._log) < self._log_asked
            newest = self._first and not whole  # else the newest entries are among these
            if newest:
                self._newest = await store.newest(self.partition, limits.AUDIT_LOG_NEWEST)
            self.stored = await store.read(self.partition, self._accounts)
        except WrongType as error:
            self.why_not = f"its log or totals cannot be read: {error}"
            self.wrong.append(Wrong(self.partition, "log", str(error)))
            return
        except StoreError as error:
            self.away, self.stored, self.why_not = True, None, f"its store does not answer: {error}"
            return
        self.behind = self.stored.at < self._mark
        if self.behind:
            at = "nothing" if self.stored.at == NOTHING else _log_id(self.stored.at)
            self.why_not = f"the store is behind the journal: it has {at}, not {_log_id(self._mark)}"

    @property
    def unverified(self) -> Head | None:
        """The head after which this run has to verify the journal, or None when it has done so."""
        return self._heads.head(self.partition) if self._first else None

    def settle(
        self, connection: Connection, mark: Position, seen: Seen | None, waiting: Sequence[LogEntry] = ()
    ) -> None:
        """Compare what was read with the journal, whose mark is `mark` now. `waiting` follows it in the log."""
        first, self._first = self._first, False
        if first:
            self._verify(connection, seen)
        stored = self.stored
        if stored is None:
            return
        at = (waiting[-1].epoch, waiting[-1].n) if waiting else mark
        newest = self._log if self.behind and not self._newest else self._newest
        self.wrong += tail.log_differs(connection, self.partition, _up_to(newest, min(stored.at, mark)))
        if self.why_not:
            return
        if stored.at > at or (waiting and stored.at != at):
            self.why_not = f"the store's last entry is {_log_id(stored.at)}, the journal is at {_log_id(at)}"
            return
        self._compare(connection, stored, mark, first=first, waiting=waiting)

    def _verify(self, connection: Connection, seen: Seen | None) -> None:
        found = verify(connection, self.partition, self._heads.head(self.partition), seen)
        self.wrong += found.wrong
        self.sums = found.sums
        if not found.wrong and found.head is not None:
            self._heads.advance(self.partition, found.head, self._now_ms)

    def _compare(
        self, connection: Connection, stored: Stored, mark: Position, *, first: bool, waiting: Sequence[LogEntry]
    ) -> None:
        partition, at = self.partition, min(stored.at, mark)
        expected = asof.expected(connection, partition, at, self.sums, self._accounts, behind=at < mark)
        for entry in waiting:
            expected.follow(entry)
        if first:
            self.wrong += compare.totals_differ(partition, expected, stored)
            self.compared_ms = self._now_ms
        self.wrong += compare.accounts_differ(partition, expected, stored)
        users = [user_id for user_id in stored.wallets if not waiting and self._spends(user_id, expected)]
        spent = asof.spent(connection, partition, at, users)
        for user_id in users:
            self.wrong += compare.spending_differs(partition, user_id, spent.get(user_id), stored.wallets[user_id])
        self.wrong += tail.log_differs(connection, partition, _up_to(self._log, at))
        self.wrong += tail.receipts_gone(partition, self._due, self._held, _needed(stored, self._now_ms))
        scanned = {key: self._held[key] for key in self._scanned[1] if key in self._held}
        self.doubtful |= {
            key: text for key, text in scanned.items() if (receipts.log_id_of(text) or NOTHING) > stored.at
        }
        self.wrong += tail.receipts_differ(connection, partition, scanned, at)
        self._move_on(stored, at)

    def _spends(self, user_id: str, expected: asof.Expected) -> bool:
        """Whether to compare what a wallet has spent on its day: in every turn only where it has an own limit."""
        wallet = expected.wallets.get(user_id)
        return wallet is not None and (self._whole or wallet.limit > 0)

    def _move_on(self, stored: Stored, at: Position) -> None:
        """What was read is compared: the next step goes on behind it."""
        self.wallets += len(stored.wallets)
        self.counters += len(stored.counters)
        self.receipts += len(self._held)
        self.found.accounts = self.found.accounts[len(self._scanned[0]) :]
        self.found.receipts = self.found.receipts[len(self._scanned[1]) :]
        self._left -= len(self._window)
        self.turn.seen += len(self._window)
        if len(self._window) < self._wanted:
            self.turn.end()
        elif self._window:
            self.turn.at = self._window[-1]
        self._due_more = len(self._rows) == limits.AUDIT_WALLETS
        self._receipts_at = (self._rows[-1].epoch, self._rows[-1].n) if self._due_more else self._until
        known = _up_to(self._log, min(at, self._until))
        self.log_entries += len(known)
        self._log_left -= len(known)
        full = len(known) == self._log_asked > 1
        # The next window begins with the last entry of this one, so that a gap between the two shows.
        self._log_at = (known[-2].epoch, known[-2].n) if full else NOTHING
        self._log_more = full and self._log_left > 1


def _up_to(log: Sequence[LogEntry | Unreadable], at: Position) -> list[LogEntry | Unreadable]:
    return [entry for entry in log if (entry.epoch, entry.n) <= at]


def _log_id(at: Position) -> str:
    return f"{at[0]}-{at[1]}"


def _needed(stored: Stored, now_ms: int) -> receipts.Needed:
    """The receipts that a partition must have: of ids after `forgot`, but none that an older program wrote."""
    forgot, strings = stored.meta["forgot"], stored.meta["strings"]
    if forgot is None:
        return receipts.Needed(NUMBER_MAX, now_ms + limits.DAY_MS)
    known = [int(each) for each in (forgot, strings) if each and each.isascii() and each.isdecimal()]
    return receipts.Needed(max(known, default=0), now_ms + limits.DAY_MS)  # clocks may differ by a day
