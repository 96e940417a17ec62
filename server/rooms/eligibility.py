"""Whether a host may begin a broadcast. By default everybody may; a site may ask for facts."""

from collections.abc import Awaitable, Callable

from server.requirements import Missing

# Takes the host's user id, and returns what is missing; nothing if they may begin. It may raise SQLAlchemyError.
Eligibility = Callable[[str], Awaitable[tuple[Missing, ...]]]


class NotEligible(Exception):
    """The host may not begin a broadcast."""

    def __init__(self, missing: tuple[Missing, ...]) -> None:
        names = ", ".join(each.name for each in missing)
        super().__init__(f"The host may not begin a broadcast, because of {names}.")
        self.missing = missing


async def everybody(_user_id: str) -> tuple[Missing, ...]:
    """The default: nothing is missing."""
    return ()
