"""Checks the settings before anything starts, so that a bad one gives one sentence and not a crashing child."""

from pathlib import Path

from server import catalogue, levels, packages, rates, requirements
from server.settings import Settings, Unusable
from server.store.client import parse_address
from server.store.topology import SCHEME, seeds


def check(settings: Settings) -> None:
    """Check everything. Raises Unusable."""
    if settings.unnamed and not settings.development:
        what = "production mode needs its address, or `embedded` for a store on this machine"
        raise Unusable(f"{settings.unnamed[0]} is not set; {what}.")
    for name, url in (("LIVEROOM_WALLET_URL", settings.wallet_url), ("LIVEROOM_ROOM_URL", settings.room_url)):
        if url is not None:
            _check_store(name, url)
    if _places(settings.wallet_address) & _places(settings.room_address):
        raise Unusable(
            "LIVEROOM_WALLET_URL and LIVEROOM_ROOM_URL name the same store; each needs its own, also with another "
            "database number."
        )
    if settings.journal_url is not None:
        _check_journal(settings.journal_url)
    catalogue.load(settings.catalogue)
    levels.load(settings.levels)
    rates.load(settings.rates)
    packages.load(settings.packages)
    requirements.load(settings.requirements)
    if settings.providers is not None:
        _check_providers(settings.providers)


def _check_store(name: str, url: str) -> None:
    try:
        _places(url)
    except ValueError:
        raise Unusable(f"{name} is not a store address like redis://host:6379/0 or unix:///path.") from None


def _places(url: str) -> set[tuple[str | None, str, int]]:
    """The servers that an address names. Raises ValueError."""
    named = [parse_address(each) for each in (seeds(url) if url.startswith(SCHEME) else [url])]
    return {(each.path, each.host, each.port) for each in named}


def _check_providers(path: Path) -> None:
    from server.providers import config  # noqa: PLC0415  # slow to import, and the supervisor pays nobody

    config.load(path, lambda: 0)


def _check_journal(url: str) -> None:
    """Check an address, and that its folder exists: SQLite creates the file only. Raises Unusable."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415  # slow to import, and the supervisor needs no SQL

    from server.journal import database  # noqa: PLC0415

    database.connect(url).dispose()
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).parent.is_dir():
        raise Unusable(f"LIVEROOM_JOURNAL_URL names a folder that does not exist: {Path(parsed.database).parent}.")
