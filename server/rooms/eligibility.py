"""Whether a host may begin a broadcast. By default everybody may; a site may ask for facts."""

from collections.abc import Awaitable, Callable

# Takes the host's user id, and returns what is missing: names such as `age` or `agreement`; nothing if they may begin.
Eligibility = Callable[[str], Awaitable[tuple[str, ...]]]


class NotEligible(Exception):
    """The host may not begin a broadcast."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(f"The host may not begin a broadcast: {', '.join(missing)} is missing.")
        self.missing = missing


async def everybody(_user_id: str) -> tuple[str, ...]:
    """The default: nothing is missing."""
    return ()
