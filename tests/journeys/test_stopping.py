"""Stopping: in time, with a notice to every socket, and nothing left behind."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journeys.raw import Peers, frame, upgrade
from tests.journeys.talk import chat
from tests.program import Program, eventually
from tests.site import Viewer

STOP_S_PROMISED = 5.0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
async def test_stop_notifies_everybody_and_ends(new_program: Callable[..., Program], sig: signal.Signals) -> None:
    """A signal ends it within five seconds with code 0: each socket is asked to come back, and closed with 4001."""
    program = new_program()
    await program.start()
    viewers = [
        await program.join("alice"),
        await program.join("bob", codec="msgpack"),
        await program.join("obs", "overlay"),
    ]
    gift = await viewers[0].gift("rose")
    ended, *codes = await asyncio.gather(program.stop(sig), *(closed_draining(viewer) for viewer in viewers))
    assert codes == [4001] * 3
    assert ended.code == 0, program.output()
    assert ended.after_s < STOP_S_PROMISED
    assert not program.processes()
    assert "Traceback" not in program.stderr()
    await program.start()
    assert await program.coins("alice") == gift["coins"]


async def closed_draining(viewer: Viewer) -> int:
    """Wait for the close; return its code. The notice before it says when to come back."""
    code = await viewer.closed(20)
    notice = viewer.told[-1]
    assert (notice["type"], notice["kind"]) == ("notice", "draining")
    assert notice["reconnect_in_ms"] >= 0
    return code


async def test_peers_that_hang_do_not_delay_it(new_program: Callable[..., Program], peers: Peers) -> None:
    """Half a request, half a frame, a reader that reads nothing and an idle keep-alive cannot delay the end."""
    program = new_program()
    await program.start()
    path = program.path(await program.token("slow"))
    half_request = await peers.connect(program.port)
    await half_request.send(upgrade(path)[:60])
    half_frame = await peers.join(program.port, path)
    await half_frame.send(frame(b'{"type":"ping"}')[:-5])
    never_reads = await peers.connect(program.port, receive_bytes=4096)
    await never_reads.send(upgrade(path))
    alice = await program.join("alice", "bot")
    await chat(alice, 320, size=500)
    async with program.client() as client:
        await client.get("/healthz")
        ended = await program.stop()
    assert (ended.code, ended.after_s < STOP_S_PROMISED) == (0, True), ended
    assert not program.processes()


async def test_impatient_ctrl_c(new_program: Callable[..., Program]) -> None:
    """Repeated Ctrl-C still ends everything in order, with code 0."""
    program = new_program()
    await program.start()
    alice = await program.join("alice")
    for _ in range(3):
        os.killpg(program.pid, signal.SIGINT)  # a terminal signals the whole group
    ended = await program.ended()
    assert ended.code == 0, program.output()
    assert await alice.closed() == 4001
    assert not program.processes()


@pytest.mark.parametrize("child", ["wallet store", "journal", "node"])
async def test_stop_while_starting(new_program: Callable[..., Program], child: str) -> None:
    """A signal before it is ready ends it as well, with code 0, and nothing is left."""
    program = new_program()
    program.spawn()
    await eventually(lambda: child in program.children(), what=child)
    ended = await program.stop()
    assert ended.code == 0, program.output()
    assert ended.after_s < STOP_S_PROMISED
    assert not program.processes()
    assert "Traceback" not in program.stderr()


async def test_stop_with_a_dead_child(new_program: Callable[..., Program]) -> None:
    """A stop while the wallet store is away, or is being restarted, is a stop like any other."""
    program = new_program()
    await program.start()
    alice = await program.join("alice")
    await program.kill_child("wallet store")
    ended, code = await asyncio.gather(program.stop(), closed_draining(alice))
    assert (ended.code, code) == (0, 4001), program.output()
    assert ended.after_s < STOP_S_PROMISED
    assert not program.processes()


async def test_as_process_one(new_program: Callable[..., Program]) -> None:
    """As the first process of a container it starts, serves and ends as usual."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.call([unshare, "--pid", "--fork", "true"], stderr=subprocess.DEVNULL):
        pytest.skip("this machine makes no process namespaces")
    program = new_program()
    program.prefix = (unshare, "--pid", "--fork", "--kill-child")
    await program.start()
    assert await program.coins("alice") == 10_000
    (first,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    os.kill(int(first), signal.SIGTERM)
    assert (await program.ended()).code == 0, program.output()
    assert not program.processes()
