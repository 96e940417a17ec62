"""Word lists of the site and of hosts: phrases by category. A room's own are its setting `blocked_words`."""

from typing import Annotated

from msgspec import Meta

PHRASE_CHARS_MAX = 64

# How bad a text with a phrase of a category is for `automod`: 1 to 4. Any other category is of OTHER_LEVEL.
LEVELS = {"spam": 1, "swearing": 2, "insult": 3, "sexual": 3, "violence": 3, "hate": 4}
OTHER_LEVEL = 3

Phrase = Annotated[str, Meta(min_length=1, max_length=PHRASE_CHARS_MAX)]
Category = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,31}$(?!\n)")]
