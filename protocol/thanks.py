"""Thanks of the host for gifts."""

from protocol.refusals import Reason


class ThanksRefusal(Reason):
    """The reason of thanks."""

    NO_SUCH_GIFT = "no_such_gift", "This broadcast has no such gift."
