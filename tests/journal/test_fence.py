"""The tokens of the fence in SQL: who holds a partition, who may swap it, and what the drain's check holds back."""

import threading
from collections.abc import Iterator

import pytest

from server.clock import Clock
from server.journal import database, fence
from server.journal.fence import Held, Openings, Superseded

CLOCK = Clock(lambda: 1_760_000_000.0)
BOTH = {3: "", 9: ""}


@pytest.fixture
def openings(journal: str) -> Iterator[Openings]:
    """An empty table."""
    engine = database.connect(journal)
    yield Openings(engine, CLOCK)
    engine.dispose()


def opened(held: dict[int, Held]) -> dict[int, str]:
    """What a store records after these partitions were opened on it."""
    return {partition: row.name for partition, row in held.items()}


def test_the_first_store_replaces_nobody(openings: Openings) -> None:
    """It gets a token, and every node on it reads the same one."""
    assert openings.read() == {}
    first = openings.take("a", BOTH)
    assert [(row.identity, row.before) for row in first.values()] == [("a", "")] * 2
    assert openings.take("a", BOTH) == openings.take("a", opened(first)) == openings.read() == first


def test_another_store_swaps_the_token(openings: Openings) -> None:
    """Only that of the partitions that it opens. What a replica has copied from the old store does not stop it."""
    first = openings.take("a", BOTH)
    second = openings.take("b", {3: first[3].name})
    assert (second[3].identity, second[3].before) == ("b", "a")
    assert second[3].token != first[3].token
    assert openings.read() == {3: second[3], 9: first[9]}
    assert openings.take("b", {3: first[3].name}) == second


@pytest.mark.parametrize("unfenced", [False, True])
def test_an_old_primary_takes_nothing_back(openings: Openings, unfenced: bool) -> None:
    """It was opened by this very process, with a token or before there was a fence, and another one took over since."""
    first = openings.take("a", BOTH)
    second = openings.take("b", opened(first))
    with pytest.raises(Superseded, match="partition 3 was opened on b since"):
        openings.take("a", dict.fromkeys(BOTH, "a") if unfenced else opened(first))
    assert openings.read() == second
    restarted = openings.take("c", opened(first))
    assert {row.before for row in restarted.values()} == {"b"}


def test_the_drain_checks_what_it_has_seen(openings: Openings) -> None:
    """A swapped token, a new one and one that is gone are noticed; other partitions do not matter."""
    with openings._engine.begin() as connection:
        assert fence.check(connection, {3, 9}, {}) is None
    first = openings.take("a", BOTH)
    openings.take("b", {9: ""})
    with openings._engine.begin() as connection:
        assert fence.check(connection, {3}, first) is None
        assert fence.check(connection, {3, 9}, first) == 9
        assert fence.check(connection, {3}, {}) == 3
    openings.forget([3])
    with openings._engine.begin() as connection:
        assert fence.check(connection, {3}, first) == 3


def test_nobody_takes_over_while_the_drain_writes(openings: Openings) -> None:
    """The swap waits for the transaction that moves the marks: who takes over reads them afterwards."""
    first, order = openings.take("a", BOTH), list[str]()

    def swap() -> None:
        openings.take("b", opened(first))
        order.append("swapped")

    with openings._engine.begin() as connection:
        assert fence.check(connection, {3}, first) is None
        thread = threading.Thread(target=swap)
        thread.start()
        thread.join(0.2)
        order.append("written")
    thread.join()
    assert order == ["written", "swapped"]
