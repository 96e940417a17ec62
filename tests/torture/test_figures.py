"""The metrics of the journal process: what is behind shows from outside."""

import socket
from collections.abc import Callable

import httpx

from tests.program import eventually, free_port
from tests.torture.bank import WAIT_S, Bank


async def figures_at(port: int) -> dict[str, float]:
    """The journal's metrics by name and labels; empty while it does not answer."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
    except httpx.TransportError:
        return {}
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_the_journal_shows_how_it_is(new_bank: Callable[..., Bank]) -> None:
    """Entries, lag, audits, gifts of another broadcast and failed tasks; the lag grows while the store is away."""
    port = free_port()
    bank = new_bank(LIVEROOM_METRICS_PORT=str(port))
    await bank.open()
    journal = bank.journal_process()
    await bank.give(20)

    async def shows(name: str, least: float) -> bool:
        return (await figures_at(port)).get(f"liveroom_{name}", -1.0) >= least

    await eventually(lambda: shows("drain_entries_total", 20 + len(bank.viewers)), WAIT_S, "journaled entries")
    found = await figures_at(port)
    assert found["liveroom_drain_lag_ms"] < 10_000
    zero = ("drain_partitions_frozen", "drain_partitions_unread", "drain_partitions_waiting")
    assert {name: found[f"liveroom_{name}"] for name in zero} == dict.fromkeys(zero, 0.0)
    assert found["liveroom_gifts_of_another_broadcast_total"] == 0
    assert found['liveroom_task_failures_total{task="audit"}'] == 0
    assert {"liveroom_audit_ok", "liveroom_audit_oldest_check_ms", "process_resident_memory_bytes"} <= found.keys()
    await eventually(lambda: shows('payouts_alarmed{alarm="overdue"}', 0), WAIT_S, "the alarms of payouts")
    bank.store.kill()
    await eventually(lambda: shows("drain_lag_ms", 700), WAIT_S, "a lag")
    bank.store.start()
    await bank.end(journal)


async def test_a_port_that_is_taken_stops_no_money(new_bank: Callable[..., Bank]) -> None:
    """The journal says so and journals on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bank = new_bank(LIVEROOM_METRICS_PORT=str(taken.getsockname()[1]))
        await bank.open()
        journal = bank.journal_process()
        gifts = await bank.give(5)
        await eventually(lambda: {gift.gift_id for gift in gifts} <= bank.gift_rows().keys(), WAIT_S, "journaled gifts")
        assert "metrics_not_served" in bank.said_by(journal)
        await bank.end(journal)
