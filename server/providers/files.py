"""A provider by files: each batch is one file for the bank, and its results come back as CSV files, row by row.

The folder has `out/<batch>.xml` or `.csv`, `results/*.csv` and `claims/<batch>`. A claim is linked once, as `sent` or
as `void`: so a process that died, or sleeps, between the database and the file cannot send a batch that another one
has already given up. Several processes may use one folder.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from server import limits
from server.providers import bounds, sepa, tables
from server.providers.interface import BadWebhook, Instruction, Outcome, Standing, Told

log = structlog.get_logger()

SENT, VOID = b"sent\n", b"void\n"
_NOT_SENT = Outcome(Standing.NOT_SENT, reason="the batch was never written")
_LEFT_OUT = Outcome(Standing.FAILED, reason="not_carried", retryable=True)


class FileProvider:
    """Writes batches into a folder. With a `debtor` they are SEPA credit transfers, otherwise CSV."""

    def __init__(self, name: str, folder: Path, now_ms: Callable[[], int], debtor: sepa.Debtor | None = None) -> None:
        self.name = name
        self._debtor = debtor
        self._now_ms = now_ms
        self._out, self._claims, self._results = (folder / part for part in ("out", "claims", "results"))
        for each in (self._out, self._claims, self._results):
            each.mkdir(parents=True, exist_ok=True)

    def submit(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Write the batch's file, once."""
        bad = {each.key: why for each in batch if (why := sepa.refused(each))} if self._debtor else {}
        told = {key: Outcome(Standing.FAILED, reason=why, retryable=True) for key, why in bad.items()}
        good = [each for each in batch if each.key not in bad]
        if not good:
            return told
        try:
            sent = self._write(good[0].batch, good)
        except OSError as error:
            log.error("provider_folder", provider=self.name, why=str(error)[: limits.LOGGED_CHARS_MAX])
            return {**told, **{each.key: Outcome(Standing.UNKNOWN, reason="the folder fails") for each in good}}
        return {**told, **{each.key: Outcome(Standing.PENDING) if sent else _NOT_SENT for each in good}}

    def look_up(self, batch: Sequence[Instruction]) -> dict[str, Outcome]:
        """Read the results, and give up batches that were never written."""
        try:
            rows = self._rows({each.key for each in batch})
            return {each.key: self._became(each, rows.get(each.key, [])) for each in batch}
        except OSError as error:
            log.error("provider_folder", provider=self.name, why=str(error)[: limits.LOGGED_CHARS_MAX])
            return {each.key: Outcome(Standing.UNKNOWN, reason="the folder fails") for each in batch}

    def webhook(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> list[Told]:
        raise BadWebhook("this provider sends none: its results are files")

    # --- files ---------------------------------------------------------------------------------------------------
    def _write(self, batch: str, instructions: Sequence[Instruction]) -> bool:
        """Write the file, then claim the batch, then show it to the bank. False when it was given up before."""
        data = (
            sepa.batch_xml(self._debtor, batch, instructions, self._now_ms())
            if self._debtor
            else tables.batch_csv(instructions)
        )
        _write_durably(self._hidden(batch), data)
        if not self._claim(batch, SENT):
            self._hidden(batch).unlink(missing_ok=True)
            return False
        os.replace(self._hidden(batch), self._file(batch))
        _sync(self._out)
        return True

    def _became(self, instruction: Instruction, rows: list[tables.Row]) -> Outcome:
        if rows:
            return tables.together(rows, instruction)
        if (held := self._holds(instruction)) is not None:
            return held
        if self._now_ms() - instruction.sent_ms < bounds.BATCH_WRITTEN_MS:
            return Outcome(Standing.UNKNOWN, reason="the batch is being written")
        if self._claim(instruction.batch, VOID):
            self._hidden(instruction.batch).unlink(missing_ok=True)
            return _NOT_SENT
        with contextlib.suppress(FileNotFoundError):  # unless its writer died between the claim and this step
            os.replace(self._hidden(instruction.batch), self._file(instruction.batch))
        return self._holds(instruction) or Outcome(Standing.PENDING)  # somebody has taken the file away, to the bank

    def _holds(self, instruction: Instruction) -> Outcome | None:
        """What the batch's file says: a payout that was refused when it was written is not in it. None without one."""
        try:
            data = self._file(instruction.batch).read_bytes()
        except FileNotFoundError:
            return None
        shown = f">{instruction.key}<" if self._debtor else f'"{instruction.key}"'
        return Outcome(Standing.PENDING) if shown.encode() in data else _LEFT_OUT

    def _claim(self, batch: str, word: bytes) -> bool:
        """Whether the batch is now claimed for this word. The first claim stands, whatever comes later."""
        mine = self._claims / f".{batch}.{secrets.token_hex(8)}"
        _write_durably(mine, word)
        try:
            os.link(mine, self._claims / batch)
        except FileExistsError:
            return (self._claims / batch).read_bytes() == word
        finally:
            mine.unlink(missing_ok=True)
        _sync(self._claims)
        return True

    def _file(self, batch: str) -> Path:
        return self._out / f"{batch}.{'xml' if self._debtor else 'csv'}"

    def _hidden(self, batch: str) -> Path:
        return self._out / f".{batch}.part"

    def _rows(self, keys: set[str]) -> dict[str, list[tables.Row]]:
        """What the results say of these payouts. Files that are too long, and bad rows, are logged and left out."""
        found: dict[str, list[tables.Row]] = {}
        for path in sorted(self._results.glob("*.csv"))[-bounds.RESULT_FILES_MAX :]:
            if path.stat().st_size > bounds.RESULT_BYTES_MAX:
                log.error("provider_results_too_long", provider=self.name, file=path.name)
                continue
            for row in tables.results(path.read_bytes()):
                if isinstance(row, tables.BadRow):
                    log.error("provider_result_unread", provider=self.name, file=path.name, line=row.line, why=row.why)
                elif row.key in keys:
                    found.setdefault(row.key, []).append(row)
        return found


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a folder's new names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
