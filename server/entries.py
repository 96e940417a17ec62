"""The kinds of ledger entries: their fields, postings, totals and receipts. Kinds are defined only here.

The JSON of an entry never changes: fields may be added, but each keeps its name and meaning.
"""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

from protocol.session import Cause
from server import booked, limits
from server.booked import Money, Moves, Posting
from server.limits import MONEY_MAX, RATE_DAYS_MAX

NUMBER_MAX = 2**53  # exact in JSON, Lua and SQL alike


# --- fields of entries -----------------------------------------------------------------------------------------------
class Share(Struct, frozen=True):
    """What one creator loses by a chargeback: the sum of that creator's parts."""

    creator: str
    coins: int
    diamonds: int


class GiftEntry(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="gift"):
    """A gift: what the journal books, and last its personal text, which can be erased (journal/texts.py)."""

    id: str
    viewer: str
    creator: str
    room: str
    broadcast: str | None
    gift: str
    count: int
    coins: int
    diamonds: int
    combo: str | None
    anonymous: bool = False  # the room does not know who gave it
    rate: str = ""  # the terms that made its diamonds: `<version>/<region>` of a rate card; '' of an older program
    maturity_days: int | None = None  # as these terms say
    salt: str = ""  # random; an entry without one was written by an older program
    fp: str  # the payload's fingerprint, to restore the receipt if needed; it covers the message
    viewer_name: str
    show: Raw  # the event that the room gets


class Sale(Struct, frozen=True, omit_defaults=True):
    """What somebody paid for coins, in minor units of a currency: for a package, or for so many coins."""

    currency: Annotated[str, Meta(max_length=3)]
    minor: Annotated[int, Meta(ge=0, le=MONEY_MAX)]
    package: Annotated[str, Meta(max_length=32)] = ""
    region: Annotated[str, Meta(max_length=16)] = ""


class TopUpEntry(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="topup"):
    """Bought coins. `sale` is None where the platform did not tell what they cost."""

    id: str
    viewer: str
    coins: int
    source: str
    sale: Sale | None = None
    fp: str


class AdjustEntry(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A change from outside the rooms. `coins` went back, `reversed` lost diamonds by it."""

    id: str
    viewer: str
    fp: str
    ordered_ms: int = 0  # of an order that sets the status: see Body
    coins: int = 0
    diamonds: int = 0
    creator: str | None = None
    room: str | None = None
    reversed: list[Share] = []  # msgspec copies it


class Earlier(Struct, frozen=True):
    """What earlier decisions take of a gift together."""

    gift: str
    coins: int
    diamonds: int


class Decided(Struct, frozen=True):
    """When a reversal was decided, and the hash of its parts: SQL has them, and they can be derived from entries again.

    `at` is the log id of the wallet's last journaled entry, and `before` counts the wallet's parts that were decided
    earlier: the journaled ones, and those that were still under way. `earlier` has what these take of the same gifts,
    so that no other entry is needed: it may come later, or never. Older programs gave none.
    """

    at: str
    before: int
    hash: str
    earlier: list[Earlier] | None = None


class ReversalEntry(AdjustEntry, frozen=True, kw_only=True):
    """A gift or a top-up that was taken back. Entries of older programs have no `decided`."""

    decided: Decided | None = None


class RefundEntry(ReversalEntry, frozen=True, kw_only=True, tag="refund"):
    """A gift that was refunded. `id` is the gift's."""


class ChargebackEntry(ReversalEntry, frozen=True, kw_only=True, tag="chargeback"):
    """A top-up that was charged back. `id` is the top-up's; `coins` were left of it."""


class FreezeEntry(AdjustEntry, frozen=True, kw_only=True, tag="freeze"):
    """The wallet may not send gifts."""


class UnfreezeEntry(AdjustEntry, frozen=True, kw_only=True, tag="unfreeze"):
    """The wallet may send gifts again."""


class LimitEntry(Struct, frozen=True, kw_only=True, tag_field="kind", tag="limit"):
    """A viewer's own daily limit. 0 removes it. Older programs gave no `fp`, and left no receipt."""

    id: str
    viewer: str
    coins_per_day: int
    ordered_ms: int
    fp: str


class OpenEntry(Struct, frozen=True, kw_only=True, tag_field="kind", tag="open"):
    """A partition was opened at a new epoch: its first entry."""

    partition: int


OrderEntry: TypeAlias = TopUpEntry | RefundEntry | ChargebackEntry | FreezeEntry | UnfreezeEntry | LimitEntry

Short = Annotated[str, Meta(max_length=64)]
Amount = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]


class Body(Struct, frozen=True, kw_only=True, gc=False):
    """An entry of any kind as the journal reads it: the fields that it books. No text is longer than its column.

    `ordered_ms` is when an order about a wallet's status or limit was recorded. It rises with each order of a wallet,
    so that one that arrives late does not undo a newer one. Older programs gave none: 0.
    """

    kind: Annotated[str, Meta(max_length=16)]
    id: Short = ""
    viewer: Short = ""
    creator: Short | None = None
    room: Short | None = None
    coins: Amount = 0
    diamonds: Amount = 0
    coins_per_day: Amount = 0
    ordered_ms: Amount = 0
    source: Short = ""
    sale: Sale | None = None
    rate: Short = ""
    maturity_days: Annotated[int, Meta(ge=0, le=RATE_DAYS_MAX)] | None = None
    reversed: tuple[Share, ...] = ()
    provider: Short = ""
    money: Money | None = None
    moves: Moves = ()
    digest: Short = ""  # of the personal text, which the journal keeps beside the body

    @property
    def ripens_after_days(self) -> int:
        """Of a gift: how many whole days after its own its diamonds stay pending. Older programs said nothing."""
        return limits.MATURITY_DAYS if self.maturity_days is None else self.maturity_days


# --- postings --------------------------------------------------------------------------------------------------------
class Total(Struct, frozen=True):
    """A sum over a partition's entries. The store counts it, the journal adds it up, the audit compares both."""

    counter: str  # in the partition's meta hash
    sum: str  # in the audit's Sums
    label: str  # in the audit's findings


SPENT = Total("coins", "spent", "coins spent")
AWARDED = Total("diamonds", "awarded", "diamonds")
BOUGHT = Total("bought", "bought", "bought")
REFUNDED = Total("refunded", "refunded", "refunded")
CHARGED_BACK = Total("charged_back", "charged_back", "charged back")

VIEWER, CREATOR = "viewer", "creator"  # whose account it is; or one of the house, by its name


class Leg(Struct, frozen=True):
    """A posting that follows from an entry's columns. No row is stored for it: the view `postings` has it."""

    asset: str  # coins | diamonds, which is also the column with the amount
    account: str
    sign: int


Postings: TypeAlias = Callable[[Body, str], tuple[Posting, ...]]  # of an entry and its viewer's account

# Amounts sum to zero in each asset, as in all postings (TigerBeetle's recipe for currency exchange).
_TOPUP = (Leg("coins", "house:sold", -1), Leg("coins", VIEWER, 1))
_GIFT = (
    Leg("coins", VIEWER, -1),
    Leg("coins", "house:spent", 1),
    Leg("diamonds", "house:awarded", -1),
    Leg("diamonds", CREATOR, 1),
)
_REFUND = (
    Leg("coins", "house:spent", -1),
    Leg("coins", VIEWER, 1),
    Leg("diamonds", CREATOR, -1),
    Leg("diamonds", "house:awarded", 1),
)


def _chargeback(body: Body, viewer: str) -> tuple[Posting, ...]:
    """Undo the sale: take what is left of it from the wallet, and what was spent of it from the gifts it paid for."""
    spent = sum(share.coins for share in body.reversed)
    found = [
        ("coins", viewer, -body.coins),
        ("coins", "house:spent", -spent),
        ("coins", "house:sold", body.coins + spent),
    ]
    for share in body.reversed:
        found.append(("diamonds", f"creator:{share.creator}", -share.diamonds))
        found.append(("diamonds", "house:awarded", share.diamonds))
    return tuple(found)


# --- receipts and effects --------------------------------------------------------------------------------------------
class Receipt(Enum):
    """What the wallet store keeps so that an entry is written once."""

    NONE = "none"
    GIFT = "gift"  # under the gift's own id, as long as that is taken
    ORDER = "order"  # under `<kind>:<id>`


class Also(Enum):
    """What an entry changes besides balances, status and totals. A restore must put it back, too."""

    NOTHING = "nothing"
    DAY = "day"  # what the viewer has spent that day
    LIMIT = "own_limit"  # the viewer's
    EPOCH = "epoch"  # the partition's


class LotMove(Enum):
    """What an entry does with the coins of top-ups."""

    NOTHING = "nothing"
    BRINGS = "brings"
    SPENDS = "spends"
    GIVES_BACK = "gives back"
    TAKES_BACK = "takes back"


BOOKS: Final = "books"


class Kind(Struct, frozen=True, kw_only=True):
    """Everything about a kind of entry."""

    name: str
    body: type[Struct]
    writer: str  # the wallet store's script that writes it to the log; or BOOKS, which is SQL alone (`books.write`)
    coins: int | None  # sign with which the viewer's coins change; None if the entry has no wallet
    credits: bool = False  # the creator's counter in the store grows by its diamonds; it never falls
    legs: tuple[Leg, ...] = ()  # its postings, as far as they follow from columns
    stored: Postings | None = None  # its other postings, which are rows of the table `legs`
    total: Total | None = None  # grows by its coins
    total_diamonds: Total | None = None  # grows by its diamonds
    lot: LotMove = LotMove.NOTHING
    status: str = ""  # the wallet's status afterwards; '' keeps it
    receipt: Receipt = Receipt.NONE
    cause: Cause | None = None  # of `wallet.changed`; None sends none
    order: str = ""  # the SQL table of its order until it is journaled; '' for none
    also: Also = Also.NOTHING
    closes: str = ""  # the kind of the same id that it ends. Only one entry ends it, with the same creator and diamonds
    pays: bool = False  # what it takes of a creator is paid, or no longer

    @property
    def reverses(self) -> bool:
        """Whether it takes something of gifts back."""
        return self.lot in (LotMove.GIVES_BACK, LotMove.TAKES_BACK)

    def operation(self, id: str) -> str:
        """The operation under which the receipt of an entry is kept."""
        return id if self.receipt is Receipt.GIFT else f"{self.name}:{id}"


def _kind(body: type[Struct], *, writer: str, coins: int | None, **more: object) -> Kind:
    return Kind(name=str(body.__struct_config__.tag), body=body, writer=writer, coins=coins, **more)  # type: ignore[arg-type]


OPEN: Final = _kind(OpenEntry, writer="opening_open", coins=None, also=Also.EPOCH)
TOPUP: Final = _kind(
    TopUpEntry,
    writer="wallet_adjust",
    coins=1,
    legs=_TOPUP,
    total=BOUGHT,
    lot=LotMove.BRINGS,
    receipt=Receipt.ORDER,
    cause=Cause.TOPUP,
    order="topups",
)
GIFT: Final = _kind(
    GiftEntry,
    writer="wallet_spend",
    coins=-1,
    credits=True,
    legs=_GIFT,
    total=SPENT,
    total_diamonds=AWARDED,
    lot=LotMove.SPENDS,
    receipt=Receipt.GIFT,
    cause=Cause.GIFT,
    also=Also.DAY,
)
REFUND: Final = _kind(
    RefundEntry,
    writer="wallet_adjust",
    coins=1,
    legs=_REFUND,
    total=REFUNDED,
    lot=LotMove.GIVES_BACK,
    receipt=Receipt.ORDER,
    cause=Cause.REFUND,
    order="reversals",
)
CHARGEBACK: Final = _kind(
    ChargebackEntry,
    writer="wallet_adjust",
    coins=-1,
    stored=_chargeback,
    total=CHARGED_BACK,
    lot=LotMove.TAKES_BACK,
    status="frozen",
    receipt=Receipt.ORDER,
    cause=Cause.CHARGEBACK,
    order="reversals",
)
FREEZE: Final = _kind(
    FreezeEntry, writer="wallet_adjust", coins=0, status="frozen", receipt=Receipt.ORDER, order="reversals"
)
UNFREEZE: Final = _kind(
    UnfreezeEntry, writer="wallet_adjust", coins=0, status="ok", receipt=Receipt.ORDER, order="reversals"
)
LIMIT: Final = _kind(
    LimitEntry, writer="wallet_limit", coins=0, receipt=Receipt.ORDER, order="reversals", also=Also.LIMIT
)

# --- of the books ----------------------------------------------------------------------------------------------------
HOLD: Final = _kind(booked.HoldEntry, writer=BOOKS, coins=None, stored=booked.hold)
RELEASE: Final = _kind(booked.ReleaseEntry, writer=BOOKS, coins=None, stored=booked.release, closes=HOLD.name)
PAID: Final = _kind(booked.PaidEntry, writer=BOOKS, coins=None, stored=booked.paid, closes=HOLD.name, pays=True)
RETURN: Final = _kind(booked.ReturnEntry, writer=BOOKS, coins=None, stored=booked.returned, closes=PAID.name, pays=True)
WRITE_OFF: Final = _kind(booked.WriteOffEntry, writer=BOOKS, coins=None, stored=booked.write_off)
CORRECTION: Final = _kind(booked.CorrectionEntry, writer=BOOKS, coins=None, stored=booked.correction)

_OF_LOG: Final = (OPEN, TOPUP, GIFT, REFUND, CHARGEBACK, FREEZE, UNFREEZE, LIMIT)
_OF_BOOKS: Final = (HOLD, RELEASE, PAID, RETURN, WRITE_OFF, CORRECTION)
KINDS: Final = {kind.name: kind for kind in (*_OF_LOG, *_OF_BOOKS)}
KIND_OF: Final = {kind.body: kind for kind in KINDS.values()}
TOTALS: Final = (SPENT, AWARDED, BOUGHT, REFUNDED, CHARGED_BACK)
