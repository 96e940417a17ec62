"""Word lists and emotes on this node: copies of SQL's, a few seconds old at most. Those of the site, and of open rooms.

SQL may be away: then the copies stay as they are, and those that were never read count as empty until it is back.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from protocol.emotes import Emote
from server import background, limits
from server.journal import catalogues as journal
from server.journal.catalogues import SITE, Catalogue, Key
from server.journal.database import ask
from server.words import Words

WORDS, EMOTES = "words", "emotes"

log = structlog.get_logger()
Phrases = dict[str, tuple[str, ...]]  # by category
_EMOTES = msgspec.json.Decoder(tuple[Emote, ...])
_PHRASES = msgspec.json.Decoder(Phrases)


def phrases_of(body: bytes) -> Phrases:
    """The phrases of a word list, by category."""
    return _PHRASES.decode(body) if body else {}


def emotes_of(body: bytes) -> tuple[Emote, ...]:
    """The emotes of a catalogue."""
    return _EMOTES.decode(body) if body else ()


def _words(_version: int, body: bytes) -> Words:
    return Words((phrase, category) for category, phrases in phrases_of(body).items() for phrase in phrases)


def _by_code(_version: int, body: bytes) -> dict[str, Emote]:
    return {emote.code: emote for emote in emotes_of(body)}


Make = Callable[[int, bytes], Any]
_KINDS: dict[str, tuple[Make, Any]] = {}
OF_ROOMS: list[str] = []  # kinds whose owners are rooms, or the site


def of_kind(kind: str, make: Make, nothing: Any, *, rooms: bool = False) -> None:
    """Declare a kind: what is made of a version and its body, and what counts as long as nothing is known.

    Those of `rooms` are emptied when their room is deleted.
    """
    assert kind not in _KINDS, f"the kind {kind} is declared twice"
    _KINDS[kind] = make, nothing
    if rooms:
        OF_ROOMS.append(kind)


of_kind(WORDS, _words, Words(()))
of_kind(EMOTES, _by_code, dict[str, Emote](), rooms=True)


class _Copy:
    """What a node has of a catalogue, ready for use. It is of this version, or of none that is known."""

    __slots__ = ("value", "version")

    def __init__(self, version: int, value: Any) -> None:
        self.version, self.value = version, value


class Catalogues:
    """The copies, and a loop that keeps them new."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._copies: dict[Key, _Copy | None] = {}  # None: wanted, and not read yet
        self._seen = -1  # the newest version that was looked at; -1 before SQL has answered
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from time to time."""
        self._task = background.forever("catalogues", self._look)

    async def stop(self) -> None:
        await background.end(self._task)

    # --- what rooms ask for ------------------------------------------------------------------------------------
    def words(self, host_id: str) -> tuple[Words, Words]:
        """The word lists of the site and of a host."""
        return self.of(WORDS, SITE), self.of(WORDS, host_id)

    def emotes(self, room_id: str) -> tuple[Mapping[str, Emote], Mapping[str, Emote]]:
        """The emotes of a room and of the site, by code."""
        return self.of(EMOTES, room_id), self.of(EMOTES, SITE)

    def of(self, kind: str, owner: str) -> Any:
        """What this node knows of a catalogue."""
        key, nothing = Key(kind, owner), _KINDS[kind][1]
        try:
            copy = self._copies[key]
        except KeyError:  # a room's new host, or it was forgotten: read soon
            self._want(key)
            return nothing
        return nothing if copy is None else copy.value

    async def load(self, room_id: str, host_id: str) -> None:
        """Read what a room needs, before anybody speaks there. If SQL is away it comes later."""
        keys = (Key(WORDS, host_id), Key(EMOTES, room_id))
        for key in keys:
            self._want(key)
        await self._read_wanted(*keys)

    async def fetch(self, kind: str, owner: str) -> None:
        """Read one that was never read. If SQL is away it comes later."""
        key = Key(kind, owner)
        self._want(key)
        await self._read_wanted(key)

    # --- reading -----------------------------------------------------------------------------------------------
    def _want(self, key: Key) -> None:
        if key not in self._copies:
            if len(self._copies) >= limits.LISTS_KEPT:
                oldest = next(known for known in self._copies if known.owner != SITE)
                del self._copies[oldest]
            self._copies[key] = None

    async def _read_wanted(self, *keys: Key) -> None:
        try:
            for key in keys or [key for key, copy in self._copies.items() if copy is None]:
                if self._copies.get(key) is None:
                    self._learn(*await ask(_read, self._engine, key))
        except SQLAlchemyError as error:
            log.debug("catalogues_later", why=str(error)[: limits.LOGGED_CHARS_MAX])

    def _learn(self, read: Catalogue, value: Any) -> None:
        copy = self._copies.get(read.key)
        if read.key in self._copies and (copy is None or copy.version < read.version):
            self._copies[read.key] = _Copy(read.version, value)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(limits.LISTS_EVERY_S)
            await self.look_again()

    async def look_again(self) -> None:
        """Read what has changed since the last look, and what could not be read before."""
        async with self._looking:
            await self._look_at_all()

    async def _look_at_all(self) -> None:
        for key in (Key(WORDS, SITE), Key(EMOTES, SITE)):
            self._want(key)
        try:
            if self._seen < 0:
                self._seen = await ask(journal.newest, self._engine)
            changed = await ask(journal.newer, self._engine, self._seen)
            for key, version in changed:
                if key in self._copies:
                    self._learn(*await ask(_read, self._engine, key))
                self._seen = version
        except SQLAlchemyError as error:
            log.debug("catalogues_later", why=str(error)[: limits.LOGGED_CHARS_MAX])
            return
        await self._read_wanted()


def _read(engine: Engine, key: Key) -> tuple[Catalogue, Any]:
    """A catalogue from SQL, made ready in the thread that read it."""
    read = journal.read(engine, key)
    return read, _KINDS[key.kind][0](read.version, read.body)
