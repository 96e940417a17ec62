"""Connections that break every rule. The server must end each attack in its own way."""

import asyncio
from collections.abc import Callable
from random import Random

from msgspec import Struct

from loadtest.wire import Address, NotAdmitted, Socket
from protocol.client import Frame

WAIT_S = 10.0
PAUSE_S = 0.5
REFUSED = '"type":"refused"'


class Guest(Struct, frozen=True):
    """A hostile connection: where it connects, and its token."""

    url: str
    room: str
    token: str


class Attack(Struct, frozen=True):
    """What to send, and how the server must end it: with a close code, an HTTP status, or else a refusal."""

    name: str
    frames: tuple[Frame, ...] = ()
    code: int = 0
    status: int = 0
    path: str = "/v1/rooms/{room}/ws?token={token}"


ATTACKS = (
    Attack("half a JSON text", ('{"type":"chat.send","ref":"1"',), code=4502),
    Attack("a number", ("12345678901234567890123456789",)),
    Attack("binary on the json protocol", (b"\x81\xa4type\xa4ping",), code=1003),
    Attack("a frame of 40 KiB", ("x" * 40_000,), code=1009),
    Attack("900 commands in a frame", ("[" + ",".join(['{"type":"ping"}'] * 900) + "]",), code=4502),
    Attack("an unknown command", ('{"type":"coins.make","ref":"1","coins":1000000}',)),
    Attack("an unknown field", ('{"type":"chat.send","ref":"1","text":"hello","as":"creator"}',)),
    Attack("minus one gift", ('{"type":"gifts.send","ref":"1","id":"no","gift":"rose","count":-1}',)),
    Attack("a flood", tuple(f'{{"type":"ping","ref":"{n}"}}' for n in range(3_000)), code=4502),
    Attack("a bad token", status=401, path="/v1/rooms/{room}/ws?token=a.b.c"),
    Attack("an unknown room", status=404, path="/v1/rooms/nowhere-at-all/ws?token={token}"),
    Attack("a bad since", status=400, path="/v1/rooms/{room}/ws?token={token}&since=yesterday"),
)


async def keep_breaking(guest: Guest, chance: Random, tell: Callable[[str | None], None]) -> None:
    """Attack until cancelled. After each attack calls `tell`: with what went wrong, or None."""
    while True:
        attack = chance.choice(ATTACKS)
        try:
            async with asyncio.timeout(WAIT_S):
                came = await _try(guest, attack)
        except TimeoutError:
            came = "no answer"
        except OSError:
            came = ""  # the server is away for a moment: there is nothing to judge
        if came in ("HTTP 503", "HTTP 429", "4001", "1006"):
            came = ""
        wanted = _wanted(attack)
        tell(f"{attack.name} ended with {came}, not {wanted}" if came not in ("", wanted) else None)
        await asyncio.sleep(chance.uniform(0, 2 * PAUSE_S))


def _wanted(attack: Attack) -> str:
    return f"HTTP {attack.status}" if attack.status else str(attack.code or "a refusal")


async def _try(guest: Guest, attack: Attack) -> str:
    answered, welcomed = asyncio.Event(), asyncio.Event()

    def hear(frame: Frame) -> None:
        welcomed.set()
        if REFUSED in str(frame):
            answered.set()

    path = attack.path.format(room=guest.room, token=guest.token)
    try:
        socket = await Socket.connect(Address.of(guest.url), path, hear)
    except NotAdmitted as error:
        return f"HTTP {error.status}" if error.status else ""
    try:
        await welcomed.wait()
        for frame in attack.frames:
            socket.send(frame)
        if attack.code or attack.status:
            return str(await socket.closed)
        refused = asyncio.create_task(answered.wait())
        await asyncio.wait((refused, socket.closed), return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        return str(socket.closed.result()) if socket.closed.done() else "a refusal"
    finally:
        socket.abort()
