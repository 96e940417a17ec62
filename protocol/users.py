"""People on the whole site: what the platform has suspended them from."""

from protocol.refusals import Reason


class UsersRefusal(Reason):
    """The reason of who is suspended."""

    SUSPENDED = "suspended", "You are suspended from doing this."
