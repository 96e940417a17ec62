"""Coin packages: their file, and what is refused of it."""

from pathlib import Path

import pytest

from server import packages
from server.packages import Cost, Packages
from server.settings import Unusable

TOML = """
[[packages]]
id = "small"
coins = 100
prices = { default = { currency = "USD", minor = 149 }, JP = { currency = "JPY", minor = 220 } }
[[packages]]
id = "kuwait"
coins = 500
prices = { KW = { currency = "KWD", minor = 1750 } }
"""


def written(tmp_path: Path, text: str = TOML) -> Path:
    path = tmp_path / "packages.toml"
    path.write_text(text)
    return path


def test_prices_by_region(tmp_path: Path) -> None:
    """A region without a price has the default one, if there is one."""
    sold = Packages(written(tmp_path))
    small, kuwait = sold.all
    assert sold.get("small") == small
    assert sold.get("large") is None
    assert [small.cost(region) for region in ("JP", "DE")] == [Cost("JPY", 220), Cost("USD", 149)]
    assert [kuwait.cost(region) for region in ("KW", "DE")] == [Cost("KWD", 1750), None]
    assert Packages(written(tmp_path, TOML.replace("149", "150"))).version != sold.version


def test_the_program_has_packages() -> None:
    """Without a file there are some."""
    assert packages.load(None)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("[[packages]]", "[[package]]", "a list of"),
        ("coins = 100", "coins = 0", "Expected `int` >= 1"),
        ('"kuwait"', '"small"', "names a package twice"),
        ("KWD", "KWX", "a price is in KWX"),
        ("minor = 149", "minor = 1.49", "Expected `int`"),
        ("JP =", "Japan =", "prices"),
        ("coins = 100", "coin = 100", "coin"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, old: str, new: str, why: str) -> None:
    """It is refused in one sentence with its path."""
    with pytest.raises(Unusable, match=r"^The coin packages .*packages\.toml cannot be used: .*\.$") as refused:
        packages.load(written(tmp_path, TOML.replace(old, new)))
    assert why in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The path is named once."""
    with pytest.raises(Unusable, match="No such file"):
        packages.load(tmp_path / "none.toml")
