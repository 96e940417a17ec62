"""A feature is a set of new files: the toy `applause` works in a copy of the program where no other file changed."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from tests import browser
from tests.program import ROOT, Program, eventually
from tests.site import WAIT_S
from tests.toy.conftest import TOY, files

WELCOME, PER_GIFT, MOST = 3, 5, 120  # as the toy defines them


@pytest.fixture
async def room(program: Program, request: pytest.FixtureRequest) -> str:
    """A live room only for the test."""
    name = request.node.name.replace("[", ".").replace("]", "")[:60]
    await program.put_room(name)
    return str(name)


async def snapshot(program: Program, room: str) -> dict[str, Any]:
    """A newcomer's snapshot of the room as it is now; snapshots are shared for a moment."""
    seq = (await program.get(f"/v1/rooms/{room}"))["seq"]

    async def told() -> Any:
        viewer = await program.join("late", "overlay", room=room)
        await viewer.leave()
        return viewer.welcome["seq"] >= seq and viewer.welcome["room"]

    found: dict[str, Any] = await eventually(told, what="a snapshot of now")
    return found


async def test_its_command_and_its_event(program: Program, room: str) -> None:
    """Somebody claps, everybody gets the event, and newcomers find the sum."""
    alice, bob = [await program.join(user, room=room) for user in ("alice", "bob")]
    reply = await alice.ask("applause.clap", count=7)
    assert (reply["type"], reply["left"]) == ("ok", MOST - 7)
    await bob.happened("applause.counted", total=WELCOME + 7)
    assert (await snapshot(program, room))["applause"] == WELCOME + 7


async def test_its_part_of_a_gift(program: Program, room: str) -> None:
    """The count moves in the step that shows the gift: a newcomer sees both or neither."""
    alice = await program.join("alice", room=room)
    for _ in range(2):
        await alice.gift("rose")
    await alice.until(lambda told: len([m for m in told if m["type"] == "gifts.sent"]) == 2)
    seen = await snapshot(program, room)
    assert (seen["coins"], seen["applause"]) == (2, WELCOME + 2 * PER_GIFT)
    assert (await alice.ask("applause.clap", count=1))["left"] == MOST - 2


async def test_its_part_of_a_new_broadcast(program: Program, room: str) -> None:
    """Its keys are cleared with the next broadcast, as those of the program are."""
    alice = await program.join("alice", room=room)
    await alice.ask("applause.clap", count=10)
    await alice.gift("rose")
    await alice.happened("gifts.sent")
    await program.post(f"/v1/rooms/{room}/end")
    await program.post(f"/v1/rooms/{room}/start")
    seen = await snapshot(program, room)
    assert (seen["coins"], seen["top"], seen["applause"]) == (0, [], WELCOME)
    again = await program.join("alice", room=room)
    assert (await again.ask("applause.clap", count=10))["left"] == MOST - 10


async def test_its_limit_and_its_refusal(program: Program, room: str) -> None:
    """A clap above its limit is refused with a reason of its own, and does not count."""
    alice = await program.join("alice", room=room)
    for _ in range(MOST // 10):
        await alice.ask("applause.clap", count=10)
    refused = await alice.ask("applause.clap", count=1)
    assert (refused["type"], refused["reason"], refused["most"]) == ("refused", "hands_tired", MOST)
    assert refused["message"] == "Your hands need a rest until the next broadcast."
    assert (await snapshot(program, room))["applause"] == WELCOME + MOST


async def test_its_routes(program: Program, room: str) -> None:
    """They need the key, check their input, act once per Idempotency-Key, and are described like all others."""
    alice, path = await program.join("alice", room=room), f"/v1/rooms/{room}/applause"
    async with program.client() as client:
        body = {"user_id": "bob", "count": MOST}
        for _ in range(2):
            done = await client.post(path, json=body, headers={"Idempotency-Key": f"{room}-1"})
            assert (done.status_code, done.json()) == (200, {"left": 0})
        await alice.happened("applause.counted", total=WELCOME + MOST)
        tired = await client.post(path, json=body)
        assert (tired.status_code, tired.json()["error"]["reason"]) == (409, "hands_tired")
        assert (await client.post(path, json={})).status_code == 400
        assert (await client.post(path, json=body, headers={"Authorization": ""})).status_code == 401
        assert (await client.get(path, headers={"Authorization": ""})).json() == {"applause": WELCOME + MOST}
        assert set((await client.get("/v1/openapi.json")).json()["paths"]["/v1/rooms/{room}/applause"]) == {
            "get",
            "post",
        }


async def test_its_types_in_the_asyncapi_document(program: Program) -> None:
    """Command, ok, event, the snapshot's part and the reason are there, with the examples of its page."""
    async with program.client() as client:
        found = (await client.get("/v1/asyncapi.json", headers={"Authorization": ""})).json()
    messages, schemas = found["components"]["messages"], found["components"]["schemas"]
    for name in ("applause.clap", "applause.clap.ok", "applause.counted"):
        assert messages[name]["examples"], name
        assert name in found["channels"]["room"]["messages"]
    assert found["operations"]["applause.clap"]["action"] == "receive"
    assert schemas["Snapshot"]["properties"]["applause"] == {"type": "integer", "default": 0}
    refused = messages["refused"]
    assert "hands_tired" in refused["x-reasons"]
    assert "hands_tired" in [each["payload"]["reason"] for each in refused["examples"]]


CLIENT = """
import json, sys
from protocol.client import RoomClient
client = RoomClient(lambda: 0)
for frame in json.loads(sys.argv[1]):
    client.receive(json.dumps([frame]))
    print(client.room.applause)
"""


async def test_its_folds_in_python(house: Path, program: Program, room: str) -> None:
    """The Python client computes the toy's field from the messages that a socket got."""
    alice, bob = await program.join("alice", room=room), await program.join("bob", "overlay", room=room)
    await alice.ask("applause.clap", count=4)
    await alice.gift("rose")
    await bob.happened("gifts.sent")
    await program.post(f"/v1/rooms/{room}/end")
    await program.post(f"/v1/rooms/{room}/start")
    await bob.happened("room.updated", status="live")
    told = [m for m in bob.told if m["type"] in ("welcome", "applause.counted", "gifts.sent", "room.updated")]
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CLIENT, json.dumps(told)), cwd=house, stdout=asyncio.subprocess.PIPE
    )
    said = (await ran.communicate())[0].decode().split()
    assert [int(each) for each in said] == [WELCOME, WELCOME + 4, WELCOME + 4 + PER_GIFT, WELCOME]


JOIN = """async ([room, token]) => {
  const { join } = await import("/web/liveroom.js");
  window.client = join({ room, token });
}"""


async def shows(page: Page, **fields: int) -> None:
    """Wait until the page's client has folded the room to this state."""

    async def told() -> bool:
        room = await page.evaluate("() => client.room") or {}
        return bool(fields.items() <= {name: room.get(name) for name in fields}.items())

    await eventually(told, WAIT_S, f"a room of {fields}")


async def test_its_folds_in_the_pages(program: Program) -> None:
    """What the node puts together for each page has the toy's folds: nobody had to build anything."""
    async with program.client() as client:
        for page in ("watch", "overlay"):
            (name,) = re.findall(r'src="(/web/bundles/[^"]+)"', (await client.get(f"/{page}/demo")).text)
            script = (await client.get(name)).text
            assert "// /web/liveroom/folds/applause.js\n" in script
            assert re.search(r"FOLDS = \[applause, ", script)


async def test_its_folds_in_a_browser(program: Program, room: str) -> None:
    """The browser's client has the toy's field from the snapshot and from events, over gifts and broadcasts."""
    alice = await program.join("alice", room=room)
    path = browser.system_chromium() or browser.playwright_chromium()
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=browser.ARGS)
        page = await launched.new_page()
        await page.goto(f"{program.url}/overlay/{room}")
        await page.evaluate(JOIN, [room, await program.token("late", "overlay")])
        await shows(page, coins=0, applause=WELCOME)
        await alice.ask("applause.clap", count=4)
        await alice.gift("rose")
        await shows(page, coins=1, applause=WELCOME + 4 + PER_GIFT)
        await program.post(f"/v1/rooms/{room}/end")
        await program.post(f"/v1/rooms/{room}/start")
        await shows(page, coins=0, applause=WELCOME)
        await launched.close()


@pytest.mark.timeout(180)
async def test_its_page_and_its_tests(house: Path) -> None:
    """The repository's tests of documents and house rules pass in the copy, and so do the toy's."""
    ours = ("tests/test_docs.py", "tests/test_tidy.py", "tests/test_tidy_places.py")
    slow = "not example_gives and not links and not decision"
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-k", slow, *ours, "tests/features/test_applause.py"),
        cwd=house,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await ran.communicate())[0].decode()
    assert ran.returncode == 0, said[-6_000:]


def test_no_other_file_changed(house: Path) -> None:
    """The copy is our tree plus the toy's files: each of our files is unchanged."""
    assert files(house) == files(ROOT) | files(TOY)
