"""What a site requires of people before they may do something, region by region. Without a file it requires nothing."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from server import limits
from server.rates import DEFAULT, RegionCode, TaxState
from server.settings import Unusable

Capability = Literal["go_live", "receive_gifts", "send_gifts", "chat", "payout"]
CAPABILITIES: Final[tuple[Capability, ...]] = ("go_live", "receive_gifts", "send_gifts", "chat", "payout")
State = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$(?!\n)", max_length=32)]
Age = Annotated[int, Meta(ge=0, le=limits.AGE_MAX)]
Followers = Annotated[int, Meta(ge=0, le=limits.FOLLOWERS_MAX)]


class Known(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the host platform knows of somebody. What is absent is not known."""

    age_at_least: Age | None = None
    followers: Followers | None = None
    region: Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)")] | None = None  # ISO 3166-1
    identity: State | None = None
    tax: TaxState | None = None
    payout_methods: Annotated[tuple[State, ...], Meta(max_length=limits.PAYOUT_METHODS_MAX)] = ()


NOTHING_KNOWN: Final = Known()


class Missing(Struct, frozen=True):
    """A condition that is not met: its value, and what is needed."""

    name: str
    value: Any
    needed: Any


class Needs(Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions of a region. `identity` and `tax` list the states that are good; none means any or no state."""

    age_at_least: Age | None = None
    followers: Followers | None = None
    region: bool = False  # it must be known
    identity: tuple[State, ...] = ()
    tax: tuple[TaxState, ...] = ()
    payout_method: bool = False  # at least one

    def missing(self, known: Known) -> tuple[Missing, ...]:
        """What somebody of whom so much is known does not meet."""
        found = [(name, getattr(known, name), needed) for name, needed, met in self._checked(known) if not met]
        return tuple(Missing(*each) for each in found)

    def _checked(self, known: Known) -> list[tuple[str, Any, bool]]:
        least: Callable[[int | None, int | None], bool] = lambda has, needs: needs is None or (has or 0) >= needs  # noqa: E731
        return [
            ("age_at_least", self.age_at_least, least(known.age_at_least, self.age_at_least)),
            ("followers", self.followers, least(known.followers, self.followers)),
            ("region", True, not self.region or known.region is not None),
            ("identity", self.identity, not self.identity or known.identity in self.identity),
            ("tax", self.tax, not self.tax or known.tax in self.tax),
            ("payout_methods", 1, not self.payout_method or bool(known.payout_methods)),
        ]


class Requirements(Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions by region; `default` is for regions that are not named, and for an unknown one."""

    go_live: dict[RegionCode, Needs] = {}
    payout: dict[RegionCode, Needs] = {}

    def missing(self, capability: Capability, known: Known) -> tuple[Missing, ...]:
        """What somebody lacks for this."""
        regions: dict[str, Needs] = getattr(self, capability, {})
        needs = regions.get(known.region or DEFAULT) or regions.get(DEFAULT)
        return () if needs is None else needs.missing(known)


def load(path: Path | None) -> Requirements:
    """The requirements in a file. Raises Unusable."""
    if path is None:
        return Requirements()
    try:
        return msgspec.convert(tomllib.loads(path.read_bytes().decode()), Requirements)
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The requirements {path} cannot be used: {error.strerror}.") from None
    except ValueError as error:  # msgspec's and tomllib's errors are such
        raise Unusable(f"The requirements {path} cannot be used: {str(error).rstrip('.')}.") from None
