"""What the guard reads of a store's INFO; tests/torture/test_guard.py runs it on real stores that are wrong."""

import pytest

from server.store import guard

GOOD = {"role": "master", "redis_version": "7.2.4", "aof_last_write_status": "ok"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"redis_version": "10.0.0"}, None),
        ({"redis_version": "6.2.14"}, "version 6.2.14; 7.0 or later"),
        ({"redis_version": "6.9.9", "valkey_version": "8.1.1"}, None),
        ({"role": "slave"}, "role is slave"),
        ({"aof_last_write_status": "err"}, "last write"),
    ],
)
def test_how_a_store_is(changed: dict[str, str], why: str | None) -> None:
    """A primary, new enough, whose file is written. Valkey also says which version of Redis it is like."""
    found = guard._state(GOOD | changed)
    assert len(found) == (why is not None)
    assert (why or "") in "".join(found)
