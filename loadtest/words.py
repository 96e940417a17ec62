"""What each word of a report means, in a sentence."""

from protocol import REASONS
from protocol.closes import Close

WORDS = {
    # latencies
    "command to reply": "from the time at which a command was due until its sender had `ok`",
    "event to received": "from the time at which a chat was due until each viewer had it",
    "gift to shown": "from the time at which a gift was due until each viewer had it: paid, on disk, shown",
    "loop lag": "how late the node's event loop was for its own timer",
    # totals and rates
    "received": "messages that viewers received; several may share a frame",
    "frames": "websocket frames that carried them",
    "bytes": "of these frames",
    "joins": "welcomes: first visits and returns",
    "resumed": "returns that got all they had missed",
    "gaps": "returns that did not: too much was missed, or the room began anew",
    "chats": "chats that were due",
    "gifts": "gifts that were sent",
    "likes": "commands with likes that were due",
    "acked_gifts": "gifts whose sender got `ok`: paid, and on disk",
    "not_sent": "commands whose sender had lost the connection",
    "away": "commands whose sender had left for a while, as the plan wants",
    "hidden": "chats that the server left out for viewers that were too slow for all, and said so",
    "attacks": "of hostile guests that came to their end",
    "received per core second": "messages received per second of CPU time that the crowd used",
    "open sockets": "viewers with a welcome",
    # replies and closes
    "reply ok": "commands that were carried out",
    "closed by us": "connections that the plan broke",
    "closed slow reader": "viewers that read nothing, as the plan wants, and were disconnected",
    "closed no connection": "tries to connect that found no server",
    "closed 1005": "closes without a code",
    "closed 1006": "connections that ended without a close frame",
    "closed HTTP 0": "connections that ended in the handshake",
    "closed HTTP 429": "joins that were refused: too many",
    "closed HTTP 503": "joins that were refused: the node was full, starting or stopping",
    # checks
    "order": "each viewer got events by rising seq, and one seq is one event for all",
    "nothing lost": "what a viewer did not get was overtaken by newer counts, or said to be hidden",
    "sums": "each viewer saw the coins of the gifts between its first and last seq",
    "shown once": "each acknowledged gift was shown once, as it was sent, and no other gift was",
    "in the journal once": "each acknowledged gift is in the journal once, at its price",
    "wallets": "each giver holds what its gifts have left",
    "rooms' sums": "each room's own total is the sum of the gifts that it showed",
    "the server's audit": "the server's own check of journal and wallet store, begun after the run",
    "journal": "the journal could be read",
    "gifts acknowledged": "a plan with gifts has acknowledged ones",
    "p99": "99 of 100 waits are within the limit",
    "refused": "the part of the commands that were refused, or could not be sent, is within the limit",
    "closed": "the part of the joins that were closed or refused is within the limit",
    "pauses": "no longer time passed in which things were sent and nothing arrived",
}
CLOSES = {str(int(code)): code.reason or "a normal end" for code in Close}


def meaning(name: str) -> str:
    """What a name in a report means; empty if nobody knows."""
    if name in WORDS:
        return WORDS[name]
    kind, _, what = name.partition(" ")
    if kind == "reply" and what in REASONS:
        return f"commands that were refused: {REASONS[what].sentence}"
    if kind == "closed" and what in CLOSES:
        return f"sockets that the server closed: {CLOSES[what]}"
    return ""
