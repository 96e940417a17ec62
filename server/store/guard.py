"""Checks that a wallet store can be trusted with money: before its first use, and regularly afterwards."""

import re
from collections.abc import Sequence
from typing import Any, cast

from server.store import keys
from server.store.client import Link, Store, StoreRefused
from server.store.scripts import Script

_COMMAND = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
_KEY = keys.wallet_meta(0)  # the store's user may have rights only on the wallets' keys
_CONTAINERS = {"XINFO", "SCRIPT", "CONFIG"}

# Durability depends on these; README.md's table says what is lost without each.
WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


async def troubles(store: Store | Link, scripts: Sequence[Script], free_bytes: int | None = None) -> list[str]:
    """Return each problem as a sentence, or an empty list if the store may take money. Raises StoreError."""
    call = store.call
    found: list[str] = []
    info = _info(await call("INFO", "everything"))
    if info.get("role") != "master":
        found.append(f"the store's role is {info.get('role')}, not master")
    version = info.get("valkey_version") or info.get("redis_version") or "0"
    if int(version.split(".")[0]) < 7:
        found.append(f"the store is version {version}; 7.0 or later is needed")
    if info.get("aof_last_write_status") != "ok":
        found.append("the store's last write of its append-only file failed")
    found += await _config(store)
    found += await _rights(store, scripts)
    if free_bytes is not None and free_bytes <= 0:
        found.append("the disk of the wallet store is nearly full")
    return found


async def _config(store: Store | Link) -> list[str]:
    try:
        reply = await store.call("CONFIG", "GET", *WANTED)
    except StoreRefused as refused:
        return [f"the store does not show its configuration ({refused})"]
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    has = {key.decode(): value.decode() for key, value in pairs}
    return [f"{name} is {has.get(name)}, not {value}" for name, value in WANTED.items() if has.get(name) != value]


async def _rights(store: Store | Link, scripts: Sequence[Script]) -> list[str]:
    """Check that every command is allowed: a script without a right to its second command leaves its first done."""
    try:
        user = cast(bytes, await store.call("ACL", "WHOAMI"))
        for command in commands_of(scripts):
            said = await store.call("ACL", "DRYRUN", user, *command)
            if said != b"OK":
                return [f"the store's user may not run {command[0]} ({said.decode(errors='replace')[:80]})"]
    except StoreRefused as refused:
        return [f"the store does not say what its user may do ({refused})"]
    return []


def commands_of(scripts: Sequence[Script]) -> list[tuple[str, ...]]:
    """Every command in the scripts' text, with as many arguments as ACL DRYRUN expects."""
    found: set[tuple[str, ...]] = set()
    for script in scripts:
        for name, first in _COMMAND.findall(script.text):
            found.add((name, first) if name in _CONTAINERS else (name,))
    return sorted(_with_arguments(command) for command in found)


def _with_arguments(command: tuple[str, ...]) -> tuple[str, ...]:
    """Add arguments, because DRYRUN checks their number, too."""
    wanted: dict[str, tuple[str, ...]] = {
        "TIME": (),
        "GET": (_KEY,),
        "EXISTS": (_KEY,),
        "HGET": (_KEY, "f"),
        "HMGET": (_KEY, "f"),
        "SET": (_KEY, "v"),
        "HSET": (_KEY, "f", "v"),
        "HINCRBY": (_KEY, "f", "1"),
        "INCRBY": (_KEY, "1"),
        "XADD": (_KEY, "*", "f", "v"),
        "XINFO": (_KEY,),
        "DEL": (_KEY,),
        "HDEL": (_KEY, "f"),
    }
    return command + wanted[command[0]]


def _info(text: Any) -> dict[str, str]:
    lines = (line.split(":", 1) for line in cast(bytes, text).decode(errors="replace").splitlines() if ":" in line)
    return {key: value.strip() for key, value in lines}
