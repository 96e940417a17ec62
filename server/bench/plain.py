"""The plain ways to pay a gift, for comparison: one awaited redis-py call, or one PostgreSQL transaction."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import redis.asyncio
from redis.asyncio.connection import UnixDomainSocketConnection

from protocol.ids import uuid7_ms
from server import limits
from server.bench.giving import VIEWERS, Givers, Pay
from server.money.results import Spend
from server.money.wallet import SPEND
from server.settings import Settings
from server.store import keys
from server.store.client import Arg, parse_address

Opened = contextlib.AbstractAsyncContextManager[Pay]
TRY_S = 1.0  # a short run with each pool size; the best size is then measured
REDIS_POOLS = (1, 50, 100, 200)  # with one connection, each gift is awaited before the next is sent
POSTGRESQL_POOLS = (1, 8, 16, 32)
PER_S_MAX = 12_000
WAIT_S = 30.0

SCHEMA = """
    CREATE TABLE wallets (viewer text PRIMARY KEY, coins bigint NOT NULL CHECK (coins >= 0));
    CREATE TABLE credits (creator text PRIMARY KEY, diamonds bigint NOT NULL);
    CREATE TABLE receipts (viewer text, gift_id text, fingerprint text NOT NULL, PRIMARY KEY (viewer, gift_id));
    CREATE TABLE ledger (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), viewer text NOT NULL,
        creator text NOT NULL, coins bigint NOT NULL, diamonds bigint NOT NULL, balance bigint NOT NULL,
        entry text NOT NULL
    );
"""


async def _best(
    pools: tuple[int, ...], opened: Callable[[int], Opened], givers: Givers, seconds: float, pid: int
) -> dict[str, Any]:
    """Measure with the pool size that paid most gifts in a short run."""
    tried: dict[int, int] = {}
    for size in pools:
        async with opened(size) as pay:
            tried[size] = (await givers.give(pay, TRY_S, (pid,), PER_S_MAX))["gifts_per_s"]
    size = max(tried, key=lambda each: tried[each])
    async with opened(size) as pay:
        return {**await givers.give(pay, seconds, (pid,), PER_S_MAX), "pool": size, "tried": tried}


# --- redis-py --------------------------------------------------------------------------------------------------------
async def redis_py(configured: Settings, seconds: float, in_flight: int, store_pid: int) -> dict[str, Any]:
    """Our own script on the same kind of store, with one gift per call."""
    path = parse_address(configured.wallet_address).path
    async with redis.asyncio.Redis(unix_socket_path=path) as client:
        await _until_up(client)
        await client.script_load(SPEND.text)
        for partition in range(limits.WALLET_PARTITIONS):  # as a node's opening does
            await client.hset(keys.wallet_meta(partition), "now", str(int(time.time() * 1000)))  # noqa: TID251
        for n in range(VIEWERS):
            await client.hset(keys.wallet(f"v{n}"), "c", str(limits.TOPUP_COINS_MAX))

    @contextlib.asynccontextmanager
    async def opened(size: int) -> AsyncIterator[Pay]:
        socket: dict[str, Any] = {"connection_class": UnixDomainSocketConnection, "path": path}
        pool = redis.asyncio.ConnectionPool(max_connections=size, **socket)
        turn = asyncio.Semaphore(size)  # first come, first served: in redis-py's blocking pool some callers starve
        async with redis.asyncio.Redis.from_pool(pool) as client:

            async def pay(spend: Spend) -> None:
                id_ms = uuid7_ms(spend.gift_id)
                _, names = keys.spend_keys(spend.viewer, spend.creator, spend.gift_id, id_ms, spend.combo)
                shared = (limits.GIFT_ID_LIFE_MS, limits.GIFT_ID_AHEAD_MS)
                args = (1, id_ms, spend.fingerprint, spend.coins, spend.diamonds, spend.count, 0)
                call: tuple[Arg, ...] = (*names, *shared, limits.COMBO_COUNT_S, 0, *args, spend.entry)
                async with turn:
                    answer = await client.evalsha(SPEND.sha, len(names), *call)
                assert answer[0][0] == b"ok", answer

            yield pay

    return await _best(REDIS_POOLS, opened, Givers(in_flight), seconds, store_pid)


async def _until_up(client: "redis.asyncio.Redis") -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                await client.ping()
                return
            await asyncio.sleep(limits.STORE_RETRY_S)


# --- PostgreSQL ------------------------------------------------------------------------------------------------------
async def postgresql(conninfo: str, seconds: float, in_flight: int, server_pid: int) -> dict[str, Any]:
    """One transaction per gift: receipt, debit with a check of the balance, ledger entry, credit."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute(SCHEMA)
        row = "INSERT INTO wallets SELECT 'v' || n, %s FROM generate_series(0, %s) n"
        await connection.execute(row, (limits.TOPUP_COINS_MAX, VIEWERS - 1))
        await connection.execute("ANALYZE")

    @contextlib.asynccontextmanager
    async def opened(size: int) -> AsyncIterator[Pay]:
        idle: list[psycopg.AsyncConnection[Any]] = []
        turn = asyncio.Semaphore(size)
        async with contextlib.AsyncExitStack() as open_:
            for _ in range(size):
                connecting = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=0)
                idle.append(await open_.enter_async_context(connecting))

            async def pay(spend: Spend) -> None:
                async with turn:
                    connection = idle.pop()
                    async with connection.transaction():
                        await _pay(connection, spend)
                    idle.append(connection)

            yield pay

    return await _best(POSTGRESQL_POOLS, opened, Givers(in_flight), seconds, server_pid)


async def _pay(connection: "psycopg.AsyncConnection[Any]", spend: Spend) -> None:
    """Update the creator's row last: many transactions want it, and this way each locks it for the shortest time."""
    receipt = "INSERT INTO receipts VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
    made = await connection.execute(receipt, (spend.viewer, spend.gift_id, spend.fingerprint))
    assert made.rowcount == 1, "paid before"
    debit = "UPDATE wallets SET coins = coins - %s WHERE viewer = %s AND coins >= %s RETURNING coins"
    held = await (await connection.execute(debit, (spend.coins, spend.viewer, spend.coins))).fetchone()
    assert held is not None, "not enough coins"
    await connection.execute(
        "INSERT INTO ledger (viewer, creator, coins, diamonds, balance, entry) VALUES (%s, %s, %s, %s, %s, %s)",
        (spend.viewer, spend.creator, spend.coins, spend.diamonds, held[0], spend.entry.decode()),
    )
    await connection.execute(
        "INSERT INTO credits VALUES (%s, %s) ON CONFLICT (creator)"
        " DO UPDATE SET diamonds = credits.diamonds + excluded.diamonds",
        (spend.creator, spend.diamonds),
    )
