"""Checks that a wallet store can be trusted with money: before its first use, and regularly afterwards."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from server import limits
from server.store import keys
from server.store.client import Arg, Link, Store, StoreRefused
from server.store.scripts import Script

_COMMAND = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?")
_KEY = keys.wallet_meta(0)  # the store's user may have rights only on the wallets' keys
_CONTAINERS = {"XINFO", "SCRIPT", "CONFIG", "ACL"}

# Durability depends on these; README.md's table says what is lost without each.
WANTED = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}

# What a node sends to the wallet store besides its scripts' commands. tests/wallet/test_rights.py compares them.
SENT: tuple[tuple[str, ...], ...] = (
    ("EVAL",),
    ("EVALSHA",),
    ("GET",),
    ("HGET",),
    ("HMGET",),
    ("HSET",),
    ("INFO",),
    ("PING",),
    ("SCRIPT", "LOAD"),
    ("XLEN",),
    ("XRANGE",),
    ("XREVRANGE",),
)
# What nodes and the journal process send to the room store besides its scripts' commands.
SENT_TO_ROOMS: tuple[tuple[str, ...], ...] = (
    ("DEL",),
    ("EVAL",),
    ("EVALSHA",),
    ("GET",),
    ("HMGET",),
    ("INFO",),
    ("LRANGE",),
    ("MGET",),
    ("PING",),
    ("PUBLISH",),
    ("SADD",),
    ("SCRIPT", "LOAD"),
    ("SET",),
    ("SMEMBERS",),
    ("SREM",),
    ("SSCAN",),
    ("SUBSCRIBE",),
    ("UNSUBSCRIBE",),
    ("XRANGE",),
    ("XREVRANGE",),
)
# What the journal process sends to the wallet store besides its scripts' commands.
SENT_BY_JOURNAL: tuple[tuple[str, ...], ...] = (
    ("DEL",),
    ("EVAL",),
    ("EVALSHA",),
    ("GET",),
    ("HDEL",),
    ("HGET",),
    ("HMGET",),
    ("HSCAN",),
    ("HSET",),
    ("INFO",),
    ("PING",),
    ("SCAN",),
    ("SCRIPT", "LOAD"),
    ("SET",),
    ("UNLINK",),
    ("XLEN",),
    ("XRANGE",),
    ("XREVRANGE",),
    ("XTRIM",),
)
SENT_TO_REPLICATE = (("HINCRBY",), ("WAIT",))


UNTOLD = "nobody can tell what the store's user may do"


class Found(Struct, frozen=True):
    """What speaks against a store, as sentences. It may be opened only when `wrong` is empty."""

    wrong: list[str]
    alone: list[str] = []  # no replica has what it has; msgspec copies the list
    primary: bool = True

    @property
    def trouble(self) -> str | None:
        """All sentences, or None when the store may take money."""
        return "; ".join([*self.wrong, *self.alone]) or None


class Guard:
    """Looks at a wallet store, and remembers one that it has seen without its append-only file."""

    def __init__(self, scripts: Sequence[Script], *, replicated: bool = False) -> None:
        self._replicated = replicated
        self._commands = commands_of(scripts, (*SENT, *SENT_TO_REPLICATE) if replicated else SENT)
        self._unwritten = ""  # the process that was seen without the file, until its first rewrite is over

    async def look(self, store: Store | Link, *, free_bytes: int | None = None, meta: str | None = None) -> Found:
        """Look at the store behind this connection. Raises StoreError.

        A replica must confirm a write of this connection, to the hash `meta`.
        """
        try:
            about = _info(await store.call("INFO", "everything"))
        except StoreRefused as refused:
            return Found([f"the store does not say how it is ({str(refused)[: limits.LOGGED_CHARS_MAX]})"])
        wrong = [*_state(about), *await _config(store), *self._file(about), *await self._rights(store)]
        if free_bytes is not None and free_bytes <= 0:
            wrong.append("the disk of the wallet store is nearly full")
        alone = await _replicas(store, about, meta) if self._replicated and not wrong else []
        return Found(wrong, alone, about.get("role") == "master")

    def _file(self, about: dict[str, str]) -> list[str]:
        """Check that the append-only file has what was written before it was switched on.

        `CONFIG SET appendonly yes` answers at once, and `aof_enabled` says 1 while the file is still a temporary one.
        What was written till then is lost in a crash, and so are gifts, until the rewrite is over.
        """
        process, off = about.get("run_id", ""), about.get("aof_enabled") != "1"
        writes = about.get("aof_rewrite_in_progress") != "0" or about.get("aof_rewrite_scheduled") != "0"
        done = not writes and about.get("aof_last_bgrewrite_status") == "ok"
        if off or (writes and about.get("aof_base_size") == "0"):
            self._unwritten = process
        elif self._unwritten == process and done:
            self._unwritten = ""
        if off or self._unwritten != process:
            return []  # that it is off is a wrong setting
        return ["the store's append-only file does not have yet what was written before it was switched on"]

    async def _rights(self, store: Store | Link) -> list[str]:
        """Check that every command is allowed: a script without a right to its second command leaves its first done."""
        return await rights_missing(store, self._commands)


async def rights_missing(store: Store | Link, commands: Sequence[tuple[str, ...]]) -> list[str]:
    """What the store's user may not do of these commands, as at most one sentence. Raises StoreError."""
    try:
        user = cast(bytes, await store.call("ACL", "WHOAMI"))
        said = await asyncio.gather(*(store.call("ACL", "DRYRUN", user, *command) for command in commands))
    except StoreRefused as refused:
        return [f"{UNTOLD}: allow it `acl|whoami` and `acl|dryrun` ({str(refused)[: limits.LOGGED_CHARS_MAX]})"]
    pairs = zip(commands, said, strict=True)
    missing = {command[0]: reply.decode(errors="replace") for command, reply in pairs if reply != b"OK"}
    if not missing:
        return []
    why = next(iter(missing.values()))[: limits.LOGGED_CHARS_MAX]
    return [f"the store's user may not run {', '.join(missing)} ({why})"]


def _state(about: dict[str, str]) -> list[str]:
    found: list[str] = []
    if about.get("role") != "master":
        found.append(f"the store's role is {about.get('role')}, not master")
    if about.get("aof_last_write_status") != "ok":
        found.append("the store's last write of its append-only file failed")
    return found


async def _config(store: Store | Link) -> list[str]:
    try:
        reply = await store.call("CONFIG", "GET", *WANTED)
    except StoreRefused as refused:
        return [f"the store does not show its configuration ({refused})"]
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    has = {key.decode(): value.decode() for key, value in pairs}
    return [f"{name} is {has.get(name)}, not {value}" for name, value in WANTED.items() if has.get(name) != value]


async def _replicas(store: Store | Link, about: dict[str, str], meta: str | None) -> list[str]:
    """Check that a replica is there and confirms a write."""
    replicas = [text for name, text in about.items() if re.fullmatch(r"slave\d+", name)]
    if not any("state=online" in text for text in replicas):
        return ["no replica of the store is online"]
    if meta is None:
        return []
    replies = await asyncio.gather(*(store.call(*command) for command in replicating(meta)), return_exceptions=True)
    for reply in replies:
        if isinstance(reply, StoreRefused):
            if not str(reply).startswith("WRONGTYPE"):  # else this one key is broken, and its partition closed
                return [f"the store does not replicate ({str(reply)[: limits.LOGGED_CHARS_MAX]})"]
        elif isinstance(reply, BaseException):
            raise reply
    return [] if cast(int, replies[-1]) >= 1 else ["no replica of the store confirms a write"]


def replicating(meta: str) -> tuple[tuple[Arg, ...], tuple[Arg, ...]]:
    """A small write, and the command that waits until a replica has it and all before it. Its reply counts replicas.

    WAIT covers only the connection's own writes, and a batch of duplicates writes nothing: hence the write.
    """
    return ("HINCRBY", meta, "confirmed", 1), ("WAIT", 1, limits.REPLICATION_MS)


def commands_of(
    scripts: Sequence[Script], sent: Sequence[tuple[str, ...]] = (), key: str = _KEY
) -> list[tuple[str, ...]]:
    """Every command in the scripts' text and in `sent`, with as many arguments as ACL DRYRUN expects.

    `key` is a key or channel that the store's user must have rights on.
    """
    found = set(sent)
    for script in scripts:
        for name, first in _COMMAND.findall(script.text):
            found.add((name, first) if name in _CONTAINERS else (name,))
    wanted = _arguments(key)
    return sorted(command + wanted[command[0]] for command in found if command[0] in wanted)


def _arguments(key: str) -> dict[str, tuple[str, ...]]:
    """Arguments for each command that we can check, because DRYRUN checks their number, too."""
    return {
        **dict.fromkeys(("TIME", "INFO", "PING"), ()),
        **dict.fromkeys(("GET", "EXISTS", "XINFO", "DEL", "UNLINK", "XLEN", "PTTL"), (key,)),
        **dict.fromkeys(("HGETALL", "HKEYS", "HLEN", "HVALS", "MGET", "PERSIST", "SCARD", "SMEMBERS"), (key,)),
        **dict.fromkeys(("SUBSCRIBE", "UNSUBSCRIBE"), (key,)),
        **dict.fromkeys(("PUBLISH", "RPUSH", "SADD", "SISMEMBER", "SREM", "ZREM", "ZREVRANK", "ZSCORE"), (key, "m")),
        **dict.fromkeys(("EXPIRE", "PEXPIRE"), (key, "1")),
        **dict.fromkeys(("ZADD", "ZINCRBY"), (key, "1", "m")),
        **dict.fromkeys(
            ("LRANGE", "LTRIM", "ZRANGE", "ZRANGEBYSCORE", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREVRANGE"),
            (key, "0", "1"),
        ),
        **dict.fromkeys(("SSCAN", "HSCAN"), (key, "0")),
        "SCAN": ("0",),
        "XTRIM": (key, "MAXLEN", "1"),
        **dict.fromkeys(("HGET", "HMGET", "HDEL", "HEXISTS"), (key, "f")),
        **dict.fromkeys(("EVAL", "EVALSHA"), ("s", "1", key)),
        **dict.fromkeys(("XRANGE", "XREVRANGE"), (key, "-", "+")),
        "SET": (key, "v"),
        "COPY": (key, key),
        **dict.fromkeys(("HSET", "HSETNX"), (key, "f", "v")),
        "HINCRBY": (key, "f", "1"),
        "INCRBY": (key, "1"),
        "XADD": (key, "*", "f", "v"),
        "SCRIPT": ("s",),
        "WAIT": ("1", "1"),
    }


def _info(text: Any) -> dict[str, str]:
    lines = (line.split(":", 1) for line in cast(bytes, text).decode(errors="replace").splitlines() if ":" in line)
    return {key: value.strip() for key, value in lines}
