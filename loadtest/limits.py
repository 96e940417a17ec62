"""What a run may cost and still pass: waits, refusals, lost connections, pauses. A scenario that kills allows more."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadtest.results import Check, Quantiles, Second

ARRIVALS = {"event to received": "chats", "gift to shown": "gifts"}  # what arrives, by what was sent for it
COMMANDS = ("chats", "gifts", "likes")
OURS = ("closed by us", "closed slow reader")  # these are part of a plan
MANY = 100.0


class Limits(Struct, frozen=True, kw_only=True):
    """A run beyond one of these has failed, even if nothing that it heard was wrong."""

    max_p99_ms: float = 1_000.0  # of each latency: nobody talks when answers take longer
    max_refused: float = 1.0  # percent of the commands, with those that could not be sent
    max_closed: float = 1.0  # percent of the joins: sockets that the server or the network closed, and refused joins
    max_pause_s: float = 5.0  # in which things were sent and none arrived: the longest, so a long run hides none


def checks(
    limits: Limits, totals: Mapping[str, int], waits: Mapping[str, Quantiles], series: Sequence[Second]
) -> list[Check]:
    """One check for each limit."""
    return [_waits(limits, waits), _refused(limits, totals), _closed(limits, totals), _pauses(limits, series)]


def _waits(limits: Limits, waits: Mapping[str, Quantiles]) -> Check:
    most = limits.max_p99_ms
    found = ", ".join(f"{name} {found.p99:,.0f} ms" for name, found in waits.items())
    late = {name: each.p99 for name, each in waits.items() if each.p99 > most}
    wrong = [f"p99 of {name} is {p99:,.0f} ms, and may be {most:,.0f} ms" for name, p99 in late.items()]
    return Check("p99", f"{found or 'nothing was measured'}; limit {most:,.0f} ms", wrong)


def _refused(limits: Limits, totals: Mapping[str, int]) -> Check:
    sent = sum(totals.get(name, 0) for name in COMMANDS)
    answered = sum(number for name, number in totals.items() if name.startswith("reply "))
    refused = answered - totals.get("reply ok", 0) + totals.get("not_sent", 0)
    return _percent("refused", "commands", refused, max(sent, answered), limits.max_refused)


def _closed(limits: Limits, totals: Mapping[str, int]) -> Check:
    closed = sum(number for name, number in totals.items() if name.startswith("closed ") and name not in OURS)
    return _percent("closed", "joins", closed, totals.get("joins", 0), limits.max_closed)


def _percent(name: str, of_what: str, number: int, of: int, most: float) -> Check:
    part = MANY if number and not of else MANY * number / max(1, of)
    found = f"{number:,} of {of:,} {of_what}, {part:.2g} %; limit {most:g} %"
    return Check(name, found, [f"{number:,} of {of:,} {of_what} are {part:.2g} %"] if part > most else [])


def _pauses(limits: Limits, series: Sequence[Second]) -> Check:
    longest = {name: max(_stretches(series, name, sent), default=0.0) for name, sent in ARRIVALS.items()}
    most = limits.max_pause_s
    wrong = [
        f"{name}: nothing for {s:g} s, while {ARRIVALS[name]} were sent" for name, s in longest.items() if s > most
    ]
    return Check("pauses", f"the longest {max(longest.values()):g} s; limit {most:g} s", wrong)


def _stretches(series: Sequence[Second], name: str, sent: str) -> Iterator[float]:
    """Each time in which something was sent and nothing arrived, in seconds."""
    began: float | None = None
    for before, second in zip((None, *series), series, strict=False):
        if began is None and second.rates.get(sent, 0):
            began = before.at_s if before is not None else 0.0
        came = second.latencies.get(name)
        if came is not None and came.count:
            began = None
        elif began is not None:
            yield second.at_s - began
