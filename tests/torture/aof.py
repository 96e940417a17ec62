"""Reads the append-only file: where each command and argument is, byte by byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Arg(NamedTuple):
    """One argument of a command, and where its bytes are in the file."""

    start: int
    value: bytes

    @property
    def end(self) -> int:
        return self.start + len(self.value)


def newest(data: Path) -> Path:
    """The file that the store appends to."""
    return max(data.glob("appendonlydir/*.incr.aof"), key=lambda path: int(path.name.split(".")[2]))


def commands(file: bytes) -> Iterator[list[Arg]]:
    """Each command in order. The file has `*<n>`, then n times `$<length>` and the bytes."""
    at = 0
    while at < len(file):
        end = file.index(b"\r\n", at)
        count, at = int(file[at + 1 : end]), end + 2
        args = []
        for _ in range(count):
            end = file.index(b"\r\n", at)
            length, start = int(file[at + 1 : end]), end + 2
            args.append(Arg(start, file[start : start + length]))
            at = start + length + 2
        yield args


def last_transaction(file: bytes) -> tuple[int, list[list[Arg]]]:
    """Where the last MULTI begins, and the commands after it."""
    begin, found, within = 0, [], []
    at = 0
    for args in commands(file):
        name = args[0].value.upper()
        if name == b"MULTI":
            begin, within = at, []
        within.append(args)
        if name == b"EXEC":
            found = within
        at = args[-1].end + 2
    return begin, found
