"""The tests of admission and upgrades once more, on the way that everything but ordinary requests takes."""

import pytest

from server.edge.door import Door
from tests.edge import test_admission, test_upgrade

for _module in (test_admission, test_upgrade):
    globals().update({name: value for name, value in vars(_module).items() if not name.startswith("__")})


@pytest.fixture(autouse=True)
def long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may go the short way."""
    monkeypatch.setattr(Door, "enter", lambda *_: False)
