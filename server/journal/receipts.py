"""The receipts that entries leave in the wallet store, as the money scripts write them."""

from typing import NamedTuple, Protocol, assert_never

import msgspec
from msgspec import Struct

from protocol.ids import uuid7_ms
from server import limits
from server.entries import KINDS, Receipt
from server.journal.log import Position


class Left(NamedTuple):
    """The receipt of an entry: under which operation of its user, and what it says."""

    operation: str
    text: str
    at_ms: int
    gift_ms: int | None  # the time in the gift's id; None for an order

    def agrees(self, held: str) -> bool:
        """Whether a receipt is this one. The fingerprint is not known any more when the entry's text is erased."""
        return held == self.text or (self.text[0] == " " and held.partition(" ")[2] == self.text[1:])


class Needed(NamedTuple):
    """Which receipts a partition must have: its `forgot`, and a time for orders."""

    forgot_ms: int
    now_ms: int

    def has(self, left: Left) -> bool:
        """Whether this receipt must be there. Older ones may be, until the journal process deletes them."""
        if left.gift_ms is None:
            return left.at_ms > self.now_ms - limits.RECOVER_UNTIL_MS
        return left.gift_ms >= self.forgot_ms


class Entry(Protocol):
    """The columns of an entry's row that its receipt follows from."""

    @property
    def kind(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def balance(self) -> int | None: ...
    @property
    def combo_count(self) -> int: ...
    @property
    def body(self) -> str: ...
    @property
    def text(self) -> str | None: ...


class _Body(Struct, frozen=True):
    fp: str = ""


_BODY = msgspec.json.Decoder(_Body)


def of(row: Entry) -> Left | None:
    """The receipt that an entry leaves, or None when it leaves none: by its kind, or as a limit of an older program."""
    kind, log_id = KINDS[row.kind], f"{row.epoch}-{row.n}"
    match kind.receipt:
        case Receipt.GIFT:
            text = f"{_fingerprint(row)} {row.balance} {row.combo_count} {log_id}"
            return Left(kind.operation(row.ref), text, row.at_ms, made_ms(row.ref))
        case Receipt.ORDER:
            text = f"{_fingerprint(row)} {row.balance} {log_id}"
            return Left(kind.operation(row.ref), text, row.at_ms, None) if text[0] != " " else None
        case Receipt.NONE:
            return None
        case other:
            assert_never(other)


def _fingerprint(row: Entry) -> str:
    return _BODY.decode(row.body if row.text is None else row.text).fp  # where the text is, the body has none


def made_ms(gift_id: str) -> int:
    """When a gift id was made; 0 for an id of another form."""
    try:
        return uuid7_ms(gift_id)
    except ValueError:
        return 0


def is_of_gift(operation: str) -> bool:
    """Whether a receipt is of a gift and not of an order."""
    return ":" not in operation or ref_of(operation) == operation


def ref_of(operation: str) -> str:
    """The id of the gift or order that a receipt is of."""
    name, colon, id = operation.partition(":")
    return id if colon and name in KINDS else operation


def log_id_of(text: str) -> Position | None:
    """The log id of the entry that a receipt is of, or None when it names none."""
    epoch, dash, n = text.rpartition(" ")[2].partition("-")
    if not (dash and epoch.isascii() and epoch.isdecimal() and n.isascii() and n.isdecimal()):
        return None
    return int(epoch), int(n)
