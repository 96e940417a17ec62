"""Anchors: one line per audit, outside SQL, of how far each chain is verified and a hash over all heads.

Who can write SQL can recompute a chain from a changed row on. Its hashes are then others than a copy of this file says.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Connection, Engine, select, tuple_

from server import limits
from server.journal.database import reading
from server.journal.heads import Head, Newest
from server.journal.log import Position
from server.journal.tables import entries

Places = dict[int, Position]


class Anchor(Struct, frozen=True):
    """A line: the audit's number in its database, its time, where the heads were, and the hash over all of them."""

    newest: Newest
    at_ms: int
    places: Places
    hash: str

    def __str__(self) -> str:
        places = ",".join(f"{partition}:{epoch}-{n}" for partition, (epoch, n) in sorted(self.places.items()))
        return f"{self.newest} {self.at_ms} {places or '-'} {self.hash}"


def anchor(newest: Newest, at_ms: int, heads: Mapping[int, Head]) -> Anchor:
    """The anchor of these heads."""
    hashes = {partition: head.hash for partition, head in heads.items()}
    return Anchor(newest, at_ms, {p: head.position for p, head in heads.items()}, hash_of(hashes))


def hash_of(hashes: Mapping[int, str]) -> str:
    """One hash over the hashes of all partitions."""
    text = "\n".join(f"{partition} {hash_}" for partition, hash_ in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()


class AnchorFile:
    """The file that anchors are appended to. When it is full, it becomes `<name>.1`, in place of the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: Anchor) -> None:
        """Append an anchor and sync it. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size >= limits.ANCHORS_BYTES_MAX:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
        try:
            os.write(file, f"{line}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)


class Unreadable(Exception):
    """A line is not an anchor."""


def read(lines: Iterable[str]) -> Iterator[Anchor]:
    """Parse anchors. A last line that was cut by a crash is left out. Raises Unreadable."""
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            return
        try:
            instance, counter, at_ms, places, hash_ = line.split()
            yield Anchor(Newest(instance, int(counter)), int(at_ms), _places(places), hash_)
        except ValueError:
            raise Unreadable(f"line {number} is not an anchor") from None


def _places(text: str) -> Places:
    found: Places = {}
    for each in text.split(",") if text != "-" else []:
        partition, at = each.split(":")
        epoch, n = at.split("-")
        found[int(partition)] = (int(epoch), int(n))
    return found


class Compared(Struct, frozen=True):
    """What a file of anchors says about a journal. `wrong` is the first anchor that differs, or None."""

    anchors: int
    wrong: str | None


def compare(engine: Engine, lines: Iterable[str]) -> Compared:
    """Compare a journal with the anchors of a file, oldest first. Raises SQLAlchemyError, Unreadable."""
    compared = 0
    hashes: dict[int, tuple[Position, str]] = {}
    with reading(engine, limits.SQL_AUDIT_S).connect() as connection:
        for each in read(lines):
            for partition, place in each.places.items():
                if partition not in hashes or hashes[partition][0] != place:
                    found = _hash_at(connection, partition, place)
                    if found is None:
                        what = f"partition {partition} has no entry {place[0]}-{place[1]}"
                        return Compared(compared, _says(each, what))
                    hashes[partition] = (place, found)
            if hash_of({partition: hashes[partition][1] for partition in each.places}) != each.hash:
                return Compared(compared, _says(each, "the chains have other hashes up to there"))
            compared += 1
    return Compared(compared, None)


def _hash_at(connection: Connection, partition: int, at: Position) -> str | None:
    where = entries.c.partition == partition, tuple_(entries.c.epoch, entries.c.n) == tuple_(*at)
    found: str | None = connection.execute(select(entries.c.hash).where(*where)).scalar()
    return found


def _says(each: Anchor, what: str) -> str:
    return f"the journal is not the one of anchor {each.newest.counter} at {each.at_ms} ms: {what}"
