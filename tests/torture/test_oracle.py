"""A bank run over the public API: a model of its own says what every wallet and the creator must have at the end.

The model knows only what it asked for and what was answered. Processes are killed and stopped meanwhile. Afterwards one
row is changed by hand: the audit finds it, freezes its partition alone, and the written procedure brings it back.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from server.journal import database
from server.journal.tables import entries
from server.store import keys
from tests.journeys.givers import Giver, givers
from tests.postgres import Journals
from tests.program import CHILDREN, ROOT, Program, eventually
from tests.site import new_gift_id
from tests.torture import rounds

ROSES = 20  # that a buyer sends whose payment is taken back; a rose is 1 coin and 1 diamond
BOUGHT = 30
WAIT_S = 60.0
_UNLOCK = "ALTER TABLE entries DISABLE TRIGGER entries_insert_only"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest) -> Any:
    """The address of an empty PostgreSQL database, or None for the program's own SQLite."""
    if request.param == "sqlite":
        yield None
        return
    server = Journals()
    try:
        server.start()
        yield server.journal("template1")
    finally:
        server.stop()


@pytest.fixture
async def program(journal_url: str | None) -> AsyncIterator[Program]:
    """A running program that audits all the time."""
    environ = {"LIVEROOM_AUDIT_EVERY_S": "1", **({"LIVEROOM_JOURNAL_URL": journal_url} if journal_url else {})}
    made = Program(**environ)
    try:
        await made.start()
        yield made
    finally:
        await made.discard()


class Model:
    """What must be there. Only answers move it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.coins: dict[str, int] = {}
        self.diamonds = 0
        self.refunded: set[str] = set()
        self.errors = ""

    async def order(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send an order again and again until it is carried out: answers get lost, the journal has to catch up."""

        async def answered() -> dict[str, Any] | None:
            try:
                async with self.program.client() as client:
                    response = await client.post(path, json=body)
            except (OSError, httpx.TransportError):
                return None
            assert response.status_code in (200, 201, 404, 503), f"{path}: {response.status_code} {response.text}"
            return response.json() if response.status_code < 300 else None

        found: dict[str, Any] = await eventually(answered, WAIT_S, f"{path}; {self.program.output()}")
        return found

    async def buy(self, user: str, coins: int, topup_id: str) -> None:
        await self.order(f"/v1/wallets/{user}/topups", {"id": topup_id, "coins": coins, "source": "oracle"})
        self.coins[user] = self.coins.get(user, 0) + coins

    def gave(self, giver: Giver, roses: int) -> None:
        self.coins[giver.user] -= roses
        self.diamonds += roses

    async def refund(self, giver: Giver, gift_id: str) -> None:
        await self.order(f"/v1/gifts/{gift_id}/refund", {"reason": "oracle", "user_id": giver.user})
        self.refunded.add(gift_id)
        self.coins[giver.user] += 1
        self.diamonds -= 1

    async def cheat(self, room: str, name: str) -> None:
        """Buy, give, and take the payment back: nothing is left of it anywhere."""
        await self.buy(name, BOUGHT, f"paid-{name}")
        buyer = Giver(self.program, name, room, BOUGHT)
        await buyer.join()
        await buyer.give(ROSES)
        await buyer.give_again()
        await self.order(f"/v1/topups/paid-{name}/chargeback", {"reason": "stolen card"})
        self.coins[name] = 0

    async def check(self) -> None:
        """Every wallet, the creator, and the audit say what the model says, and no alarm was ever raised."""
        for user, coins in self.coins.items():
            assert await self.program.coins(user) == coins, user
        await eventually(self._earned, WAIT_S, f"{self.diamonds} diamonds; {self.program.output()}")
        report = await eventually(self._audited, WAIT_S, f"an audit; {self.program.output()}")
        assert report["coins_held"] == sum(self.coins.values())
        log = self.errors + self.program.stderr() + self.program.stdout()
        assert [line for line in log.splitlines() if "partition_frozen" in line or "audit_wrong" in line] == []

    async def _earned(self) -> bool:
        has = await self.program.get("/v1/creators/creator/earnings")
        return has["pending"] + has["available"] + has["held"] + has["paid"] - has["debt"] == self.diamonds

    async def _audited(self) -> Any:
        async with self.program.client() as client:
            response = await client.get("/v1/audit")
        report = response.json()
        return report if response.status_code == 200 and report["ok"] and self._whole(report) else None

    def _whole(self, report: dict[str, Any]) -> bool:
        return report["coins_held"] == sum(self.coins.values()) and not report["not_compared"]


@pytest.mark.timeout(rounds(240, 1_200))
async def test_a_bank_run_agrees_with_its_model(program: Program) -> None:
    """Kills and stops under gifts, refunds and chargebacks: sums equal, no alarm. Then one corrupt row, and back."""
    model = Model(program)
    people = await givers(program, "bank", 4)
    model.coins = {user: await program.coins(user) for user in ("alice", "bob")}  # whom development gives coins
    for giver in people:
        model.coins[giver.user] = giver.start
    for turn in range(rounds(5, 40)):
        sent = {giver.user: len(giver.sent) for giver in people}
        giving = asyncio.gather(*(giver.give(40) for giver in people))
        await _break(model, turn)
        await giving
        await asyncio.gather(*(giver.give_again() for giver in people))
        for giver in people:
            model.gave(giver, len(giver.sent) - sent[giver.user])
            await model.refund(giver, next(id for id in reversed(giver.sent) if id not in model.refunded))
        await model.cheat("bank", f"cheat-{turn}")
    await model.check()
    await _one_corrupt_row(program, people)


async def _break(model: Model, turn: int) -> None:
    """Kill one process after the other in turn, then stop and start the program as a whole."""
    program = model.program
    kinds = (*CHILDREN, "all")
    if (kind := kinds[turn % len(kinds)]) == "all":
        model.errors += program.stderr() + program.stdout()
        await program.stop()
        await program.start()
        return
    old = await program.kill_child(kind)
    await program.child_again(kind, old)
    await program.until_ready()


async def _one_corrupt_row(program: Program, people: list[Giver]) -> None:
    """The written procedure for a changed row (docs/operations.md)."""
    url = program.environ.get("LIVEROOM_JOURNAL_URL") or f"sqlite:///{program.data / 'journal.sqlite3'}"
    engine = database.connect(url)
    giver = people[0]
    other = next(each for each in people if keys.partition_of(each.user) != keys.partition_of(giver.user))
    partition = keys.partition_of(giver.user)
    row = (entries.c.kind == "gift", entries.c.ref == giver.sent[0], entries.c.user_id == giver.user)
    with engine.begin() as connection:
        unlocked = "DROP TRIGGER entries_no_update" if not url.startswith("postgresql") else _UNLOCK
        connection.exec_driver_sql(unlocked)  # rows are insert-only: a person with the rights to do this changes one
        before = connection.execute(select(entries.c.creator_id).where(*row)).scalar_one()
        connection.execute(update(entries).where(*row).values(creator_id="thief"))
    status, said = await _command(program, "audit", "--freeze")
    assert (status, f"partition {partition}" in said) == (1, True), said
    await eventually(lambda: _is_refused(program, giver), WAIT_S, "a frozen partition")
    await other.give(1)
    await other.give_again()
    status, said = await _command(program, "repair")
    assert (status, f"partition {partition}\n" in said, "1 of 64" in said) == (1, True, True), said
    assert (await _command(program, "repair", "--thaw", str(partition)))[0] != 0, "it is still wrong"
    with engine.begin() as connection:
        connection.execute(update(entries).where(*row).values(creator_id=before))
    engine.dispose()
    status, said = await _command(program, "repair", "--thaw", str(partition))
    assert status == 0, said
    await giver.give(1)
    await giver.give_again()


async def _is_refused(program: Program, giver: Giver) -> bool:
    """Whether this person's gifts are refused. A gift that is taken meanwhile counts, too."""
    if not giver.connected:
        await giver.join()
    assert giver.viewer is not None
    gift_id = new_gift_id()
    reply = await giver.viewer.gift("rose", id=gift_id)
    if reply["type"] == "ok":
        giver.sent.append(gift_id)
        giver.acked[gift_id] = reply
    return bool(reply["type"] == "refused" and reply["reason"] == "wallet_unavailable")


async def _command(program: Program, *words: str) -> tuple[int, str]:
    """Run an operator's command on the program's stores; its status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", *words),
        cwd=ROOT,
        env=program.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
