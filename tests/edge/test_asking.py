"""What a request asks: where its token may stand, and which subprotocol is chosen."""

import pytest
from starlette.websockets import WebSocket

from server.edge.asking import Asked, asked_of, bearer


def ask(query: str = "", subprotocols: tuple[str, ...] = (), **headers: str) -> Asked:
    scope = {
        "type": "websocket",
        "path_params": {"room_id": "demo"},
        "query_string": query.encode(),
        "subprotocols": list(subprotocols),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 5),
    }
    return asked_of(WebSocket(scope, None, None))  # type: ignore[arg-type]


def test_where_a_token_may_stand() -> None:
    """The parameter comes first, then the header, then the subprotocol."""
    offered = ("liveroom.v1.json", "liveroom.token.c")
    assert ask("token=a", offered, authorization="Bearer b").token == "a"
    assert ask("", offered, authorization="bearer b ").token == "b"
    assert ask("token=", offered, authorization="Basic b").token == "c"
    assert ask().token == ""


@pytest.mark.parametrize(
    ("offered", "chosen", "named"),
    [
        ((), None, []),
        (("x", "liveroom.v1.msgpack", "liveroom.v1.json"), "liveroom.v1.msgpack", [0, 1, 2]),
        (("liveroom.token.x",), None, []),
        (("liveroom.token.x", "other"), None, [1]),
    ],
)
def test_the_first_that_we_speak_is_chosen(offered: tuple[str, ...], chosen: str | None, named: list[int]) -> None:
    """A token is never chosen, and is not one of the names."""
    asked = ask("", offered)
    assert (asked.chosen, asked.named) == (chosen, [offered[n] for n in named])


def test_the_rest() -> None:
    """The room, the place and the person's address."""
    assert ask("since=e:5").since == "e:5"
    assert (ask().room, ask().host, ask().since, bearer([])) == ("demo", "192.0.2.1", "", "")
    assert bearer(["Bearer a", "Bearer a"]) == "a"
    assert bearer(["Bearer a", "Bearer b"]) == ""
    assert (ask("since=a&since=b").doubled, ask("since=a&token=b").doubled) == (True, False)
