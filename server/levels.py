"""The levels of gifters: from the program's file, or from the one that LIVEROOM_LEVELS names, in TOML."""

import bisect
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from server.settings import Unusable

LEVELS_MAX = 10**3  # a token may name one of so many, too
COINS_MAX = 10**12  # far above what anybody gives, and exact in every client
OWN = Path(__file__).parent / "levels.toml"
Coins = Annotated[int, Meta(ge=1, le=COINS_MAX)]
Banner = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}$(?!\n)")]


class _File(Struct, forbid_unknown_fields=True):
    coins: Annotated[tuple[Coins, ...], Meta(max_length=LEVELS_MAX)]
    banners: dict[str, Banner] = {}  # msgspec copies it


class Levels(Struct, frozen=True):
    """How many coins each level takes, and the banners from some levels on. Both rise."""

    coins: tuple[int, ...] = ()
    banners: tuple[tuple[int, str], ...] = ()

    def level_of(self, coins: int) -> int:
        """The level of who has given so much; 0 is none."""
        return bisect.bisect_right(self.coins, coins)

    def next_of(self, level: int) -> int | None:
        """What the next level takes; None behind the last."""
        return self.coins[level] if level < len(self.coins) else None

    def banner_of(self, level: int) -> str:
        """The banner of a level; empty below the first that has one."""
        place = bisect.bisect_right(self.banners, level, key=lambda each: each[0])
        return self.banners[place - 1][1] if place else ""


def load(path: Path | None) -> Levels:
    """The table. Raises Unusable."""
    path = path or OWN
    try:
        found = msgspec.convert(tomllib.loads(path.read_bytes().decode()), _File)
        banners = tuple(sorted((_level(said), banner) for said, banner in found.banners.items()))
    except OSError as error:  # its text would say the path again
        raise Unusable(f"The levels {path} cannot be used: {error.strerror}.") from None
    except (msgspec.ValidationError, ValueError) as error:
        raise Unusable(f"The levels {path} cannot be used: {str(error).rstrip('.')}.") from None
    if not all(low < high for low, high in pairwise(found.coins)):
        raise Unusable(f"The levels {path} cannot be used: each must take more coins than the one before.")
    return Levels(found.coins, banners)


def _level(said: str) -> int:
    """A key of the banners. Raises ValueError."""
    if not (said.isascii() and said.isdecimal() and 1 <= int(said) <= LEVELS_MAX):
        raise ValueError(f"{said!r} is no level")
    return int(said)
