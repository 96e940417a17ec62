"""Makes the wallet that the settings describe: on one store or on a cluster, with its guard and its fence."""

import functools
from collections.abc import Callable, Collection, Sequence

from server.journal.fence import Openings
from server.journal.opening import SCRIPTS as OPENING_SCRIPTS
from server.journal.opening import Opening
from server.money.cluster import ClusterWallet
from server.money.fence import Fence
from server.money.results import Change, Money
from server.money.store import WalletStore
from server.money.wallet import SCRIPTS as WALLET_SCRIPTS
from server.money.wallet import Wallet
from server.settings import Settings
from server.store.topology import SCHEME


def make_wallet(
    settings: Settings,
    opening: Opening,
    on_change: Callable[[Sequence[Change]], None],
    for_rooms: Callable[[], Collection[str]] = tuple,
) -> Money:
    """The wallet, on one store or on a cluster. `for_rooms` has the run ids of the room store, which is another one."""
    make = functools.partial(make_wallet_store, settings, opening, for_rooms=for_rooms)
    if settings.wallet_address.startswith(SCHEME):
        return ClusterWallet(settings.wallet_address, make, on_change)
    return Wallet(make(settings.wallet_address), on_change)


def make_wallet_store(
    settings: Settings, opening: Opening, url: str, for_rooms: Callable[[], Collection[str]] = tuple
) -> WalletStore:
    """One wallet store, or one primary of a cluster."""
    return WalletStore(
        url,
        scripts=WALLET_SCRIPTS,
        opening=opening,
        fence=make_fence(settings, opening),
        opening_scripts=OPENING_SCRIPTS,
        durability=settings.durability,
        guarded=settings.guard == "strict",
        log_entries_max=settings.log_entries_max,
        site_limit=settings.daily_spend_max,
        folder=settings.data if settings.wallet_url is None else None,
        for_rooms=for_rooms,
    )


def make_fence(settings: Settings, opening: Opening) -> Fence:
    """The fence of a store that another may replace."""
    likely = settings.durability == "replicated" or settings.wallet_address.startswith(SCHEME)
    openings = Openings(opening.engine, opening.clock)
    return Fence(openings, opening.clock, mode=settings.fence, likely=likely, grace_s=settings.fence_grace_s)
