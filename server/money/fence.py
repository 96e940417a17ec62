"""The node's side of the fence: money is acknowledged only while the journal confirms that the store is the right one.

A store without replicas needs no fence: there is no other store that could take over (docs/decisions/0019-fencing.md).
"""

from collections.abc import Mapping
from typing import Literal, cast

import structlog
from sqlalchemy.exc import SQLAlchemyError

from server import limits
from server.clock import Clock
from server.journal.database import ask
from server.journal.fence import Held, Openings, Superseded, is_fenced
from server.store.client import Link, Store, StoreDown

log = structlog.get_logger()

Fencing = Literal["auto", "on", "off"]
UNFENCED = "a node without the fence uses this store, too: stop that node"


class Fence:
    """The fence of one store. `fenced` says whether it needs one, `holds` whether money may be acknowledged now.

    `likely`: whether the settings alone say that another store may take over.
    """

    def __init__(
        self, openings: Openings, clock: Clock, *, mode: Fencing, likely: bool, grace_s: float = limits.FENCE_GRACE_S
    ) -> None:
        self._openings = openings
        self._clock = clock
        self._mode = mode
        self._likely = likely
        self._grace_s = grace_s
        self._open = False
        self._tokens: dict[int, str] = {}
        self._confirmed_s = 0.0
        self._seen_s: dict[str, float] = {}  # when this node first read a token
        self._due_s: float | None = None  # when the partitions that wait for their old store can be opened
        self._lasting: dict[int, str] = {}  # tokens that the store had for as long as it takes to confirm them
        self._apart_s = 0.0  # until then this node leaves the store to one without a fence
        self.superseded = ""  # why another store may take money, and this one not
        self.fenced = False

    @property
    def holds(self) -> bool:
        """Whether the last confirmation is young enough."""
        if not self._open:
            return False
        return not self.fenced or self._clock.boot_s() - self._confirmed_s < self._grace_s

    @property
    def wait_s(self) -> float:
        """How long partitions have to wait until the next connection may open them; 0 when none waits."""
        return 0.0 if self._due_s is None else max(0.0, self._due_s - self._clock.boot_s())

    @property
    def due(self) -> bool:
        """Whether partitions have waited long enough, and the next connection will open them."""
        return self._due_s is not None and self._clock.boot_s() >= self._due_s

    async def take(self, link: Link, identity: str, opened: Mapping[int, str]) -> dict[int, str]:
        """What the store is to record for each partition that may be opened now. The others still wait.

        `opened` is what it has recorded. Raises StoreDown when none may be opened, or the journal is down.
        """
        self._open, self._due_s = False, None
        self.fenced = await self._is_needed(link, opened)
        if not self.fenced:
            self._open = True
            return dict.fromkeys(opened, identity)
        asked_s = self._clock.boot_s()
        try:
            rows = await ask(self._openings.take, identity, opened)
        except Superseded as old:
            if str(old) != self.superseded:
                self.superseded = str(old)
                log.error("wallet_store_superseded", why=str(old))
            raise StoreDown("another store has taken over") from None
        except SQLAlchemyError as error:
            log.debug("fence_waits_for_journal", error=str(error)[: limits.LOGGED_CHARS_MAX])
            raise StoreDown("the journal is down, so nobody knows whether this store has been replaced") from None
        if self._is_shared(identity, opened, rows):
            raise StoreDown(UNFENCED)
        tokens = {row.token for row in rows.values()}
        self._seen_s = {token: seen_s for token, seen_s in self._seen_s.items() if token in tokens}
        ready = {p: row for p, row in rows.items() if opened[p] == row.name or self._has_waited(row)}
        if not ready:
            raise StoreDown("the store that it replaces may still be used for some seconds")
        self.superseded = ""
        self._tokens = {p: row.token for p, row in ready.items()}
        self._confirmed_s, self._open = asked_s, True
        return {p: row.name for p, row in ready.items()}

    async def confirm(self) -> bool:
        """Ask the journal again. False when another store has taken over. Raises SQLAlchemyError."""
        asked_s = self._clock.boot_s()
        rows = await ask(self._openings.read, within_s=limits.FENCE_ASK_S)
        if any(p not in rows or rows[p].token != token for p, token in self._tokens.items()):
            self._open = False
            return False
        self._confirmed_s = max(self._confirmed_s, asked_s)
        self._lasting = dict(self._tokens)
        return True

    async def is_missing(self, store: Store) -> bool:
        """Whether the store has got a replica since it was opened without a fence. Raises StoreError."""
        return self._mode == "auto" and not self.fenced and _replicates(await store.call("INFO", "replication"))

    @property
    def shared(self) -> bool:
        """Whether a node without the fence has opened partitions of this node a moment ago."""
        return self._clock.boot_s() < self._apart_s

    def _is_shared(self, identity: str, opened: Mapping[int, str], rows: Mapping[int, Held]) -> bool:
        """Whether a node without the fence uses this store, too: it has opened partitions again, without our token.

        The two would open them in turn again and again. So this one waits, says so, and tries again.
        """
        if any(opened[p] == identity and self._lasting.get(p) == row.token for p, row in rows.items()):
            self._apart_s, self._lasting = self._clock.boot_s() + limits.FENCE_WAIT_S, {}
            log.error("wallet_opened_without_fence", why=UNFENCED)
        return self.shared

    def _has_waited(self, row: Held) -> bool:
        """Whether every node that used the old store has stopped by now, as this node's clock says."""
        if not row.before:
            return True
        now_s = self._clock.boot_s()
        if row.token not in self._seen_s:
            self._seen_s[row.token] = now_s
            log.warning("wallet_taken_over", store=row.identity, before=row.before, wait_s=limits.FENCE_WAIT_S)
        due_s = self._seen_s[row.token] + limits.FENCE_WAIT_S
        if now_s < due_s:
            self._due_s = max(due_s, self._due_s or 0.0)
        return now_s >= due_s

    async def _is_needed(self, link: Link, opened: Mapping[int, str]) -> bool:
        recorded = any(is_fenced(each) for each in opened.values())
        if self._mode == "off":
            await self._forget(opened, strict=recorded)
            return False
        if self._mode == "on" or self._likely or recorded or _replicates(await link.call("INFO", "replication")):
            return True
        try:
            rows = await ask(self._openings.read, within_s=limits.OPENING_ASK_S)
            return bool(rows)  # another node has seen a replica
        except SQLAlchemyError:
            return False

    async def _forget(self, opened: Mapping[int, str], *, strict: bool) -> None:
        """Remove the rows, or the drain waits for them. `strict`: there are some, so the journal must answer."""
        try:
            if await ask(self._openings.read):
                await ask(self._openings.forget, tuple(opened))
        except SQLAlchemyError:
            if strict:
                raise StoreDown("the journal is down, so its fence cannot be taken away") from None


def _replicates(info: object) -> bool:
    """Whether the store has replicas, or has had some, or was one."""
    lines = (line.split(":", 1) for line in cast(bytes, info).decode().splitlines() if ":" in line)
    about = {name: value.strip() for name, value in lines}
    return (
        about.get("connected_slaves", "0") != "0"
        or about.get("repl_backlog_active", "0") != "0"
        or about.get("master_replid2", "").strip("0") != ""
    )
