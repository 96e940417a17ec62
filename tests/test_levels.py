"""The table of levels: which level somebody has, and one sentence about a table that cannot be used."""

from pathlib import Path

import pytest

from server import levels
from server.settings import Unusable

TABLE = levels.Levels((10, 20, 50), ((2, "silver"), (3, "gold")))


@pytest.mark.parametrize(
    ("coins", "level", "banner", "more"),
    [
        (0, 0, "", 10),
        (9, 0, "", 10),
        (10, 1, "", 20),
        (49, 2, "silver", 50),
        (50, 3, "gold", None),
        (999, 3, "gold", None),
    ],
)
def test_what_somebody_has(coins: int, level: int, banner: str, more: int | None) -> None:
    """A level from its coins on, the newest banner, and what the next one takes."""
    assert (TABLE.level_of(coins), TABLE.banner_of(level), TABLE.next_of(level)) == (level, banner, more)


def test_our_own_table() -> None:
    """It can be used, and the first gift is a level."""
    own = levels.load(None)
    assert (own.level_of(1), own.level_of(levels.COINS_MAX)) == (1, len(own.coins))
    assert own.banner_of(len(own.coins)) == "diamond"


def test_a_table_of_the_owner(tmp_path: Path) -> None:
    """LIVEROOM_LEVELS names it. No level at all is a table, too."""
    path = tmp_path / "levels.toml"
    path.write_text('coins = [5, 7]\n[banners]\n2 = "red"\n')
    assert levels.load(path) == levels.Levels((5, 7), ((2, "red"),))
    path.write_text("coins = []")
    assert levels.load(path).level_of(1_000) == 0


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "missing required field `coins`"),
        ("coins = [5, 5]", "each must take more coins"),
        ("coins = [0]", ">= 1"),
        ("coins = [1.5]", "Expected `int`"),
        ("coins = [1]\nbanner = 1", "unknown field `banner`"),
        ('coins = [1]\n[banners]\nhigh = "red"', "'high' is no level"),
        ('coins = [1]\n[banners]\n0 = "red"', "'0' is no level"),
        ('coins = [1]\n[banners]\n1 = "<b>"', "matching regex"),
        (f"coins = {list(range(1, levels.LEVELS_MAX + 2))}", "length <= 1000"),
        (f"coins = [{levels.COINS_MAX + 1}]", "<= 1000000000000"),
        (f'coins = [1]\n[banners]\n{levels.LEVELS_MAX + 1} = "red"', "is no level"),
        ("coins = [", "Invalid value"),
        ("coins = [1]\n\xff", "can't decode"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, written: str, why: str) -> None:
    """One sentence says the file and what is wrong."""
    path = tmp_path / "levels.toml"
    path.write_bytes(written.encode("latin-1"))
    with pytest.raises(Unusable, match=r"The levels .* cannot be used") as told:
        levels.load(path)
    assert why in str(told.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    """The sentence says so."""
    with pytest.raises(Unusable, match="No such file"):
        levels.load(tmp_path / "nothing.toml")
