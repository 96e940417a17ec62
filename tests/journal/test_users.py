"""People in SQL: facts and suspensions, on both databases, also by many at once."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from server import limits
from server.journal import database
from server.journal import users as people
from server.journal.users import Changes, NoSuchSuspension, Suspension, Taken, TooMany
from server.requirements import NOTHING_KNOWN, Known


@pytest.fixture
def engine(journal: str) -> Iterator[Engine]:
    made = database.connect(journal)
    yield made
    made.dispose()


def a_suspension(id: str = "s1", user_id: str = "ann", **more: object) -> Suspension:
    rest = {"capability": "go_live", "reason": "r", "statement": "", "from_ms": 100, "until_ms": None}
    return Suspension(id=id, user_id=user_id, **{**rest, **more})  # type: ignore[arg-type]


def together(*works: Callable[[], object]) -> list[BaseException]:
    """Do all of it at once. Returns what was raised."""
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def test_facts_are_replaced(engine: Engine) -> None:
    """What is left out is not known any more; suspensions stay."""
    assert people.read(engine, "ann") == (NOTHING_KNOWN, ())
    people.write_known(engine, "ann", Known(age_at_least=18, region="DE"), 1)
    assert people.suspend(engine, a_suspension())
    people.write_known(engine, "ann", Known(followers=3, payout_methods=("bank",)), 2)
    assert people.read(engine, "ann") == (Known(followers=3, payout_methods=("bank",)), (a_suspension(),))


def test_each_change_has_the_next_version(engine: Engine) -> None:
    """Also when many write at once: who has seen a version misses nothing before it."""
    works = [lambda n=n: people.write_known(engine, f"u{n % 5}", Known(followers=n), n) for n in range(20)]
    works += [lambda n=n: people.suspend(engine, a_suspension(f"s{n}", f"u{n % 5}")) for n in range(10)]
    assert together(*works) == []
    newest, found = people.in_force(engine, 0)
    assert (newest, len(found)) == (30, 10)
    versions = [version for _, version in people.newer(engine, 0)]
    assert versions == sorted(set(versions))
    assert versions[-1] == 30
    assert people.newer(engine, 30) == []


def test_an_id_suspends_once(engine: Engine) -> None:
    """Repeated it changes nothing, also at once; with other words it is another order's."""
    assert together(*[lambda: people.suspend(engine, a_suspension())] * 6) == []
    assert people.read(engine, "ann").suspensions == (a_suspension(),)
    assert not people.suspend(engine, a_suspension(from_ms=200))
    for other in ({"capability": "chat"}, {"reason": "x"}, {"statement": "x"}, {"until_ms": 5}):
        with pytest.raises(Taken):
            people.suspend(engine, a_suspension(**other))
    assert people.suspend(engine, a_suspension(user_id="ben"))


def test_what_is_in_force(engine: Engine) -> None:
    """Until its end, or until it is lifted."""
    people.suspend(engine, a_suspension("ends", until_ms=200))
    people.suspend(engine, a_suspension("lifted"))
    people.suspend(engine, a_suspension("stays"))
    changed = people.amend(engine, "ann", "lifted", 150, lambda _before: Changes(appeal="granted", ended_ms=150))
    assert (changed.appeal, changed.ended_ms, changed.reason) == ("granted", 150, "r")
    assert {each.id for each in people.in_force(engine, 199)[1]} == {"ends", "stays"}
    assert [each.id for each in people.in_force(engine, 200)[1]] == ["stays"]
    with pytest.raises(NoSuchSuspension):
        people.amend(engine, "ben", "stays", 150, lambda _before: Changes())
    assert [user_id for user_id, _ in people.newer(engine, 0)] == ["ann"], "nobody came of what was refused"


def test_only_so_many(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one person, and in force on the whole site."""
    monkeypatch.setattr(limits, "SUSPENSIONS_OF_USER_MAX", 2)
    monkeypatch.setattr(limits, "SUSPENSIONS_MAX", 3)
    for user_id, id in (("ann", "s1"), ("ann", "s2"), ("ben", "s1")):
        assert people.suspend(engine, a_suspension(id, user_id))
    for user_id in ("ann", "cleo"):
        with pytest.raises(TooMany):
            people.suspend(engine, a_suspension("s3", user_id))
    assert not people.suspend(engine, a_suspension("s2"))
