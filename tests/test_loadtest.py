"""The crowd on a real node; and the crowd notices when order or sums are wrong."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from loadtest import acts, floods, hostile, scenarios
from loadtest.audience import Audience, Counted
from loadtest.command_line import main, parser, plan_of, tell
from loadtest.crowd import Target, View, hammer
from loadtest.hearing import Hall, mark
from loadtest.naive import BOT_PATH, PATH, WAYS, Naive
from loadtest.recorder import Recorder
from loadtest.results import Check, Result, Second, read
from loadtest.verdict import Verdict
from loadtest.viewer import Counts, Viewer
from loadtest.wire import Address, NotAdmitted, Socket
from loadtest.worker import Account, Heard, Paid, Told
from protocol.client import Frame, RoomClient
from server import __version__
from server.journal.audit import SCRIPTS as AUDIT_SCRIPTS
from server.journal.audit import Audit
from server.journal.drain import Drain
from server.processes.journal import audit_always
from server.store.cluster import open_store
from tests.site import WAIT_S, Site


class Nobody:
    """A view that shows nothing."""

    def update(self, *_: object) -> None: ...


class Ending:
    """A view that also says when the crowd leaves."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.leaving = asyncio.Event()

    def update(self, second: Second, phase: str, totals: dict[str, int], wrong: list[str]) -> None:
        self._view.update(second, phase, totals, wrong)
        if phase == "leaving":
            self.leaving.set()


async def audits(site: Site, drain: Drain, begin: asyncio.Event) -> None:
    """From then on, audits of this site as the journal process makes them."""
    await begin.wait()
    wallet = open_store("wallet", site.settings.wallet_address, AUDIT_SCRIPTS)
    await wallet.start()
    try:
        await wallet.wait_up(WAIT_S)
        await audit_always(Audit(site.node.engine, wallet, site.node.clock), drain, site.node.engine, AUDIT_EVERY_S)
    finally:
        await wallet.stop()


AUDIT_EVERY_S = 1.0
RUN_S_MAX = 180  # a run waits for processes, for the crowd and for an audit
LENIENT = ("--max-p99-ms", "60000", "--max-pause-s", "60", "--max-refused", "100", "--max-closed", "100")


async def ran(site: Site, scenario: str, *more: str, view: View | None = None) -> Result:
    """Run the command with these arguments on this node: a small crowd, briefly, with the journal beside it."""
    args = parser().parse_args([scenario, "--viewers", "12", "--seconds", "1", "--ramp-s", "0.2", *LENIENT, *more])
    stopping, ending = asyncio.Event(), Ending(view or Nobody())
    async with site.draining() as drain:
        journaling = asyncio.create_task(drain.run(stopping))
        auditing = asyncio.create_task(audits(site, drain, ending.leaving))
        target = Target(url=site.url, service_key=site.settings.service_key)
        try:
            return await hammer(plan_of(args), target, ending)
        finally:
            auditing.cancel()
            await asyncio.gather(auditing, return_exceptions=True)
            stopping.set()
            await journaling


@pytest.mark.timeout(RUN_S_MAX)
async def test_a_scenario_is_run_and_judged(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes of viewers check everything, everything is right, and the file agrees."""
    found = await ran(site, "gift_rain", "--processes", "2", "--rooms", "2")
    assert tell(found, tmp_path) == 0
    said = capsys.readouterr().out
    [file] = tmp_path.glob("gift_rain-*.json")
    assert msgspec.json.encode(read(file)) == msgspec.json.encode(found)
    assert found.passed
    assert all(f"holds  {check.name}" in said for check in found.checks)
    assert found.server == {"address": site.url, "version": __version__}
    assert found.totals["acked_gifts"] == found.totals["gifts"] > 20
    assert found.latencies["gift to shown"].count > found.totals["gifts"]
    assert sum(second.rates.get("received", 0) for second in found.series) == found.totals["received"]


@pytest.mark.timeout(RUN_S_MAX)
async def test_who_loses_the_connection_is_resumed(site: Site) -> None:
    """After a wave of reconnects everybody is back and has missed nothing."""
    found = await ran(site, "reconnect_wave")
    assert found.passed
    assert found.totals["resumed"] >= 12
    assert found.totals["gaps"] == 0


@pytest.mark.timeout(RUN_S_MAX)
async def test_what_is_wrong_ends_with_1(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first violations are printed, and the exit status shows that there are some."""
    found = await ran(site, "whale", "--gifts-per-s", "0")
    wrong = Check("sums", "2", ["viewer 1 saw [bold] too much"])
    assert tell(msgspec.structs.replace(found, checks=[*found.checks, wrong]), tmp_path) == 1
    assert wrong.wrong[0] in capsys.readouterr().out


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and status 2, also when a scenario lacks an option that it needs."""
    away = ["--url", "http://127.0.0.1:9", "--output", str(tmp_path)]
    assert main(["chat_storm", *away]) == 2
    assert "cannot run" in capsys.readouterr().out
    assert main(["node_kill", *away]) == 2
    assert "--kill-node" in capsys.readouterr().out


def test_the_same_seed_makes_the_same_load() -> None:
    """All randomness comes from the seed; each process has its own share of it."""
    plan = scenarios.mixed_evening(100, 60)
    first = acts.make(plan, 0, 1.0)
    assert first == acts.make(plan, 0, 1.0)
    assert first != acts.make(plan, 1, 1.0)
    assert first != acts.make(msgspec.structs.replace(plan, seed=2), 0, 1.0)
    assert [act.at_s for act in first] == sorted(act.at_s for act in first)
    assert {act.kind for act in first} == {"chat", "gift", "like", "churn", "wave"}


@pytest.mark.parametrize("attack", hostile.ATTACKS, ids=lambda attack: attack.name)
async def test_hostile_guests_come_to_the_right_end(site: Site, attack: hostile.Attack) -> None:
    """Each attack ends as the crowd expects."""
    chance, told = Random(1), list[str | None]()
    guest = hostile.Guest(site.url, "demo", site.token("mallory"))
    chance.choice = lambda _: attack  # type: ignore[assignment,method-assign]
    ended = asyncio.Event()

    def tell(wrong: str | None) -> None:
        told.append(wrong)
        ended.set()

    trying = asyncio.create_task(hostile.keep_breaking(guest, chance, tell))
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    assert told[0] is None


@pytest.mark.parametrize("name", floods.KINDS)
async def test_flooders_are_disconnected(site: Site, name: str) -> None:
    """Each kind of flood of `bench floods` ends with 4502."""
    path = "/" + site.address(token=site.token("eve")).split("/", 3)[3]
    assert await floods.one_flood(Address.of(site.url), path, floods.KINDS[name]) == "4502"


# --- the verdict ---------------------------------------------------------------------------------------------------
KEPT_PRINT, CHAT_PRINT, COUNT_PRINT = 4 << 2, 5 << 2 | 1, 6 << 2 | 2


def an_account(**changed: Any) -> Account:
    """One process: a room was sent a chat, a gift of 5 coins, a count and a chat; two viewers got everything."""
    told = Told("r", "e", {1: CHAT_PRINT, 2: KEPT_PRINT, 3: COUNT_PRINT, 4: CHAT_PRINT}, {"g1": (2, 5)})
    heard = [Heard(n, "r", "e", 0, 4, 1, 5, 0, []) for n in range(2)]
    given = {"told": [told], "heard": heard, "gifts": [Paid("g1", "alice", "r", 5, True)], "counts": {}, "wrong": []}
    return Account(**{**given, "cpu_s": 1.0, **changed})


def sentences(*accounts: Account) -> list[str]:
    verdict = Verdict(list(accounts))
    checks = [verdict.order(), verdict.losses(), verdict.sums(), verdict.shown()]
    return [sentence for check in checks for sentence in check.wrong]


def test_nothing_is_wrong_where_nothing_is() -> None:
    """Two processes received the same; what is superseded or announced as hidden is not lost."""
    overtaken = Heard(3, "r", "e", 0, 4, 1, 5, 0, [(3, 3)])
    hidden = Heard(4, "r", "e", 1, 4, 1, 5, 1, [(4, 4)])
    late = Heard(5, "r", "e", 2, 4, 0, 0, 0, [])
    other = an_account(heard=[overtaken, hidden, late], gifts=[])
    assert sentences(an_account(), other) == []


WRONGS = {
    "another event under the same seq": ({"told": [Told("r", "e", {1: 9 << 2}, {})]}, "r e: 1 is"),
    "a viewer's own word": ({"wrong": ["viewer 7 was told seq 3 after 4"]}, "viewer 7 was told seq 3"),
    "a gift that was not told": ({"heard": [Heard(8, "r", "e", 0, 4, 0, 0, 3, [(2, 2)])]}, "never dropped"),
    "a chat that was not told": ({"heard": [Heard(8, "r", "e", 0, 4, 1, 5, 0, [(1, 1)])]}, "0 as hidden"),
    "an event that nobody knows": ({"heard": [Heard(8, "r", "e", 0, 9, 1, 5, 0, [(5, 9)])]}, "5 events, 0 as hidden"),
    "a seq from nowhere": (
        {"heard": [Heard(8, "r", "e", 0, 1 << 60, 1, 5, 0, [(5, 1 << 60)])]},
        "viewer 8 was not told",
    ),
    "a gift seen twice": ({"heard": [Heard(8, "r", "e", 0, 4, 2, 10, 0, [])]}, "saw 2 gifts of 10 coins"),
    "a gift never shown": ({"gifts": [Paid("g2", "bob", "r", 1, True)]}, "g2 of bob was acknowledged and never"),
    "a gift in two rooms": ({"told": [Told("s", "e", {1: KEPT_PRINT}, {"g1": (1, 5)})]}, "g1 was shown in r e:2 and"),
    "a gift in another epoch": ({"told": [Told("r", "f", {1: KEPT_PRINT}, {"g1": (1, 5)})]}, "shown in r e:2 and"),
    "a gift that nobody sent": ({"told": [Told("r", "e", {5: KEPT_PRINT}, {"g9": (5, 5)})]}, "g9 was shown in r and"),
    "a gift that cost less": ({"gifts": [Paid("g1", "alice", "r", 4, True)]}, "g1 was shown otherwise"),
}


@pytest.mark.parametrize("what", WRONGS)
def test_whatever_is_wrong_is_said(what: str) -> None:
    """An account that differs gets the sentence that says how."""
    changed, sentence = WRONGS[what]
    nothing = {"told": [], "heard": [], "gifts": []}
    assert any(sentence in said for said in sentences(an_account(), an_account(**{**nothing, **changed})))


class Desk:
    """A server with given answers about the money."""

    def __init__(self, held: int, *refs: tuple[str, int]) -> None:
        self.held, self.refs = held, refs

    def call(self, _method: str, _path: str) -> dict[str, Any]:
        rows = [{"kind": "gift", "ref": ref, "coins": -coins} for ref, coins in self.refs]
        return {"entries": [{"kind": "topup", "ref": "t", "coins": 100}, *rows], "next": None}

    def coins(self, _user: str) -> int:
        return self.held


MONEY = {
    "all is well": (Desk(95, ("g1", 5)), []),
    "not in the journal": (Desk(100), ["gift g1 of alice was acknowledged and is not in the journal"]),
    "twice": (Desk(90, ("g1", 5), ("g1", 5)), ["gift g1 of alice is in the journal twice"]),
    "never sent": (Desk(94, ("g1", 5), ("g7", 1)), ["gift g7 of alice is in the journal and was never sent"]),
    "another price": (Desk(94, ("g1", 6)), ["gift g1 of alice cost 6 coins in the journal, not 5"]),
    "a wallet that holds more": (Desk(96, ("g1", 5)), ["alice holds 96 coins, the journal leaves 95"]),
}


@pytest.mark.parametrize("what", MONEY)
def test_the_journal_is_compared_with_the_acks(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gift is there once, with its price, and the wallet holds the rest."""
    monkeypatch.setattr("loadtest.verdict.JOURNAL_S", 0)
    desk, wanted = MONEY[what]
    wrong = [said for check in Verdict([an_account()]).journal(desk, ["alice"], 100) for said in check.wrong]  # type: ignore[arg-type]
    assert len(wrong) == len(wanted)
    assert all(said.startswith(sentence) for said, sentence in zip(wrong, wanted, strict=True))


# --- a viewer ------------------------------------------------------------------------------------------------------
def a_viewer(wrong: list[str]) -> Viewer:
    return Viewer(
        1,
        Hall("r", Recorder()),
        Counts(),
        Address("127.0.0.1", 9, False),
        "/",
        "json",
        chance=Random(1),
        answered=lambda *_: None,
        wrong=wrong.append,
    )


def an_event(seq: int, kind: str = "chat.sent", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "seq": seq, "id": f"i{seq}", **fields}


WELCOME = {"type": "welcome", "epoch": "e", "seq": 3, "resumed": False}


def test_a_viewer_keeps_account_of_what_it_hears() -> None:
    """It records order, gaps and sums; an event that comes twice is out of order."""
    wrong: list[str] = []
    viewer = a_viewer(wrong)
    frames = [[WELCOME, an_event(4)], [an_event(5), an_event(6, "gifts.sent", coins=7)], [an_event(9)]]
    for frame in frames:
        viewer._receive(msgspec.json.encode(frame).decode())
    [stretch] = viewer.stretches
    assert (stretch.start, stretch.seq, stretch.gifts, stretch.coins, stretch.missing) == (3, 9, 1, 7, [(7, 8)])
    assert wrong == []
    viewer._receive(msgspec.json.encode(frames[1]).decode())
    assert wrong == ["viewer 1 was told seq 5 after 9", "viewer 1 was told seq 6 after 9"]
    viewer._receive(msgspec.json.encode([{"type": "ok", "ref": "77"}]).decode())
    assert wrong[-1] == "viewer 1 got a reply to 77, which waits for none"


def test_two_viewers_are_told_different_things() -> None:
    """In a room one seq is one event, and a gift has one seq."""
    wrong: list[str] = []
    one, other = a_viewer(wrong), a_viewer(wrong)
    other.hall = one.hall
    for viewer in (one, other):
        viewer._receive(msgspec.json.encode([WELCOME]).decode())
    one._receive(msgspec.json.encode([an_event(4), an_event(5, "gifts.sent", id="g", coins=1)]).decode())
    other._receive(msgspec.json.encode([an_event(4, id="x"), an_event(6, "gifts.sent", id="g", coins=1)]).decode())
    said = one.hall.log("e").wrong
    assert said == ["seq 4 is one event for some and x for others", "gift g was shown as seq 5 and as 6"]


async def test_a_socket_reads_frames_however_they_are_cut(site: Site) -> None:
    """Bytes that come one at a time make the same frames; a ping among them is answered."""
    heard: list[Frame] = []
    path = "/" + site.address(token=site.token("alice")).split("/", 3)[3]
    opened = await Socket.connect(Address.of(site.url), path, heard.append)
    long = "x" * 70_000
    frames = b"\x81\x02hi" + b"\x89\x00" + b"\x82\x7e" + (300).to_bytes(2) + b"y" * 300
    frames += b"\x81\x7f" + len(long).to_bytes(8) + long.encode()
    heard.clear()
    for byte in frames:
        opened.data_received(bytes((byte,)))
    assert heard[:3] == ["hi", b"y" * 300, long]
    opened.close()
    assert await asyncio.wait_for(opened.closed, WAIT_S) == 1000


async def test_a_refused_socket_says_with_what_status(site: Site) -> None:
    """A client that is not admitted gets the HTTP status and the server's answer."""
    with pytest.raises(NotAdmitted, match="bad_token") as no:
        await Socket.connect(Address.of(site.url), "/v1/rooms/demo/ws?token=x", lambda _frame: None)
    assert no.value.status == 401


@pytest.mark.parametrize("way", WAYS)
async def test_the_plain_ways_tell_everybody(way: str) -> None:
    """On the plain servers that we compare with, each event reaches every viewer, and its sender gets a reply."""
    with Naive(way) as naive:
        address, bot = Address.of(naive.url), RoomClient(lambda: 0)
        heard: asyncio.Queue[Frame] = asyncio.Queue()
        replies: asyncio.Queue[Frame] = asyncio.Queue()
        viewers = [await Socket.connect(address, PATH, heard.put_nowait) for _ in range(3)]
        speaker = await Socket.connect(address, BOT_PATH, replies.put_nowait)
        speaker.send(bot.chat("to all"))
        async with asyncio.timeout(WAIT_S):
            events = [msgspec.json.decode(await heard.get())[0] for _ in viewers]
            assert bot.receive(await replies.get())
        assert [(event["type"], event["seq"], event["text"]) for event in events] == [("chat.sent", 1, "to all")] * 3
        for socket in (*viewers, speaker):
            socket.abort()


async def test_slow_readers_of_an_audience_count_nothing(site: Site, tmp_path: Path) -> None:
    """A client that never reads is counted, but not its messages; the others' are."""
    path = "/" + site.address(token=site.token("fan")).split("/", 3)[3]
    audience = Audience(site.url, path, 5, 1.5, cpu=0, folder=tmp_path, slow=2)
    try:
        await asyncio.to_thread(audience.wait_ready)
        bot = await site.join("bot", "bot")
        for _ in range(4):
            await bot.ask("chat.send", text=mark())
        heard = await asyncio.to_thread(audience.heard)
    finally:
        audience.end()
    assert (heard.conns, heard.messages, heard.closed) == (5, 4 * 3, 0)


def test_an_audience_counts_a_mark_that_is_cut_in_two() -> None:
    """Each mark is found once, wherever the bytes are split."""
    text = f"[{mark()},{mark()}]@ and @T is none, @{mark()}".encode()
    for cut in range(len(text) + 1):
        counted = Counted()
        counted.read(counted.read(text[:cut]) + text[cut:])
        assert counted.messages == 3, cut
