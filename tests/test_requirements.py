"""What a site requires of people: by region, with each condition that is not met, and files that cannot be used."""

from pathlib import Path
from typing import Any

import pytest

from server import requirements
from server.requirements import Known, Missing, Needs, Requirements
from server.settings import Unusable

TOML = """
[go_live.default]
age_at_least = 18
followers = 1000
[go_live.KR]
age_at_least = 19
[payout.default]
region = true
identity = ["verified"]
tax = ["w8", "w9"]
payout_method = true
"""


def written(tmp_path: Path, text: str = TOML) -> Path:
    path = tmp_path / "requirements.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ({}, {"age_at_least": (None, 18), "followers": (None, 1000)}),
        ({"age_at_least": 18, "followers": 999}, {"followers": (999, 1000)}),
        ({"age_at_least": 18, "followers": 1000, "region": "DE"}, {}),
        ({"age_at_least": 18, "followers": 1000, "region": "KR"}, {"age_at_least": (18, 19)}),
        ({"age_at_least": 19, "region": "KR"}, {}),
    ],
)
def test_who_may_go_live(tmp_path: Path, known: dict[str, Any], missing: dict[str, tuple[Any, Any]]) -> None:
    """18 years and 1,000 followers, in Korea 19 years; what is not known is not met."""
    rules = requirements.load(written(tmp_path))
    assert rules.missing("go_live", Known(**known)) == tuple(Missing(name, *each) for name, each in missing.items())
    assert rules.missing("chat", Known(**known)) == ()


def test_who_may_be_paid_out(tmp_path: Path) -> None:
    """Each state must be one of the good ones."""
    rules = requirements.load(written(tmp_path))
    names = [each.name for each in rules.missing("payout", Known(identity="pending", tax="w7"))]
    assert names == ["region", "identity", "tax", "payout_methods"]
    whole = Known(region="DE", identity="verified", tax="w8", payout_methods=("bank",))
    assert rules.missing("payout", whole) == ()


def test_without_a_file_nothing_is_required() -> None:
    """And without a part for somebody's region, too."""
    assert requirements.load(None).missing("go_live", Known()) == ()
    assert Requirements(go_live={"KR": Needs(age_at_least=19)}).missing("go_live", Known(region="DE")) == ()


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("followers = 1000", "folowers = 1000", "folowers"),
        ("[go_live.KR]", "[go_live.Korea]", "go_live"),
        ("[go_live.KR]", "[chat.KR]", "chat"),
        ("age_at_least = 19", "age_at_least = 999", "<= 150"),
        ("[go_live.KR]", "[go_live.KR", "Expected"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, old: str, new: str, why: str) -> None:
    """It is refused in one sentence with its path."""
    with pytest.raises(Unusable, match=r"^The requirements .*requirements\.toml cannot be used: .*\.$") as refused:
        requirements.load(written(tmp_path, TOML.replace(old, new)))
    assert why in str(refused.value)
