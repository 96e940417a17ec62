"""Rules of a room: what happens when a gift comes."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from protocol.custom import EventName
from protocol.ids import CatalogueId

RULES_MAX = 50  # of a room, and so many actions of all its rules together: a gift may send as many events
DATA_BYTES_MAX = 2_000  # of a rule's `data` as JSON
DATA_DEPTH_MAX = 32


class CustomEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """What a rule sends. The gift's id is added to `data` as `gift_id`."""

    name: EventName
    data: dict[str, Any] = {}  # msgspec copies it

    def __post_init__(self) -> None:
        if _depth(self.data) > DATA_DEPTH_MAX:
            raise ValueError(f"`data` may be {DATA_DEPTH_MAX} levels deep")
        try:
            if len(msgspec.json.encode(self.data)) > DATA_BYTES_MAX:
                raise ValueError(f"`data` may have {DATA_BYTES_MAX} bytes")
            msgspec.msgpack.encode(self.data)
        except OverflowError:  # its integers have 64 bits
            raise ValueError("`data` has a number that is too large") from None


def _depth(value: Any) -> int:
    """How many levels a value has. Raises RecursionError."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A gift that is `gift`, and of `min_coins` at least, does these actions. Null is any gift or amount.

    Each is a `custom.sent`: `event` for everybody's pages, `scene` for overlays, `webhook` for the platform.
    """

    event: CustomEvent | None = None
    scene: CustomEvent | None = None
    webhook: CustomEvent | None = None
    gift: CatalogueId | None = None
    min_coins: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None

    def actions(self) -> Iterator[tuple[str, CustomEvent]]:
        """What it does, by name."""
        for name in ("event", "scene", "webhook"):
            if (done := getattr(self, name)) is not None:
                yield name, done


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """All rules of a room."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)]

    def __post_init__(self) -> None:
        if sum(1 for rule in self.rules for _ in rule.actions()) > RULES_MAX:
            raise ValueError(f"the rules may have {RULES_MAX} actions together")
