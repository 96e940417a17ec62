"""The verdict: compares what all processes saw and paid with each other, the rooms, the wallets and the journal."""

import bisect
import json
import time
from itertools import pairwise
from typing import Any

from loadtest.api import Api, ApiError
from loadtest.hearing import DROPPABLE, EVENTS_MAX, KEPT
from loadtest.processes import Served
from loadtest.results import Check
from loadtest.worker import Account, Heard, Paid

JOURNAL_S = 60.0
WRONG_MAX = 20  # violations of each check
NOT_FOUND = 404
AUDIT = "the server's audit"
AUDIT_WAIT_S = 180.0  # there is one a minute, and one of a large journal may take another
AUDIT_POLL_S = 0.5


class Room:
    """What one room sent in one epoch, merged from all processes."""

    def __init__(self) -> None:
        self.prints: dict[int, int] = {}
        self.gifts: dict[str, tuple[int, int]] = {}
        self._seqs: list[int] = []
        self._sums: list[tuple[int, int]] = []

    def close(self) -> None:
        """Call it when everything is merged: it makes the running sums."""
        rows = sorted(self.gifts.values())
        self._seqs = [seq for seq, _ in rows]
        self._sums = [(0, 0)]
        for _, coins in rows:
            gifts, before = self._sums[-1]
            self._sums.append((gifts + 1, before + coins))

    def paid(self, after: int, to: int) -> tuple[int, int]:
        """Gifts and coins of the events after seq `after`, up to and including `to`."""
        first, last = bisect.bisect_right(self._seqs, after), bisect.bisect_right(self._seqs, to)
        return self._sums[last][0] - self._sums[first][0], self._sums[last][1] - self._sums[first][1]


class Verdict:
    """Checks the accounts of all processes. The checks may run in any order."""

    def __init__(self, accounts: list[Account]) -> None:
        self.accounts = accounts
        self.rooms: dict[tuple[str, str], Room] = {}
        self.sent = {gift.id: gift for account in accounts for gift in account.gifts}
        self.acked = {id_: gift for id_, gift in self.sent.items() if gift.acked}
        self._merging: list[str] = []
        for account in accounts:
            for log in account.told:
                room = self.rooms.setdefault((log.room, log.epoch), Room())
                self._merge(f"{log.room} {log.epoch}", room.prints, log.prints)
                self._merge(f"{log.room} {log.epoch}", room.gifts, log.gifts)
        for room in self.rooms.values():
            room.close()

    def _merge(self, where: str, into: dict[Any, Any], more: dict[Any, Any]) -> None:
        for key, value in more.items():
            if into.setdefault(key, value) != value:
                self._merging.append(f"{where}: {key} is {into[key]} in one process and {value} in another")

    # --- what was seen -----------------------------------------------------------------------------------------
    def order(self) -> Check:
        """Every socket gets events by rising seq, and one seq is the same event for all."""
        wrong = [*self._merging, *(sentence for account in self.accounts for sentence in account.wrong)]
        events, heard = sum(len(room.prints) for room in self.rooms.values()), sum(len(a.heard) for a in self.accounts)
        return _check("order", f"{events:,} events, {heard:,} stretches heard", wrong)

    def losses(self) -> Check:
        """An event that a viewer missed was replaced by newer counts, or reported as hidden. It is never a gift."""
        wrong, missing = [], 0
        for account in self.accounts:
            for heard in account.heard:
                room = self.rooms.get((heard.room, heard.epoch), Room())
                if (lost := sum(last - first + 1 for first, last in heard.missing)) > EVENTS_MAX:
                    wrong.append(f"viewer {heard.number} was not told {lost:,} events")
                    continue
                seqs = [seq for first, last in heard.missing for seq in range(first, last + 1)]
                missing += len(seqs)
                classes = [room.prints[seq] & 3 if seq in room.prints else DROPPABLE for seq in seqs]
                kept, droppable = classes.count(KEPT), classes.count(DROPPABLE)
                if kept:
                    wrong.append(f"viewer {heard.number} was not told {kept:,} events that are never dropped")
                if droppable > heard.hidden:
                    wrong.append(f"viewer {heard.number} was not told {droppable:,} events, {heard.hidden:,} as hidden")
        return _check("nothing lost", f"{missing:,} events were overtaken or hidden", wrong)

    def sums(self) -> Check:
        """Each viewer saw exactly the coins of the gifts between its first and last seq."""
        wrong, sums = [], 0
        for account in self.accounts:
            for heard in account.heard:
                expected = self._expected(heard)
                sums += 1
                if expected != (heard.gifts, heard.coins):
                    seen = f"{heard.gifts:,} gifts of {heard.coins:,} coins"
                    wrong.append(f"viewer {heard.number} saw {seen}, its room told {expected[0]:,} of {expected[1]:,}")
        return _check("sums", f"{sums:,} viewers' own sums", wrong)

    def _expected(self, heard: Heard) -> tuple[int, int]:
        room = self.rooms.get((heard.room, heard.epoch))
        if room is None:
            return 0, 0
        gifts, coins = room.paid(heard.start, heard.seq)
        for first, last in heard.missing:
            less = room.paid(first - 1, last)
            gifts, coins = gifts - less[0], coins - less[1]
        return gifts, coins

    # --- money -------------------------------------------------------------------------------------------------
    def shown(self) -> Check:
        """Every acknowledged gift was shown once, in its room, with its coins; no other gift was."""
        wrong, seen = [], dict[str, str]()
        for (name, epoch), room in self.rooms.items():
            for id_, (seq, coins) in room.gifts.items():
                if id_ in seen:
                    wrong.append(f"gift {id_} was shown in {seen[id_]} and in {name} {epoch}:{seq}")
                seen[id_] = f"{name} {epoch}:{seq}"
                wrong += self._not_as_sent(id_, name, coins)
        lost = [gift for id_, gift in self.acked.items() if id_ not in seen]
        wrong += [f"gift {gift.id} of {gift.user} was acknowledged and never shown" for gift in lost]
        return _check("shown once", f"{len(self.acked):,} acknowledged gifts, {len(seen):,} shown", wrong)

    def _not_as_sent(self, id_: str, room: str, coins: int) -> list[str]:
        sent = self.sent.get(id_)
        if sent is None:
            return [f"gift {id_} was shown in {room} and never sent, or refused"]
        return [] if (sent.room, sent.coins) == (room, coins) else [f"gift {id_} was shown otherwise than it was sent"]

    def journal(self, api: Api, givers: list[str], bought: int) -> list[Check]:
        """Every acknowledged gift is in the journal once, no other gift is, and the wallets hold what is left."""
        wrong, wallets = [], []
        gifts: dict[str, list[Paid]] = {user: [] for user in givers}
        for gift in self.sent.values():
            gifts[gift.user].append(gift)
        until, entries, coins = time.monotonic() + JOURNAL_S, 0, 0
        for user in givers:
            acked = {gift.id for gift in gifts[user] if gift.acked}
            rows = _journaled(api, user, acked, until)
            entries += len(rows)
            coins += sum(spent for _, spent in rows)
            wrong += self._journal_of(user, acked, rows)
            held = api.coins(user)
            if held != bought - sum(spent for _, spent in rows):
                wallets.append(f"{user} holds {held:,} coins, the journal leaves {bought - sum(s for _, s in rows):,}")
        return [
            _check("in the journal once", f"{len(self.acked):,} acknowledged gifts, {entries:,} entries", wrong),
            _check("wallets", f"{len(givers):,} givers spent {coins:,} coins", wallets),
        ]

    def _journal_of(self, user: str, acked: set[str], rows: list[tuple[str, int]]) -> list[str]:
        ids = [id_ for id_, _ in rows]
        wrong = [f"gift {id_} of {user} was acknowledged and is not in the journal" for id_ in acked - set(ids)]
        twice = [one for one, next_ in pairwise(sorted(ids)) if one == next_]
        wrong += [f"gift {id_} of {user} is in the journal twice" for id_ in twice]
        for id_, spent in rows:
            sent = self.sent.get(id_)
            if sent is None:
                wrong.append(f"gift {id_} of {user} is in the journal and was never sent, or refused")
            elif sent.coins != spent:
                wrong.append(f"gift {id_} of {user} cost {spent:,} coins in the journal, not {sent.coins:,}")
        return wrong

    def rooms_say(self, api: Api, names: list[str]) -> Check:
        """The total that each room reports is the sum of the gifts it showed."""
        wrong, total = [], 0
        for name in names:
            shown = sum(c for (room, _), each in self.rooms.items() if room == name for _, c in each.gifts.values())
            reported = int(api.call("GET", f"/v1/rooms/{name}")["coins"])
            total += reported
            if reported != shown:
                wrong.append(f"{name} reports {reported:,} coins, but {shown:,} were shown in it")
        return _check("rooms' sums", f"{len(names):,} rooms report {total:,} coins", wrong)


def _journaled(api: Api, user: str, wanted: set[str], until: float) -> list[tuple[str, int]]:
    """The gifts of a wallet in the journal with their coins, when all that are wanted are there or time is over."""
    while True:
        rows, before = list[tuple[str, int]](), ""
        while True:
            page = api.call("GET", f"/v1/wallets/{user}/entries{before}")
            rows += [(each["ref"], -each["coins"]) for each in page["entries"] if each["kind"] == "gift"]
            if page["next"] is None:
                break
            before = f"?{page['next']}"
        if wanted <= {id_ for id_, _ in rows} or time.monotonic() > until:
            return rows
        time.sleep(0.2)


def _check(name: str, found: str, wrong: list[str]) -> Check:
    more = [f"and {len(wrong) - WRONG_MAX:,} more"] if len(wrong) > WRONG_MAX else []
    return Check(name, found, wrong[:WRONG_MAX] + more)


def audit(api: Api, ended_ms: int, wait_s: float = AUDIT_WAIT_S) -> Check:
    """The server's first audit that began after the run: an older one knows nothing of its end.

    `ended_ms` is by the server's clock. Raises ApiError, ConnectionError.
    """
    until, said, age = time.monotonic() + wait_s, None, "it has made none"
    while True:
        said = _newest(api)
        if said is not None and said.get("began_ms", 0) >= ended_ms:
            break
        if said is not None:
            age = f"its newest began {max(0, ended_ms - said.get('began_ms', 0)) / 1000:,.0f} s before the run's end"
            age += f" and the one after it failed: {said['failed']}" if said.get("failed") else ""
        if time.monotonic() > until:
            never = f"no audit came that began after the run, within {wait_s:g} s: {age}"
            return _check(AUDIT, "not made", [never])
        time.sleep(AUDIT_POLL_S)
    wrong = [] if said["ok"] else [f"the server's audit: {each}" for each in said["wrong"]] or ["the audit is not ok"]
    return _check(AUDIT, f"{said['entries']:,} entries, {said['coins_held']:,} coins held, begun after the run", wrong)


def _newest(api: Api) -> Any:
    try:
        return api.call("GET", "/v1/audit")
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return None


def audit_of(served: Served) -> Check:
    """Run the server's audit of everything now."""
    code, said = served.audit()
    if code != 0:
        return _check(AUDIT, f"exited with status {code}", [said[-1000:]])
    figures = json.loads(said)
    return _check(AUDIT, f"{figures['entries']} entries, {figures['coins_held']} coins held", [])
