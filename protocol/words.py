"""Word lists of the site and of hosts: phrases by category. A room's own are its setting `blocked_words`."""

from typing import Annotated

from msgspec import Meta

PHRASE_CHARS_MAX = 64

Phrase = Annotated[str, Meta(min_length=1, max_length=PHRASE_CHARS_MAX)]
Category = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}$(?!\n)")]
