"""Mistakes that no test noticed once, or that nobody must ever make here: `make mutants` always tries them.

Each says what goes wrong, in which file what text becomes which other, and which test finds it.
"""

from typing import NamedTuple


class Known(NamedTuple):
    """A mistake, written by hand."""

    what: str
    file: str
    right: str
    wrong: str
    by: str  # the test that finds it


KNOWN = (
    Known(
        "the audit's window never moves",
        "server/journal/part.py",
        "self.turn.at = self._window[-1]",
        "pass",
        "tests/journal/test_audit.py::test_a_thaw_looks_at_every_wallet[sqlite]",
    ),
    Known(
        "the audit's window over the log never moves",
        "server/journal/part.py",
        "self._log_at = (known[-2].epoch, known[-2].n) if full else NOTHING",
        "self._log_at = NOTHING",
        "tests/journal/test_turns.py::test_one_run_compares_every_wallet[sqlite]",
    ),
    Known(
        "the sum of what was charged back is not compared",
        "server/journal/compare.py",
        "if ours != theirs:",
        'if ours != theirs and total.sum != "charged_back":',
        "tests/journal/test_corruptions_store.py::test_each_corruption_is_found[sqlite]",
    ),
    Known(
        "what creators lost by chargebacks is left out of the report",
        "server/journal/audit.py",
        "total.charged_back + taken.coins_charged_back",
        "total.charged_back",
        "tests/journal/test_asof.py::test_at_every_log_id[sqlite]",
    ),
    Known(
        "sums cross assets: a posting in the other asset is not found",
        "server/journal/rederive.py",
        "if theirs != [*stored]:",
        "if [e for i, e in enumerate(theirs) if i % 7 != 4] != [e for i, e in enumerate(stored) if i % 7 != 4]:",
        "tests/journal/test_corruptions.py::test_a_corruption_is_found[sqlite-a leg moves to another asset]",
    ),
    Known(
        "sums cross assets: diamonds are added where coins belong",
        "server/journal/totals.py",
        '(("coins", of_viewers), ("diamonds", ~of_viewers))',
        '(("coins", positions.c.account != ""), ("diamonds", ~of_viewers))',
        "tests/journal/test_corruptions.py::test_nothing_is_wrong[sqlite]",
    ),
    Known(
        "sums cross assets: creators' counters count as coins held",
        "server/journal/seen.py",
        '.filter(positions.c.account.like("viewer:%"))',
        "",
        "tests/journal/test_corruptions.py::test_nothing_is_wrong[sqlite]",
    ),
    Known(
        "a gift's receipt is forgotten without the margin",
        "server/journal/moneytime.py",
        "return self.floor_ms - limits.RECEIPT_MARGIN_MS",
        "return self.floor_ms",
        "tests/torture/test_clock.py::test_no_clock_pays_twice[an answer is lost at the floor, and then the store]",
    ),
    Known(
        "a replayed gift gets no receipt within the margin",
        "server/journal/receipts.py",
        "return left.gift_ms >= self.forgot_ms",
        "return left.gift_ms >= self.forgot_ms + limits.RECEIPT_MARGIN_MS",
        "tests/torture/test_clock.py::test_no_clock_pays_twice[an answer is lost at the floor, and then the store]",
    ),
    Known(
        "the store forgets receipts without the margin",
        "server/store/lua/moneytime_forget.lua",
        " - tonumber(margin_ms)",
        "",
        "tests/journal/test_moneytime.py::test_the_store_keeps_receipts_in_the_margin",
    ),
    Known(
        "yesterday's spending is replayed as today's",
        "server/store/lua/refill_replay.lua",
        "(held[1] and tonumber(held[1]) == day) and tonumber(held[2]) or 0",
        "tonumber(held[2] or '0')",
        "tests/torture/test_clock.py::test_limits_of_yesterday",
    ),
    Known(
        "yesterday's spending is replayed on today's day",
        "server/store/lua/refill_replay.lua",
        "math.min(math.floor(tonumber(at_ms) / 86400000), tonumber(today))",
        "tonumber(today)",
        "tests/torture/test_clock.py::test_limits_of_yesterday",
    ),
    Known(
        "a stuck partition is not frozen at opening",
        "server/journal/opening.py",
        "for partition in found.keys() & await self._stuck():",
        "for partition in found.keys() & set[int]():",
        "tests/journal/test_refill.py::test_a_wrong_row_closes_its_partition_alone[sqlite]",
    ),
    Known(
        "a new epoch has no OPEN marker",
        "server/store/lua/opening_open.lua",
        "redis.pcall('XADD', log, epoch .. '-0', 't', at_ms, 'e', entry)",
        "'0-0'",
        "tests/wallet/test_wallet.py::test_the_ledger_entry",
    ),
    Known(
        "a batch of duplicates is not confirmed",
        "server/money/store.py",
        "self._money.send(*write).add_done_callback(_retrieve)",
        "pass",
        "tests/torture/test_failover.py::test_another_node_confirms_what_it_did_not_write",
    ),
    Known(
        "a receipt is read without a confirmation",
        "server/money/wallet.py",
        "text = receipts.of(await self._store.read_confirmed(*asked))",
        "text = receipts.of([await self._store.read(*command) for command in asked])",
        "tests/wallet/test_elsewhere.py::test_only_a_found_receipt_is_confirmed",
    ),
    Known(
        "a gift that is under way here is answered as never paid",
        "server/money/wallet.py",
        "known = (user_id, gift_id) in self._sent",
        "known = False",
        "tests/wallet/test_elsewhere.py::test_a_gift_under_way_is_not_called_unpaid",
    ),
    Known(
        "the receipts of a lost call are read without a confirmation",
        "server/money/wallet.py",
        "replies = await self._store.read_confirmed(*asked)",
        "replies = [await self._store.read(*command) for command in asked]",
        "tests/wallet/test_wallet_lost.py::test_a_found_receipt_is_confirmed",
    ),
    Known(
        "a freeze in a stale epoch sets the status all the same",
        "server/store/lua/wallet_adjust.lua",
        "local id = redis.pcall('XADD'",
        "set_status(wallet, status, ordered_ms, held[2])\nlocal id = redis.pcall('XADD'",
        "tests/wallet/test_orders.py::test_a_stale_epoch_changes_nothing[freeze]",
    ),
    Known(
        "an order in a stale epoch moves coins all the same",
        "server/store/lua/wallet_adjust.lua",
        "local id = redis.pcall('XADD'",
        "redis.call('HINCRBY', wallet, 'c', delta)\nlocal id = redis.pcall('XADD'",
        "tests/wallet/test_orders.py::test_a_stale_epoch_changes_nothing[topup]",
    ),
    Known(
        "a limit in a stale epoch applies all the same",
        "server/store/lua/wallet_limit.lua",
        "local id = redis.pcall('XADD'",
        "set_limit(wallet, today, coins, ordered_ms, limit)\nlocal id = redis.pcall('XADD'",
        "tests/wallet/test_orders.py::test_a_stale_epoch_changes_nothing[limit]",
    ),
    Known(
        "a refund is posted for whichever viewer has that id",
        "server/journal/posted.py",
        "reversals.c.ref == ref, reversals.c.user_id == user_id)",
        "reversals.c.ref == ref)",
        "tests/journal/test_rows.py::test_an_entry_posts_its_own_viewers_order[sqlite]",
    ),
    Known(
        "a refund's decision is derived from whichever viewer's entry",
        "server/journal/posted.py",
        "entries.c.ref == ref, entries.c.user_id == user_id)",
        "entries.c.ref == ref)",
        "tests/journal/test_rows.py::test_lost_rows_of_one_id[sqlite]",
    ),
    Known(
        "a refund is found for whichever viewer has that id",
        "server/orders/rows.py",
        "reversals.c.ref == ref, reversals.c.user_id == user_id)",
        "reversals.c.ref == ref)",
        "tests/journal/test_rows.py::test_an_order_is_of_one_viewer_and_kind[sqlite]",
    ),
    Known(
        "a late order undoes a newer one",
        "server/store/lua/include/overtaken.lua",
        "tonumber(held_ms) > tonumber(ordered_ms)",
        "false",
        "tests/wallet/test_orders.py::test_a_late_status_does_not_undo_a_newer_one",
    ),
    Known(
        "an order does not say when it was recorded",
        "server/store/lua/include/set_status.lua",
        "redis.call('HSET', wallet, 'st_ms', ordered_ms)",
        "",
        "tests/wallet/test_orders.py::test_a_late_status_does_not_undo_a_newer_one",
    ),
    Known(
        "a limit does not say when it was ordered",
        "server/store/lua/include/set_limit.lua",
        "redis.call('HSET', wallet, 'limit_ms', ordered_ms)",
        "",
        "tests/wallet/test_orders.py::test_a_late_limit_does_not_undo_a_newer_one",
    ),
    Known(
        "an order is not later than the wallet's others when the clock was set back",
        "server/orders/rows.py",
        "return max(now_ms, (newest or 0) + 1)",
        "return now_ms",
        "tests/journal/test_rows.py::test_a_new_order_is_later_than_the_wallets_others[sqlite]",
    ),
    Known(
        "a new limit leaves older ones pending",
        "server/orders/own_limits.py",
        "rows.overtake(connection, user_id, (LIMIT.name,))",
        "pass",
        "tests/journal/test_recovery.py::test_the_newest_limit_decides[sqlite]",
    ),
    Known(
        "the audit does not compare when orders were recorded",
        "server/journal/compare.py",
        'if ordered != (held.status_ms or "0", held.limit_ms or "0"):',
        "if False:",
        "tests/journal/test_corruptions_store.py::test_each_corruption_is_found[sqlite]",
    ),
)


class Argued(NamedTuple):
    """Mutants that change nothing that anybody can see: all of this change in this line of code, and why."""

    file: str
    line: str
    change: str
    why: str


ARGUED = (
    Argued(
        "server/journal/audit.py",
        "waiting = await self._store.entries(part.partition, mark, 1)",
        "1 -> (2)",
        "only the first of them is looked at",
    ),
    Argued(
        "server/journal/findings.py",
        "text = connection.execute(select(audits.c.report).order_by(audits.c.at_ms.desc()).limit(1)).scalar()",
        "1 -> (2)",
        "only the first row is read",
    ),
    Argued(
        "server/journal/moneytime.py",
        "if until_ms > now.orders_ms:",
        "until_ms > now.orders_ms -> (until_ms >= now.orders_ms)",
        "at the same time there is nothing between the two to forget",
    ),
    Argued(
        "server/journal/moneytime.py",
        "until_ms = min(until_ms, max(some[-1].at_ms - 1, some[0].at_ms))",
        "1 -> (2)",
        "orders of one millisecond more wait for the next step",
    ),
    Argued(
        "server/orders/decisions.py",
        'newest.with_only_columns(entries.c.n).limit(1).scalar_subquery().label("n"),',
        "1 -> (2)",
        "SQLite takes the first row; PostgreSQL refuses two, and every refund there with them",
    ),
    Argued(
        "server/orders/recovery.py",
        "return False  # it has waited for the journal in vain, and so would the next",
        "return False -> return None",
        "the caller asks only whether it is true",
    ),
    Argued(
        "server/orders/topups.py",
        'if before.state == "posted" and before.balance is not None:',
        'before.state == "posted" and before.balance is not None -> '
        "(before.state == 'posted' or before.balance is not None)",
        "the drain writes both at once",
    ),
    Argued(
        "server/store/lua/moneytime_forget.lua",
        "if tonumber(end_ms) > forgot then",
        "if tonumber(end_ms) > forgot then -> if tonumber(end_ms) >= forgot then",
        "the same time is noted once more",
    ),
    Argued(
        "server/journal/texts.py",
        "if at < 0:",
        "at < 0 -> (at <= 0)",
        "no JSON begins with the comma that is searched for",
    ),
    Argued(
        "server/store/lua/include/integer.lua",
        "error('not a whole number: ' .. key)",
        "error('not a whole number: ' .. key) -> error('a whole number: ' .. key)",
        "only the words of an error",
    ),
    Argued(
        "server/journal/derived.py",
        "found.append(_Reversal(row, None, before, (0, 0, row.at)))",
        "0 -> (1)",
        "it directly follows that entry, so it comes before all others that were decided there, by its log id too",
    ),
    Argued(
        "server/journal/receipts.py",
        "assert_never(other)",
        "assert_never(other) -> pass",
        "mypy proves that nothing comes here",
    ),
    Argued(
        "server/journal/rederive.py",
        'super().__init__(f"{where}: {what}")',
        'super().__init__(f"{where}: {what}") -> pass',
        "only the words of an exception that does not leave the module",
    ),
    Argued(
        "server/journal/drain.py",
        "if in_epoch == epoch and too_many > 0:",
        "too_many > 0 -> (too_many >= 0)",
        "a trim up to the oldest entry takes nothing away",
    ),
    Argued(
        "server/journal/drain.py",
        "if first_epoch < epoch:",
        "first_epoch < epoch -> (first_epoch <= epoch)",
        "an epoch that is alone never has too many: its numbers have no holes, and fewer than a tail are journaled",
    ),
    Argued(
        "server/store/lua/opening_open.lua",
        "if not now or tonumber(now) < tonumber(epoch) then",
        "if not now or tonumber(now) < tonumber(epoch) then -> if not now or tonumber(now) <= tonumber(epoch) then",
        "the log has the marker of that epoch, and takes no other with its id",
    ),
    Argued(
        "server/store/lua/opening_open.lua",
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))",
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) -> "
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1001))",
        "at most a millisecond less, in the time of a marker",
    ),
    Argued(
        "server/store/lua/wallet_adjust.lua",
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))",
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) -> "
        "local at_ms = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1001))",
        "at most a millisecond less, in the time of an entry",
    ),
    Argued(
        "server/store/lua/wallet_spend.lua",
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)",
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) -> "
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1001)",
        "at most a millisecond less, in the time of an entry",
    ),
    Argued(
        "server/store/lua/wallet_limit.lua",
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)",
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) -> "
        "local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1001)",
        "at most a millisecond less, in the time of an entry",
    ),
    Argued(
        "server/store/lua/wallet_spend.lua",
        "if in_combo == '1' and combo_of[combo] == nil then",
        "if in_combo == '1' and combo_of[combo] == nil then -> if in_combo == '1' or combo_of[combo] == nil then",
        "it reads more than it needs, and before anything is written",
    ),
    Argued(
        "server/journal/fence.py",
        "query = _HELD.where(openings.c.partition.in_(list(partitions))).with_for_update(read=True)",
        "True -> (False)",
        "it only locks more: two drains would wait for each other, and a swap waits for either lock",
    ),
    Argued(
        "server/journal/imports.py",
        "_, epoch, n, *_ = batch.rows.entries[at : at + 3]",
        "3 -> (4)",
        "the fourth column is not used",
    ),
    Argued(
        "server/journal/lots.py",
        "self._packed = msgspec.Raw()",
        "self._packed = msgspec.Raw() -> pass",
        "it is read only of a lot without `_parts`, which was given what is packed",
    ),
    Argued(
        "server/journal/accounts.py",
        "func.sum(case((legs.c.amount > 0, legs.c.amount), else_=0)),",
        "legs.c.amount > 0 -> (legs.c.amount >= 0)",
        "an amount of 0 adds nothing either way",
    ),
)
