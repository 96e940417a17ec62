"""Word lists and emotes on this node: copies of SQL's, a few seconds old at most. Those of the site, and of open rooms.

SQL may be away: then the copies stay as they are, and those that were never read count as empty until it is back.
"""

import asyncio
from collections.abc import Mapping
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


def _words(body: bytes) -> Words:
    return Words((phrase, category) for category, phrases in phrases_of(body).items() for phrase in phrases)


def _by_code(body: bytes) -> dict[str, Emote]:
    return {emote.code: emote for emote in emotes_of(body)}


_MAKE = {WORDS: _words, EMOTES: _by_code}
_NO_WORDS, _NO_EMOTES = Words(()), dict[str, Emote]()


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
        return self._of(Key(WORDS, SITE), _NO_WORDS), self._of(Key(WORDS, host_id), _NO_WORDS)

    def emotes(self, room_id: str) -> tuple[Mapping[str, Emote], Mapping[str, Emote]]:
        """The emotes of a room and of the site, by code."""
        return self._of(Key(EMOTES, room_id), _NO_EMOTES), self._of(Key(EMOTES, SITE), _NO_EMOTES)

    def _of(self, key: Key, nothing: Any) -> Any:
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
    return read, _MAKE[key.kind](read.body)
