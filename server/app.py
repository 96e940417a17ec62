"""The composition root: builds a node, starts it and stops it."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

import server.features as all_features
from protocol.refusals import Refused
from server import background, levels, limits, metrics, rates, requirements
from server.catalogue import Catalogue
from server.clock import Clock
from server.edge import door
from server.edge.admission import Places
from server.edge.balances import Balances
from server.edge.proxies import Forwarded, Proxies
from server.edge.session import Sessions
from server.entries import CHARGEBACK, FREEZE, LIMIT, REFUND, TOPUP, UNFREEZE, Kind
from server.http import (
    asyncapi,
    audit,
    creators,
    docs,
    events,
    gifts,
    health,
    pages,
    payouts,
    privacy,
    reversals,
    rooms,
    tokens,
    wallets,
)
from server.http import packages as package_pages
from server.http import rates as rate_pages
from server.http.api import Gate, install
from server.http.own import Own
from server.http.whereabouts import routes as where_routes
from server.journal import database
from server.journal.earnings import Earnings
from server.journal.opening import Opening
from server.journal.rates import Registration
from server.journal.watch import AuditWatch
from server.money.making import make_wallet
from server.orders.chargebacks import Chargebacks
from server.orders.freezes import Freezes
from server.orders.own_limits import OwnLimits
from server.orders.recovery import Recovery, Repeat
from server.orders.refunds import Refunds
from server.orders.topups import Purchases, TopUp
from server.packages import Packages
from server.payouts.making import Payouts
from server.rooms.admin import SCRIPTS as ADMIN_SCRIPTS
from server.rooms.admin import Host, PutRoom, RoomsAdmin
from server.rooms.catalogues import Catalogues
from server.rooms.due import DueWork
from server.rooms.fanout import Fanout
from server.rooms.here import Rooms
from server.rooms.history import open_history
from server.rooms.pace import Pace
from server.rooms.people import SCRIPTS as PEOPLE_SCRIPTS
from server.rooms.privacy import SCRIPTS as PRIVACY_SCRIPTS
from server.rooms.revocations import Revocations
from server.rooms.room import Services
from server.rooms.staff import SCRIPTS as STAFF_SCRIPTS
from server.rooms.staff import Untold
from server.rooms.users import Users
from server.settings import Settings
from server.store import keys
from server.store.client import StoreError
from server.store.scripts import Script
from server.tokens import Tokens

log = structlog.get_logger()

DEMO = "demo"
DEMO_COINS = 10_000


def feature_scripts() -> list[Script]:
    """Every feature's scripts: loaded when the room store connects."""
    modules = [module for module in vars(all_features).values() if hasattr(module, "SCRIPTS")]
    return [script for module in modules for script in module.SCRIPTS]


def feature_routes(services: Services) -> list[Route]:
    """The HTTP routes of features: `routes(services)` of each module that defines it."""
    modules = [module for name, module in sorted(vars(all_features).items()) if hasattr(module, "routes")]
    return [route for module in modules for route in module.routes(services)]


class Node:
    """Serves sockets and HTTP on top of the stores. It has no state besides its sockets."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        node_id = _node_id(settings)
        self.clock = Clock(time.time)  # noqa: TID251  # the only place that reads the clock
        self.catalogue = Catalogue(settings.catalogue)
        self.rates = rates.RateCards(rates.load(settings.rates))
        self.packages = Packages(settings.packages)
        self.tokens = Tokens(settings.token_secret)
        in_rooms = [*ADMIN_SCRIPTS, *PEOPLE_SCRIPTS, *STAFF_SCRIPTS, *PRIVACY_SCRIPTS, *feature_scripts()]
        self.history = open_history(settings.room_address, in_rooms, self.clock)
        self.room_store = self.history.store
        self.balances = Balances(node_id, self.room_store)
        self.engine = database.connect(settings.journal_address)
        self.opening = Opening(self.engine, self.clock)
        self.rate_card = Registration(self.engine, self.rates.card, self.clock)
        self.wallet = make_wallet(settings, self.opening, self.balances.changed, self._room_run_ids)
        self.fanout = Fanout(settings.room_address, self.history, self.balances.on_news)
        self.revocations = Revocations(self.engine, self.room_store, self.clock)
        self.fanout.hear(keys.REVOKED, self.revocations.on_news)
        needs = requirements.load(settings.requirements)
        self.users = Users(self.engine, self.room_store, self.clock, needs)
        self.payouts = Payouts(settings, self.engine, self.clock, self.rates, needs)
        self.fanout.hear(keys.USERS_CHANGED, self.users.on_news)
        self.pace = Pace(settings.latency)
        self.services = services = Services(
            clock=self.clock,
            wallet=self.wallet,
            history=self.history,
            fanout=self.fanout,
            pace=self.pace,
            tokens=self.tokens,
            revocations=self.revocations,
            catalogue=self.catalogue,
            levels=levels.load(settings.levels),
            rates=self.rates,
            users=self.users,
            eligibility=self.users.may_go_live,
            engine=self.engine,
            catalogues=Catalogues(self.engine),
            node_id=node_id,
            media_origins=settings.media_origins,
        )
        self.rooms = Rooms(services)
        self.untold = Untold(services)
        self.due_work = DueWork(services)
        places = Places(settings.connections_per_address, settings.connections_per_user)
        self.sessions = Sessions(services=services, rooms=self.rooms, balances=self.balances, places=places)
        self.rooms_admin = RoomsAdmin(self.history, self.clock, services.eligibility, self.engine)
        self._make_orders()
        self.earnings = Earnings(self.engine, self.clock)
        self.audit_watch = AuditWatch(self.engine, self.clock)
        self._leaving = asyncio.Event()
        self._tasks = background.Tasks("node-start")
        self.registry = metrics.registry(self._readings(), self.pace.lags, background.FAILURES)

    def _make_orders(self) -> None:
        """Make what carries out the host platform's orders, and repeats those that were left behind."""
        self.purchases = Purchases(self.engine, self.wallet, self.clock)
        self.refunds = Refunds(self.engine, self.wallet, self.clock)
        self.freezes = Freezes(self.engine, self.wallet, self.clock)
        self.chargebacks = Chargebacks(self.engine, self.wallet, self.clock, self.refunds, self.freezes)
        self.own_limits = OwnLimits(self.engine, self.wallet, self.clock)
        repeats: dict[Kind, Repeat] = {
            TOPUP: self.purchases.repeat,
            REFUND: self.refunds.repeat,
            CHARGEBACK: self.chargebacks.repeat,
            FREEZE: self.freezes.repeat,
            UNFREEZE: self.freezes.repeat,
            LIMIT: self.own_limits.repeat,
        }
        self.recovery = Recovery(self.engine, self.wallet, self.clock, repeats)

    def _room_run_ids(self) -> list[str]:
        return [store.identity.partition(":")[0] for store in self.room_store.primaries().values() if store.up]

    def _readings(self) -> metrics.Readings:
        read, replays = metrics.Readings(), self.sessions.joining.replays
        read.gauge("connections", "Open sockets.", lambda: len(self.sessions.connections))
        read.gauge("rooms", "Rooms that this node shows.", lambda: len(self.rooms.here()))
        read.gauge("wallet_queue", "Gifts that wait for the wallet store.", lambda: self.wallet.queued)
        read.gauge("wallet_up", "1 while gifts are taken.", lambda: self.wallet.usable)
        read.gauge("wallet_partitions_closed", "Partitions that cannot be opened.", lambda: len(self.wallet.closed))
        read.gauge("wallet_partitions_refusing", "Partitions that take no gifts.", lambda: len(self.wallet.refusing))
        read.gauge("wallet_log_entries", "Ledger entries in the wallet store.", lambda: self.wallet.log_entries)
        read.counter("joins", "Sockets that were welcomed.", lambda: self.sessions.joining.joins)
        read.gauge("replays_bytes", "Missed events that sockets have not taken.", lambda: replays.held)
        read.counter("replayed_bytes", "Bytes of missed events that were sent.", lambda: replays.sent)
        read.counter("replays_left_out", "Returns with a gap: too much was on its way.", lambda: replays.left_out)
        read.counter("turned_away", "Upgrades answered with 503: crowded.", lambda: self.sessions.crowd.turned_away)
        read.counter("commands", "Commands that sockets sent.", lambda: self.sessions.commands.taken)
        read.counter("floods", "Sockets that were closed for a flood.", lambda: self.sessions.commands.floods)
        read.counter("reads_waited", "Reads of sockets left to a later turn.", lambda: self.sessions.turns.waits)
        read.counter("gifts", "Gifts that this node took.", lambda: self.wallet.gifts)
        read.counter(
            "gifts_of_another_broadcast",
            "Gifts that were not shown because the next broadcast had begun.",
            lambda: self.history.other_broadcast,
        )
        read.gauge(
            "catalogue_version",
            "The gift catalogue's version as a number: the same on nodes that agree.",
            lambda: int(self.catalogue.version, 16),
        )
        read.counter("wallet_batches", "Calls that those gifts shared.", lambda: self.wallet.batches)
        read.counter("events_received", "Events from the bus.", lambda: self.fanout.received)
        read.counter("events_filled", "Events that the bus lost, from the history.", lambda: self.fanout.filled)
        read.counter("socket_writes", "Writes of rooms' frames to sockets.", lambda: self.pace.writes)
        read.gauge("tick_pressure", "By how much the lag lengthens every tick.", lambda: self.pace.pressure)
        read.counter("orders_recovered", "Pending orders that this node ended.", lambda: self.recovery.recovered)
        self.audit_watch.register(read)
        return read

    def parts(self) -> dict[str, bool]:
        """The stores and the bus, and whether each is up."""
        return {"room_store": self.room_store.up, "bus": self.fanout.up, "wallet_store": self.wallet.up}

    def degraded(self) -> dict[str, str]:
        """What is worse than it should be, and how. Anybody may read it, so it names nobody."""
        found = self.audit_watch.degraded()
        why = "" if self.wallet.why is None else f": {self.wallet.why}"
        if not self.wallet.usable:
            found["wallet"] = f"gifts are refused{why}"
        elif refusing := self.wallet.refusing:
            found["wallet"] = f"gifts are refused in {len(refusing)} of {limits.WALLET_PARTITIONS} partitions{why}"
        if self.wallet.closed:
            found["closed"] = f"partitions {', '.join(map(str, sorted(self.wallet.closed)))}: the log says why"
        if self.rate_card.refused:
            found["rates"] = self.rate_card.refused
        return found

    @property
    def refused(self) -> str | None:
        """Why this node cannot serve any room until a person changes something."""
        why = self.room_store.refusal
        if why is not None:
            return f"The room store (LIVEROOM_ROOM_URL) cannot be used: {why}."
        return self.rate_card.refused

    def leave(self) -> None:
        """Wait for nothing while starting: the process was asked to end."""
        self._leaving.set()

    async def start(self) -> None:
        """Connect and start. A store or a journal that is away holds this up for STORES_START_S at most.

        Without the wallet store or the journal a node refuses gifts, as when they fail later, and the chat goes on.
        Without the room store it is not ready, and becomes whole when that store comes.
        """
        await self.room_store.start()
        await self.fanout.start()
        await self.wallet.start()
        await self.rate_card.start()
        await self.users.start()
        await self._until_up()
        await self.pace.start()
        await self.rooms.start()
        await self.sessions.start()
        await self.audit_watch.start()
        await self.recovery.start()
        await self.untold.start()
        self.services.catalogues.start()
        await self.due_work.start()
        await self.revocations.start()
        await self.catalogue.start()
        if self.settings.development:
            if self.room_store.up:  # pages look for the room at once, also while gifts are refused
                await self._wait_for({self._tasks.share(self._demo_room())})
            demo = self._tasks.spawn(self._make_demo())
            if self.room_store.up and self.wallet.usable:
                await self._wait_for({demo})

    async def _until_up(self) -> None:
        rooms = self._tasks.share(self.room_store.wait_up(limits.STORES_START_S))
        money = self._tasks.share(self.wallet.wait_up(limits.STORES_START_S))
        revoked = self._tasks.share(self._read_revocations())
        lists = self._tasks.share(self.services.catalogues.look_again())
        card = self._tasks.share(self.rate_card.ended.wait())
        await self._wait_for({rooms, money, revoked, lists, card})
        lacks = {"rooms": rooms, "gifts": money, "revocations": revoked}
        if not self._leaving.is_set() and self.refused is None:
            for part, task in lacks.items():
                if (why := background.trouble(task)) is not None:
                    log.error(f"node_starts_without_{part}", why=why)
        await self._tasks.end()

    async def _read_revocations(self) -> None:
        """Read them as soon as SQL answers: at a first start its schema is just being made."""
        while True:
            with contextlib.suppress(SQLAlchemyError):
                return await self.revocations.read()
            await asyncio.sleep(limits.SQL_AGAIN_S)

    async def _wait_for(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Wait for these tasks, unless the process is asked to end or the room store refuses us."""
        leaving = self._tasks.share(self._leaving.wait())
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limits.STORES_START_S
        while tasks and not leaving.done() and self.refused is None and loop.time() < until_s:
            await asyncio.wait({*tasks, leaving}, timeout=limits.STORE_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
            tasks = [task for task in tasks if not task.done()]
        await background.end(leaving)

    async def stop(self) -> None:
        await self._tasks.end()
        await self.rate_card.stop()
        await self.users.stop()
        await self.services.catalogues.stop()
        await self.due_work.stop()
        await self.revocations.stop()
        await self.catalogue.stop()
        await self.untold.stop()
        await self.recovery.stop()
        await self.audit_watch.stop()
        await self.sessions.stop()
        await self.rooms.stop()
        await self.pace.stop()
        await self.wallet.stop()
        await self.fanout.stop()
        await self.room_store.stop()
        self.engine.dispose()

    async def _make_demo(self) -> None:
        """In development, make a live room and two people with coins, as soon as the stores are there."""
        while not await self._demo_made():  # noqa: ASYNC110  # stores send no event
            await asyncio.sleep(limits.DEMO_AGAIN_S)

    async def _demo_made(self) -> bool:
        """Make what is missing of the demo. Returns whether it is whole. A second call changes nothing."""
        try:
            await self._demo_room()
            for user_id in ("alice", "bob"):
                await self.purchases.top_up(user_id, TopUp(f"demo-{user_id}", DEMO_COINS, "development"))
        except (Refused, StoreError, SQLAlchemyError):  # the log says why, and chat goes on
            return False
        return True

    async def _demo_room(self) -> None:
        """Make the demo's room, unless it is there, and its first broadcast. Raises StoreError, SQLAlchemyError."""
        if DEMO not in await self.history.room_ids():
            host = Host("creator", "Creator")
            await self.rooms_admin.put(DEMO, PutRoom(host, "Welcome to Liveroom"))
        if (await self.history.meta(DEMO))["status"] == "offline":  # without SQL nobody may begin a broadcast
            await self.rooms_admin.turn(DEMO, "start")


def _node_id(settings: Settings) -> str:
    """A name that no other node has."""
    name = settings.node_id or secrets.token_hex(6)
    return name if settings.worker is None else f"{name}-{settings.worker}"


def create_app(node: Node) -> Starlette:
    """The ASGI application of a node."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
        await node.start()
        try:
            yield {door.STATE: door.Door(node.sessions, proxies)}
        finally:
            await node.stop()

    own = Own(node.tokens, node.revocations, node.clock)
    development, proxies = node.settings.development, Proxies(node.settings.trusted_proxies)
    app = Starlette(
        routes=[
            WebSocketRoute("/v1/rooms/{room_id}/ws", node.sessions.endpoint),
            WebSocketRoute("/{path:path}", node.sessions.unknown),
            *health.routes(node.parts, node.degraded, lambda: node.sessions.draining, node.registry),
            *tokens.routes(node.tokens, node.clock, node.revocations, development),
            *feature_routes(node.services),  # before the routes of rooms, which match any last part
            *events.routes(node.history),
            *rooms.routes(node.rooms_admin, node.services),
            *privacy.routes(node.services, node.rooms_admin),
            *gifts.routes(node.catalogue),
            *rate_pages.routes(node.rates, node.engine),
            *wallets.routes(node.wallet, node.purchases, node.own_limits, node.clock, packages=node.packages, own=own),
            *package_pages.routes(node.packages),
            *reversals.routes(node.refunds, node.chargebacks, node.freezes, node.wallet),
            *creators.routes(node.engine, node.clock, own),
            *where_routes(node.engine, node.clock, node.wallet, node.room_store),
            *payouts.routes(node.payouts, node.tokens, node.revocations),
            *audit.routes(node.engine, node.clock),
            *docs.routes(development),
            *asyncapi.routes(),
            *pages.routes(node.settings),
        ],
        middleware=[Middleware(Forwarded, proxies=proxies)],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would name http, also behind a proxy with TLS
    install(app, Gate(node.settings.service_key, node.room_store, development, node.settings.origins))
    return app
