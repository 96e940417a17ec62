"""What the senders of a bank know of their gifts."""

import asyncio
from collections import Counter

from server.money.results import Paid, Spend


class Book:
    """What the senders know; every check compares the stores with it."""

    def __init__(self) -> None:
        self.bought: Counter[str] = Counter()
        self.sent: dict[str, Spend] = {}
        self.acked: dict[str, Paid] = {}
        self.refused: Counter[str] = Counter()
        self.open: dict[str, Spend] = {}
        self.news = asyncio.Event()

    @property
    def unknown(self) -> list[Spend]:
        """Gifts that never got an outcome."""
        return list(self.open.values())

    def forget(self, gift_id: str) -> Paid:
        """Pretend that the answer never came, so the gift is unknown again. Returns that answer."""
        self.open[gift_id] = self.sent[gift_id]
        return self.acked.pop(gift_id)
