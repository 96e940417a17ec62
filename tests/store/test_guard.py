"""What the guard reads of a store's INFO; tests/torture/test_guard.py runs it on real stores that are wrong."""

import pytest

from server.store import guard

GOOD = {"role": "master", "aof_last_write_status": "ok"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"role": "slave"}, "role is slave"),
        ({"aof_last_write_status": "err"}, "last write"),
    ],
)
def test_how_a_store_is(changed: dict[str, str], why: str | None) -> None:
    """A primary whose file is written."""
    found = guard._state(GOOD | changed)
    assert len(found) == (why is not None)
    assert (why or "") in "".join(found)
