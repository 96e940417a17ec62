"""What an audit remembers for the next one, and by what others notice when it was tampered with.

It remembers heads in SQL (`heads`) and their counter in the wallet store, verifies a slice again (`again`), and appends
an anchor to a file (`anchors`).
"""

import asyncio
import contextlib
import os
import secrets
import stat
from pathlib import Path

import structlog
from msgspec import Struct
from sqlalchemy import Engine

from server.clock import Clock
from server.journal import again, anchors
from server.journal.findings import Wrong
from server.journal.heads import Heads, Newest
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()


class Kept(Struct, frozen=True):
    """What the report says of the memory. `again_ms` is the time since which every row was verified again."""

    counter: int = 0
    anchor: str = ""
    again_ms: int = 0
    doubts: list[str] = []  # msgspec copies it


class Memory:
    """The audit's memory. Without a file for anchors it is only read: the command's audit leaves no trace.

    The command checks the remembered heads, and verifies everything from the beginning all the same.
    """

    def __init__(
        self,
        engine: Engine,
        wallet: Store | ClusterStore,
        clock: Clock,
        key: str | None = None,
        anchored: Path | None = None,
    ) -> None:
        self._engine = engine
        self._wallet = wallet
        self._clock = clock
        self._key = key
        self.heads = Heads(engine, key)
        self._file = None if anchored is None else anchors.AnchorFile(anchored)
        self._passed_ms: int | None = None
        self._doubts: list[str] = []

    async def begin(self) -> list[Wrong]:
        """Load the heads and compare all counts with them. Raises SQLAlchemyError."""
        self._doubts = []
        self.heads.fresh.clear()
        if self._file is None and self._key is None:
            return []
        reply, unread = await self._newest_in_store()  # before SQL's, which is never behind it
        wrong = await asyncio.to_thread(self.heads.load)
        self._doubts = [*self.heads.doubts, *unread]
        if isinstance(reply, bytes) and (doubt := _rolled_back(reply.decode(), self.heads.newest)):
            self._doubts.append(doubt)
            self.heads.known.clear()
        if self._file is None:
            self.heads.known.clear()  # they are checked, and not believed
        return wrong + await asyncio.to_thread(self.heads.count)

    async def _newest_in_store(self) -> tuple[object, list[str]]:
        """The newest audit that the store knows. On a cluster its primary may be away while others are audited."""
        try:
            return await self._wallet.call("GET", keys.AUDIT_NEWEST), []
        except StoreError as error:
            return None, [f"the wallet store does not say which audit was its newest: {error}"]

    async def verify_slice(self) -> list[Wrong]:
        """Verify a slice again. Raises SQLAlchemyError."""
        now_ms = self._clock.now_ms()
        passed_s = 0.0 if self._passed_ms is None else max(0, now_ms - self._passed_ms) / 1000
        self._passed_ms = now_ms
        most = again.size(self.heads, passed_s)
        return await asyncio.to_thread(again.verify_slice, self._engine, self.heads, most, now_ms)

    async def keep(self) -> Kept:
        """Remember the heads and append the anchor. Raises StoreError, SQLAlchemyError.

        In doubt nothing is kept, so that the doubt stays until a person accepts the database (`accept`).
        """
        known = self.heads.known.values()
        again_ms = min((each.whole_ms for each in known), default=0)
        if self._file is None or self._doubts:
            return Kept(self.heads.newest.counter, "", again_ms, self._doubts)
        await asyncio.to_thread(self.heads.save)
        heads = {partition: each.head for partition, each in self.heads.known.items()}
        line = anchors.anchor(self.heads.newest, self._clock.now_ms(), heads)
        try:
            await asyncio.to_thread(self._file.append, line)
        except OSError as error:
            log.error("anchor_not_written", error=str(error))
            self._doubts.append(f"the anchor was not written: {error}")
        await self._wallet.call("SET", keys.AUDIT_NEWEST, str(self.heads.newest))
        return Kept(line.newest.counter, line.hash, again_ms, self._doubts)

    async def accept(self) -> None:
        """Accept this database as it is, for instance after a restore. The next audit begins again.

        Raises StoreError, SQLAlchemyError.
        """
        await asyncio.to_thread(self.heads.clear)
        await self._wallet.call("DEL", keys.AUDIT_NEWEST)


def development_key(folder: Path) -> str:
    """The key in the data folder, made when first asked for. Raises OSError."""
    path = folder / "audit.key"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
        os.write(file, secrets.token_hex(32).encode())
        os.close(file)
    return path.read_text()


def _rolled_back(stored: str, newest: Newest) -> str | None:
    """Why this is not the database that the store knows, or None."""
    instance, _, counter = stored.partition(" ")
    if instance != newest.instance:
        return f"the journal is another database: {newest.instance or 'none'}, and the wallet store knows {instance}"
    if int(counter) > newest.counter:
        return f"the journal is older than its last audit: it has audit {newest.counter}, the wallet store {counter}"
    return None
