"""Batches and their results as CSV (RFC 4180), for banks and services that take files."""

import csv
import io
from collections.abc import Iterator, Sequence

from msgspec import Struct

from server.providers.currencies import read, written
from server.providers.interface import Instruction, Outcome, Standing

COLUMNS = ("key", "amount", "currency", "name", "account", "bic", "text")
# The words of a results file. Banks write them in many ways: these are what people fill in.
WORDS = {
    "done": Standing.PAID,
    "paid": Standing.PAID,
    "failed": Standing.FAILED,
    "rejected": Standing.FAILED,
    "returned": Standing.RETURNED,
    "pending": Standing.PENDING,
}


class Row(Struct, frozen=True):
    """What a row of a results file says of a payout. `amount` as it is written; '' if the file has none."""

    key: str
    outcome: Outcome
    amount: str = ""
    currency: str = ""


class BadRow(Struct, frozen=True):
    """A row that says nothing: its line, and why. The others count."""

    line: int
    why: str


def batch_csv(instructions: Sequence[Instruction]) -> bytes:
    """The file of a batch."""
    out = io.StringIO(newline="")
    sheet = csv.writer(out, quoting=csv.QUOTE_ALL)
    sheet.writerow(COLUMNS)
    for each in instructions:
        payee = each.payee
        texts = (payee.name, payee.iban or payee.account, payee.bic, each.text)
        sheet.writerow((each.key, written(each.amount, each.currency), each.currency, *map(_no_formula, texts)))
    return out.getvalue().encode()


def results(data: bytes) -> Iterator[Row | BadRow]:
    """The rows of a results file, with the columns `key` and `status`, and if it likes `reason`, `ref`, `amount`.

    Each row stands for itself: of a batch some may be done, some failed and some returned.
    """
    try:
        sheet = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        for row in sheet:
            yield _row(sheet.line_num, {str(k).strip().lower(): (v or "") for k, v in row.items() if k is not None})
    except (csv.Error, UnicodeDecodeError) as error:
        yield BadRow(0, f"the file cannot be read: {error}")


def agrees(row: Row, instruction: Instruction) -> bool:
    """Whether a row is about this amount, as far as it says so."""
    if not row.amount:
        return True
    if row.currency and row.currency != instruction.currency:
        return False
    try:
        return read(row.amount, instruction.currency) == instruction.amount
    except ValueError:
        return False


def _row(line: int, cells: dict[str, str]) -> Row | BadRow:
    standing = WORDS.get(cells.get("status", "").strip().lower())
    if standing is None:
        return BadRow(line, f"the status is {cells.get('status', '')!r}, not one of {', '.join(WORDS)}")
    key = cells.get("key", "").strip()
    if not key:
        return BadRow(line, "there is no key")
    retryable = cells.get("retryable", "").strip().lower() in ("yes", "true", "1")
    outcome = Outcome(standing, cells.get("ref", "").strip(), cells.get("reason", "").strip(), retryable)
    return Row(key, outcome, cells.get("amount", "").strip(), cells.get("currency", "").strip())


def together(rows: Sequence[Row], instruction: Instruction) -> Outcome:
    """What several rows say of one payout. A return counts most; done and failed at once says nothing."""
    if not all(agrees(row, instruction) for row in rows):
        return Outcome(Standing.UNKNOWN, reason="the results have another amount")
    found = {row.outcome.standing: row.outcome for row in rows}
    if Standing.PAID in found and Standing.FAILED in found:
        return Outcome(Standing.UNKNOWN, reason="the results say done and failed")
    for standing in (Standing.RETURNED, Standing.PAID, Standing.FAILED):
        if standing in found:
            return found[standing]
    return Outcome(Standing.PENDING)


def _no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, "CSV injection")."""
    return text.lstrip("=+-@\t\r ")
