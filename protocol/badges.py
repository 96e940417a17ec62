"""Badges: what stands beside a name in chat and gifts. The list is open: a token may bring others."""

HOST = "host"
MODERATOR = "mod"


def club(months: int) -> str:
    """Of a member of the host's club, in this month of the membership."""
    return f"club:{months}"


def top(rank: int) -> str:
    """Of the first three who gave in this broadcast."""
    return f"top:{rank}"


def level(number: int) -> str:
    """Of who has given this much in a lifetime."""
    return f"level:{number}"
