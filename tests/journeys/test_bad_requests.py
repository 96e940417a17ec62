"""Refused upgrades: each is an HTTP answer with its status, reason and message."""

import base64
import hmac
import json
import time
from typing import Any, NamedTuple

import jwt
import pytest
import websockets

from server.settings import DEV_SECRET
from tests.journeys.raw import Peers, upgrade
from tests.program import Program

pytestmark = pytest.mark.usefixtures("unshaken")
OTHER_SECRET = "a-secret-that-is-not-this-server's-own-one"


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are valid for longer than the tests run, with these changed; a claim of ... is omitted."""
    made = {"sub": "alice", "name": "Alice", "role": "viewer", "exp": int(time.time()) + 86_400, **changes}
    return {key: value for key, value in made.items() if value is not ...}


def signed(secret: str = DEV_SECRET, **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm="HS256")


def by_hand(algorithm: str, digest: str) -> str:
    """Valid claims, signed with this server's secret by an algorithm that a library would warn about."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "typ": "JWT"}, claims())]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.digest(DEV_SECRET.encode(), text, digest)).rstrip(b"=")
    return b".".join((text, signature)).decode()


def tampered() -> str:
    """A valid token with another token's payload."""
    head, _, signature = signed().split(".")
    return ".".join((head, signed(sub="bob").split(".")[1], signature))


class Row(NamedTuple):
    """A token for a room, and the expected answer."""

    name: str
    token: str
    status: int = 401
    room: str = "demo"


ROWS = [
    Row("no token", ""),
    Row("no JWT", "hello"),
    Row("dots", "..."),
    Row("no base64", "%C3%A4.%C3%A4.%C3%A4"),
    Row("very long", "x" * 5_000),
    Row("expired", signed(exp=int(time.time()) - 1)),
    Row("of another secret", signed(OTHER_SECRET)),
    Row("of no secret", jwt.encode(claims(), "", algorithm="none")),
    Row("of no algorithm and a signature", jwt.encode(claims(), "", algorithm="none") + signed().split(".")[2]),
    Row("of the same secret in another algorithm", by_hand("HS384", "sha384")),
    Row("of the same secret in a third algorithm", by_hand("HS512", "sha512")),
    Row("of an algorithm that does not fit", by_hand("HS256", "sha512")),
    Row("tampered", tampered()),
    Row("without exp", signed(exp=...)),
    Row("without sub", signed(sub=...)),
    Row("without name", signed(name=...)),
    Row("without role", signed(role=...)),
    Row("exp of a word", signed(exp="tomorrow")),
    Row("sub with a space", signed(sub="al ice")),
    Row("sub with a line's end", signed(sub="alice\n")),
    Row("sub of 65", signed(sub="a" * 65)),
    Row("no sub", signed(sub="")),
    Row("name of 41", signed(name="a" * 41)),
    Row("no name", signed(name="")),
    Row("role of its own", signed(role="admin")),
    Row("not yet good", signed(nbf=int(time.time()) + 600)),
    Row("for another room", signed(room="another"), 403),
    Row("unknown room", signed(), 404, "no-such-room"),
    Row("room of another alphabet", signed(), 404, "%C3%A4%0a"),
    Row("room with a key's brace", signed(), 404, "%7Bdemo%7D"),
    Row("room of 300", signed(), 404, "r" * 300),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_not_admitted(program: Program, row: Row) -> None:
    """The upgrade gets this status, and an error with a reason and a message."""
    path = program.path(row.token, room=row.room)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{program.port}{path}", proxy=None)
    response = refused.value.response
    assert response.status_code == row.status
    error = json.loads(response.body)["error"]
    assert set(error) >= {"reason", "message"}
    assert DEV_SECRET not in str(error)
    assert row.token[:40] not in str(error) or not row.token


@pytest.mark.parametrize("how", ["query", "header", "header in another case"])
async def test_token_in_query_or_header(program: Program, how: str) -> None:
    """A valid token may be in the address or in the Authorization header; it may name this room or none."""
    token = signed(room="demo")
    scheme = "bearer" if "case" in how else "Bearer"
    headers = {} if how == "query" else {"Authorization": f"{scheme} {token}"}
    query = f"?token={token}" if how == "query" else ""
    async with websockets.connect(
        f"ws://127.0.0.1:{program.port}/v1/rooms/demo/ws{query}", additional_headers=headers, proxy=None
    ) as connection:
        assert connection.subprotocol is None
        first = await connection.recv()
        assert isinstance(first, str)  # JSON text when no subprotocol is offered
        assert first.startswith('[{"type":"welcome"')


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["liveroom.v1.msgpack", "liveroom.v1.json"], "liveroom.v1.msgpack"),
        (["other", "liveroom.v1.json"], "liveroom.v1.json"),
        ([f"liveroom.token.{signed()}"], None),
    ],
)
async def test_subprotocol_is_the_first_known(program: Program, offered: list[str], chosen: str | None) -> None:
    """The first offered subprotocol that is known is chosen; a token is none, and then JSON is used."""
    address = f"ws://127.0.0.1:{program.port}{program.path(signed())}"
    names = [websockets.Subprotocol(name) for name in offered]
    async with websockets.connect(address, subprotocols=names, proxy=None) as connection:
        assert connection.subprotocol == chosen
        assert isinstance(await connection.recv(), bytes) == (chosen == "liveroom.v1.msgpack")


@pytest.mark.parametrize(
    "sent",
    [
        ("no key", upgrade(f"/v1/rooms/demo/ws?token={signed()}").replace(b"Sec-WebSocket-Key", b"X-Key")),
        ("a short key", upgrade(f"/v1/rooms/demo/ws?token={signed()}").replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"abc")),
        ("version 12", upgrade(f"/v1/rooms/demo/ws?token={signed()}").replace(b"Version: 13", b"Version: 12")),
        ("a POST", upgrade(f"/v1/rooms/demo/ws?token={signed()}").replace(b"GET ", b"POST ", 1)),
        ("no upgrade", upgrade(f"/v1/rooms/demo/ws?token={signed()}").replace(b"Upgrade: websocket", b"X: y")),
        ("another path", upgrade(f"/v1/rooms/demo/wss?token={signed()}")),
        ("a broken escape", upgrade(f"/v1/rooms/%zz/ws?token={signed()}")),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n"),
        ("no path", b"GET\r\n\r\n"),
        ("a header of 9 KB", upgrade(f"/v1/rooms/demo/ws?token={signed()}", headers=["Cookie: " + "c" * 9_000])),
        ("headers of 1 MB", upgrade("/v1/rooms/demo/ws", headers=[f"X-{n}: " + "h" * 1000 for n in range(1000)])),
        ("a path of 100 KB", upgrade("/v1/rooms/demo/ws?token=" + "t" * 100_000)),
    ],
    ids=lambda sent: sent[0],
)
async def test_malformed_request(program: Program, peers: Peers, sent: tuple[str, bytes]) -> None:
    """A request that is not an upgrade gets an HTTP error or is hung up on: never a 101, never a crash."""
    peer = await peers.connect(program.port)
    await peer.send(sent[1])
    status = await peer.status_or_end()
    assert status is None or 400 <= status < 500, status
    assert (await program.get("/readyz"))["status"] == "ready"


async def test_a_head_without_an_end(program: Program, peers: Peers) -> None:
    """431 long before its 60 MB have arrived; they cost the node no memory (`unshaken` checks that)."""
    peer = await peers.connect(program.port)
    await peer.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(60):
        await peer.send(b"x" * 1_000_000)
    assert await peer.status_or_end() in (431, None)  # a client that keeps writing may find the connection reset
    other = await peers.connect(program.port)
    await other.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000)
    assert await other.status() == 431
