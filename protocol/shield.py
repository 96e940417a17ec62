"""The shield: one switch for a room under attack."""

from protocol.refusals import Reason


class ShieldRefusal(Reason):
    """The reasons of the shield."""

    SHIELDED = "shielded", "The room is protected just now; new accounts cannot chat."
