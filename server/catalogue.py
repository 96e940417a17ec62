"""The gift catalogue: from the program's file, or from the one that LIVEROOM_CATALOGUE names, in TOML or JSON.

A changed file is read again while the program runs. If it cannot be used, the old catalogue stays.
"""

import asyncio
import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog

from protocol.gifts import Animation, Gift
from server import background, limits
from server.settings import Unusable

log = structlog.get_logger()

OWN = Path(__file__).parent / "catalogue.json"


class Catalogue:
    """The gifts that this node sells now."""

    def __init__(self, path: Path | None) -> None:
        self.path = path or OWN
        self._seen = self._signature()  # of the file that was read last, whether it could be used or not
        self._task: asyncio.Task[None] | None = None
        self.use(load(path).values())

    def use(self, gifts: Iterable[Gift]) -> None:
        """Sell these from now on. Equal catalogues have the same `version`, however they are written."""
        self._gifts = {gift.id: gift for gift in gifts}
        self.version = hashlib.sha256(msgspec.json.encode(self.gifts)).hexdigest()[: limits.CATALOGUE_VERSION_CHARS]

    @property
    def gifts(self) -> list[Gift]:
        """All of them, in the file's order."""
        return list(self._gifts.values())

    def get(self, gift_id: str) -> Gift | None:
        """The gift of this id, at its price of now."""
        return self._gifts.get(gift_id)

    def reload(self) -> None:
        """Read the file again. Raises Unusable, and the old catalogue stays."""
        self._seen = self._signature()
        try:
            self.use(load(self.path).values())
        except Unusable as error:
            log.error("catalogue_kept", why=f"{error} The old catalogue stays.", version=self.version)
            raise
        log.info("catalogue_read", version=self.version, gifts=len(self._gifts))

    def look(self) -> None:
        """Read the file again if it has changed."""
        if self._signature() != self._seen:
            try:
                self.reload()
            except Unusable:  # the log has it, once for each change
                return

    def _signature(self) -> tuple[int, ...] | None:
        """What changes with the file: its place, size and time. None if it is not there."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    async def start(self) -> None:
        self._task = background.forever("catalogue", self._watch)

    async def stop(self) -> None:
        await background.end(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(limits.CATALOGUE_EVERY_S)
            self.look()


def load(path: Path | None) -> dict[str, Gift]:
    """Gifts by id, in the file's order. Raises Unusable."""
    path = path or OWN
    try:
        gifts = _decode(path)
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The gift catalogue {path} cannot be used: {error.strerror}.") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise Unusable(f"The gift catalogue {path} cannot be used: {str(error).rstrip('.')}.") from None
    catalogue = {gift.id: gift for gift in gifts}
    if len(catalogue) != len(gifts):
        raise Unusable(f"The gift catalogue {path} names a gift twice.")
    return catalogue


def _decode(path: Path) -> list[Gift]:
    """Raises OSError, ValueError, msgspec.DecodeError."""
    data = path.read_bytes()
    if path.suffix != ".toml":
        return msgspec.json.decode(data, type=list[Gift])
    found: dict[str, Any] = tomllib.loads(data.decode())
    listed = found.get("gifts")
    if not isinstance(listed, list) or set(found) != {"gifts"}:
        raise ValueError("it must be a list of [[gifts]], and nothing else")
    gifts = msgspec.convert(listed, list[Gift])
    for each in listed:  # a limit that is misspelt would not hold
        unknown = set(each) - set(Gift.__struct_fields__)
        unknown |= set(each["animation"]) - set(Animation.__struct_fields__)
        if unknown:
            raise ValueError(f"a gift has the unknown key {min(unknown)}")
    return gifts
