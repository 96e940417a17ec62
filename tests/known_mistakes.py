"""Mistakes that no test noticed once, or that nobody must ever make here: `make mutants` always tries them.

Each says what goes wrong, and in which file what text becomes which other.
"""

from typing import NamedTuple


class Known(NamedTuple):
    """A mistake, written by hand."""

    what: str
    file: str
    right: str
    wrong: str


KNOWN = (
    Known(
        "the audit's window never moves",
        "server/journal/part.py",
        "self.turn.at = self._window[-1]",
        "pass",
    ),
    Known(
        "the audit's window over the log never moves",
        "server/journal/part.py",
        "self._log_at = (known[-2].epoch, known[-2].n) if full else NOTHING",
        "self._log_at = NOTHING",
    ),
    Known(
        "the sum of what was charged back is not compared",
        "server/journal/compare.py",
        "if ours != theirs:",
        'if ours != theirs and total.sum != "charged_back":',
    ),
    Known(
        "what creators lost by chargebacks is left out of the report",
        "server/journal/audit.py",
        "total.charged_back + taken.coins_charged_back",
        "total.charged_back",
    ),
    Known(
        "sums cross assets: a posting in the other asset is not found",
        "server/journal/rederive.py",
        "if theirs != ours.postings:",
        "if [e for i, e in enumerate(theirs) if i % 7 != 4] != [e for i, e in enumerate(ours.postings) if i % 7 != 4]:",
    ),
    Known(
        "sums cross assets: diamonds are added where coins belong",
        "server/journal/totals.py",
        '(("coins", of_viewers), ("diamonds", ~of_viewers))',
        '(("coins", positions.c.account != ""), ("diamonds", ~of_viewers))',
    ),
    Known(
        "sums cross assets: creators' counters count as coins held",
        "server/journal/seen.py",
        '.filter(positions.c.account.like("viewer:%"))',
        "",
    ),
    Known(
        "a gift's receipt is forgotten without the margin",
        "server/journal/moneytime.py",
        "return self.floor_ms - limits.RECEIPT_MARGIN_MS",
        "return self.floor_ms",
    ),
    Known(
        "a replayed gift gets no receipt within the margin",
        "server/journal/receipts.py",
        "return left.gift_ms >= self.forgot_ms",
        "return left.gift_ms >= self.forgot_ms + limits.RECEIPT_MARGIN_MS",
    ),
    Known(
        "the store forgets receipts without the margin",
        "server/store/lua/moneytime_forget.lua",
        " - tonumber(margin_ms)",
        "",
    ),
    Known(
        "yesterday's spending is replayed as today's",
        "server/store/lua/refill_replay.lua",
        "(held[1] and tonumber(held[1]) == day) and tonumber(held[2]) or 0",
        "tonumber(held[2] or '0')",
    ),
    Known(
        "yesterday's spending is replayed on today's day",
        "server/store/lua/refill_replay.lua",
        "math.min(math.floor(tonumber(at_ms) / 86400000), tonumber(today))",
        "tonumber(today)",
    ),
    Known(
        "a stuck partition is not frozen at opening",
        "server/journal/opening.py",
        "for partition in found.keys() & await self._stuck():",
        "for partition in found.keys() & set[int]():",
    ),
    Known(
        "a new epoch has no OPEN marker",
        "server/store/lua/opening_open.lua",
        "redis.pcall('XADD', log, epoch .. '-0', 't', at_ms, 'e', entry)",
        "'0-0'",
    ),
    Known(
        "a batch of duplicates is not confirmed",
        "server/money/store.py",
        "self._money.send(*write).add_done_callback(_retrieve)",
        "pass",
    ),
    Known(
        "a receipt is read without a confirmation",
        "server/money/wallet.py",
        "text = receipts.of(await self._store.read_confirmed(*asked))",
        "text = receipts.of([await self._store.read(*command) for command in asked])",
    ),
    Known(
        "a gift that is under way here is answered as never paid",
        "server/money/wallet.py",
        "known = (user_id, gift_id) in self._sent",
        "known = False",
    ),
    Known(
        "the receipts of a lost call are read without a confirmation",
        "server/money/wallet.py",
        "replies = await self._store.read_confirmed(*asked)",
        "replies = [await self._store.read(*command) for command in asked]",
    ),
    Known(
        "a freeze in a stale epoch sets the status all the same",
        "server/store/lua/wallet_adjust.lua",
        "local id = redis.pcall('XADD'",
        "set_status(wallet, status, ordered_ms, held[2])\nlocal id = redis.pcall('XADD'",
    ),
    Known(
        "an order in a stale epoch moves coins all the same",
        "server/store/lua/wallet_adjust.lua",
        "local id = redis.pcall('XADD'",
        "redis.call('HINCRBY', wallet, 'c', delta)\nlocal id = redis.pcall('XADD'",
    ),
    Known(
        "a limit in a stale epoch applies all the same",
        "server/store/lua/wallet_limit.lua",
        "local id = redis.pcall('XADD'",
        "set_limit(wallet, today, coins, ordered_ms, limit)\nlocal id = redis.pcall('XADD'",
    ),
    Known(
        "a refund is posted for whichever viewer has that id",
        "server/journal/posted.py",
        "reversals.c.ref == ref, reversals.c.user_id == user_id)",
        "reversals.c.ref == ref)",
    ),
    Known(
        "a refund's decision is derived from whichever viewer's entry",
        "server/journal/posted.py",
        "entries.c.ref == ref, entries.c.user_id == user_id)",
        "entries.c.ref == ref)",
    ),
    Known(
        "a refund is found for whichever viewer has that id",
        "server/orders/rows.py",
        "reversals.c.ref == ref, reversals.c.user_id == user_id)",
        "reversals.c.ref == ref)",
    ),
    Known(
        "a late order undoes a newer one",
        "server/store/lua/include/overtaken.lua",
        "tonumber(held_ms) > tonumber(ordered_ms)",
        "false",
    ),
    Known(
        "an order does not say when it was recorded",
        "server/store/lua/include/set_status.lua",
        "redis.call('HSET', wallet, 'st_ms', ordered_ms)",
        "",
    ),
    Known(
        "a limit does not say when it was ordered",
        "server/store/lua/include/set_limit.lua",
        "redis.call('HSET', wallet, 'limit_ms', ordered_ms)",
        "",
    ),
    Known(
        "an order is not later than the wallet's others when the clock was set back",
        "server/orders/rows.py",
        "return max(now_ms, (newest or 0) + 1)",
        "return now_ms",
    ),
    Known(
        "a new limit leaves older ones pending",
        "server/orders/own_limits.py",
        "rows.overtake(connection, user_id, (LIMIT.name,))",
        "pass",
    ),
    Known(
        "the audit does not compare when orders were recorded",
        "server/journal/compare.py",
        'if ordered != (held.status_ms or "0", held.limit_ms or "0"):',
        "if False:",
    ),
)
