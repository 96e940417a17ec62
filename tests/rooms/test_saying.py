"""What a room lets people say: links, emotes, mentions and replies, without a store."""

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import UNSET

from protocol.chat import Fragment
from protocol.emotes import Emote, EmoteShown
from server import limits
from server.rooms.saying import fragments, has_link, is_only_emotes, may_use
from server.tokens import Facts

WAVE, VIP, STAR = (
    Emote(id="wave", code="wave", url="/wave.png"),
    Emote(id="vip", code="vip", url="/vip.png", who="club"),
    Emote(id="star", code="star", url="/star.png", who="followers"),
)
OF_ROOM, OF_SITE = {"wave": WAVE}, {"wave": VIP, "vip": VIP, "star": STAR}
NOBODY, FOLLOWER, CLUB = Facts(), Facts(follower_since_ms=1), Facts(club_since_ms=1)


def parts(text: str, role: str = "viewer", facts: Facts = NOBODY) -> Any:
    """The fragments as pairs of type and text; UNSET if there are none."""
    room: Any = SimpleNamespace(
        id="demo", services=SimpleNamespace(catalogues=SimpleNamespace(emotes=lambda _id: (OF_ROOM, OF_SITE)))
    )
    member: Any = SimpleNamespace(role=role, facts=facts)
    found = fragments(room, member, text)
    if found is UNSET:
        return UNSET
    assert "".join(part.text for part in found) == text
    return found


def test_mentions_and_emotes() -> None:
    """What is in front, between and behind them is text."""
    wave = Fragment(type="emote", text=":wave:", emote=EmoteShown("wave", "/wave.png"))
    assert parts("hi @alice.b, :wave::wave: bye") == (
        Fragment(type="text", text="hi "),
        Fragment(type="mention", text="@alice.b", user_id="alice.b"),
        Fragment(type="text", text=", "),
        *(wave, wave),
        Fragment(type="text", text=" bye"),
    )
    assert parts(":wave:") == (wave,)
    assert [one.user_id for one in parts("@a@b.c @x_- @a|b.")] == ["a@b.c", None, "x_", None, "a|b", None]


@pytest.mark.parametrize("text", ["hello", "a@b", "@", "@@x", "@-x", ":nobody:", ":wave", "12:30:45", "::", ":vip:"])
def test_plain_texts(text: str) -> None:
    """An address, a time, an unknown emote, or one that is for others, stays text."""
    assert parts(text) is UNSET


def test_the_last_colon_may_begin_an_emote() -> None:
    """Of a word between colons that is not one."""
    assert [part.type for part in parts(":nobody:wave:")] == ["text", "emote"]


def test_there_is_a_bound() -> None:
    """What is above it stays text."""
    found = parts(":wave:" * (limits.EMOTES_OF_CHAT_MAX + 5))
    assert [part.type for part in found] == ["emote"] * limits.EMOTES_OF_CHAT_MAX + ["text"]


@pytest.mark.parametrize(
    ("who", "may"),
    [("everyone", "1111"), ("followers", "0111"), ("club", "0011"), ("staff", "0001"), ("later", "0001")],
)
def test_who_may_use_an_emote(who: Any, may: str) -> None:
    """Nobody's, a follower's, the club's, and staff's."""
    people = ((False, NOBODY), (False, FOLLOWER), (False, CLUB), (True, NOBODY))
    assert [may_use(who, staff, facts) for staff, facts in people] == [one == "1" for one in may]


@pytest.mark.parametrize(
    "text",
    [
        *("see https://x.y", "HTTP://A", "www.example", "Example.COM", "(example.org)", "go to t.me/abc", "a.bc/d"),
        *("ｅxample。com", "discord.gg/abc", "x.com.", "user@mail.example.com"),
    ],
)
def test_links(text: str) -> None:
    """With a scheme, as www, with a well-known end, or with a path."""
    assert has_link(text)


@pytest.mark.parametrize(
    "text", ["hello", "hello.there", "3.14", "1.5/2", "e.g. this", "what?!", "a:b", "...", "ok.then"]
)
def test_what_is_not_a_link(text: str) -> None:
    """Sentences without a blank, and numbers."""
    assert not has_link(text)


def test_only_emotes() -> None:
    """Emotes, emoji and blanks; a mention or a word is more."""
    for text in (":wave:", ":wave: :wave:", "🎉", "👩\u200d👩\u200d👧 ❤️ 👍🏽", ":wave: 🎉"):
        assert is_only_emotes(text, parts(text))
    for text in ("a", ":wave: a", "@alice", ":vip:", "5", "!"):
        assert not is_only_emotes(text, parts(text))
