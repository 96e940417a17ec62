"""The Python client and the gifts that a new epoch sends again."""

import pytest

from tests.test_client_python import Wire, chat, gift, welcome, wire

__all__ = ["wire"]


def test_gifts_of_a_new_epoch_come_again_below_its_snapshot(wire: Wire) -> None:
    """Each id comes and counts once; position and totals of the room stay."""
    wire.welcomed(7)
    wire.told(gift(8, "a"))
    wire.client.lost(1006)
    told = wire.told(
        welcome(30, epoch="e2", gap={"from": 1, "to": 30}, room={"coins": 20}),
        gift(8, "a", replayed=True),
        gift(9, "b", replayed=True),
        gift(9, "b", replayed=True),
        chat(10),
        gift(31, "c"),
    )
    assert [getattr(each, "id", None) for each in told[2:]] == ["b", "c"]
    assert wire.client.resume_query() == "since=e2:31"
    assert (wire.client.gift_coins, wire.client.skipped) == (9, 0)
    assert wire.client.room is not None
    assert wire.client.room.coins == 23
    wire.client.lost(1006)
    wire.told(welcome(40, epoch="e2", gap={"from": 32, "to": 40}))
    assert wire.told(gift(33, "d", replayed=True)) == []


@pytest.mark.parametrize("epoch", ["e1", "e2"])
def test_a_connection_that_is_lost_among_the_gifts_of_a_gap(wire: Wire, epoch: str) -> None:
    """We come back with the position of before until they have all come; each counts once."""
    wire.welcomed(7)
    gapped = welcome(3_000, epoch=epoch, gap={"from": 8, "to": 3_000}, replays=2, room={"coins": 6})
    for _ in range(2):
        wire.client.lost(1006)
        wire.told(gapped, gift(900, "a", replayed=True))
        assert wire.client.resume_query() == "since=e1:7"
    assert [getattr(each, "id", None) for each in wire.told(gift(950, "b", replayed=True))] == ["b"]
    assert wire.client.resume_query() == f"since={epoch}:3000"
    assert (wire.client.gift_coins, wire.client.skipped) == (6, 0)
    assert wire.client.room is not None
    assert wire.client.room.coins == 6
    wire.told(gapped, chat(3_001))
    assert wire.client.resume_query() == f"since={epoch}:3001"
