"""Word lists: microseconds per message to look for the phrases of a list."""

import hashlib
import time
from typing import Any

from server import limits
from server.words import Words

ROUNDS = 20_000
LETTERS = str.maketrans("0123456789", "ghilmnorst")
TEXTS = {
    "as people write": "hello how are you doing today? I really like this stream",
    "with digits for letters": "th1s 1s gr8, h3llo fr0m b3rlin",
    "in Cyrillic letters": "привет как дела у вас сегодня, очень классный стрим",
    "500 letters": ("the quick brown fox jumps over the lazy dog " * 12)[:500],
}


def measure() -> dict[str, Any]:
    """CPU time per message, with as many phrases as a site may have."""
    digests = [hashlib.blake2b(b"%d" % n, digest_size=6).hexdigest() for n in range(limits.WORDS_OF_SITE_MAX)]
    phrases = [digest.translate(LETTERS)[n % 8 :] for n, digest in enumerate(digests)]  # of 5 to 12 letters
    began = time.process_time()
    words = Words((phrase, "blocked") for phrase in phrases)
    found: dict[str, Any] = {"phrases": len(phrases), "made in ms": (time.process_time() - began) * 1e3}
    for name, text in TEXTS.items():
        began = time.process_time()
        for _ in range(ROUNDS):
            words.find(text)
        found[f"us per message {name}"] = (time.process_time() - began) / ROUNDS * 1e6
    return found
