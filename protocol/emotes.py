"""Emotes: small pictures that people write as `:code:`. A site has a catalogue, and each room may have its own."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

WORD = r"^[A-Za-z0-9_.-]{1,64}$(?!\n)"
Who = Literal["everyone", "followers", "club", "staff"]


class EmoteShown(Struct, frozen=True):
    """An emote, as a message has it."""

    id: str
    url: str


class Emote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An emote of a catalogue: `:code:` in a text shows the picture at `url`, if the sender is among `who`."""

    id: Annotated[str, Meta(pattern=WORD)]
    code: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+$(?!\n)", min_length=2, max_length=32)]
    url: Annotated[str, Meta(pattern=r"^(https://|/)[!-~]{1,500}$(?!\n)")]
    who: Who = "everyone"
