"""Asks what the wallet store lets the journal process do, and says in one sentence what it lacks.

A journal process without a right would go on as far as it can: for example, it would never trim the log. So it asks for
every command that it needs, while it runs. A user who may not ask (`acl|dryrun`) is believed to have all rights.
"""

import asyncio

import structlog

from server import limits
from server.journal import compare, moneytime
from server.journal.findings import Report
from server.store import guard, keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore

log = structlog.get_logger()

COMMANDS = [
    *guard.commands_of([*compare.SCRIPTS, *moneytime.SCRIPTS], guard.SENT_BY_JOURNAL),
    ("GET", keys.AUDIT_NEWEST),
    ("SET", keys.AUDIT_NEWEST, "v"),
]
LACKS = "the wallet store refuses the journal process a right"  # so sentences of this module begin


class Rights:
    """Looks at the rights of the journal's user. `lacks` is a sentence while one is missing, else None."""

    def __init__(self, wallet: Store | ClusterStore) -> None:
        self._wallet = wallet
        self.lacks: str | None = None

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.debug("rights_later", error=str(error)[: limits.LOGGED_CHARS_MAX])
            await asyncio.sleep(limits.RIGHTS_LOOK_S)

    async def look(self) -> None:
        """Look at every primary that answers, and say once what is missing, and when it is there. Raises StoreError."""
        stores = [store for store in self._wallet.primaries().values() if store.up]
        found = [why for store in stores for why in await guard.rights_missing(store, COMMANDS)]
        said = next((f"{LACKS}: {why}" for why in found if not why.startswith(guard.UNTOLD)), None)
        if said is not None and said != self.lacks:
            log.error("journal_lacks_right", why=said)
        if said is None and self.lacks is not None:
            log.warning("journal_has_all_rights")
        self.lacks = said


def shown(report: Report) -> str | None:
    """What an audit says about a missing right, for everybody: without the user's name. None if it says nothing."""
    said = (text for text in (*report.doubts, report.failed) if text.startswith(LACKS))
    return next((text.partition(" (")[0] for text in said), None)
