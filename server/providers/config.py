"""The providers of a site, from a TOML file: one table each, with its `kind`: `sepa`, `csv` or `http`.

Secrets stand in files of their own, whose paths the table names.
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from server.providers import bounds
from server.providers.files import FileProvider
from server.providers.http import HttpProvider
from server.providers.iban import is_bic, is_iban
from server.providers.interface import Provider
from server.providers.sepa import Debtor
from server.settings import Unusable

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
Text = Annotated[str, Meta(min_length=1)]


class Sepa(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sepa"):
    """Files of SEPA credit transfers, and whose account they leave."""

    folder: Text
    name: Text
    iban: Text
    bic: str = ""


class Csv(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="csv"):
    """Files of CSV."""

    folder: Text


class Http(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="http"):
    """A service. Several webhook secrets count while one is rotated."""

    url: Annotated[str, Meta(pattern=r"^https?://")]
    api_key_file: Text
    webhook_secret_files: list[str] = []  # msgspec copies it


def load(path: Path, now_ms: Callable[[], int]) -> dict[str, Provider]:
    """Make the providers that a file names. Raises Unusable."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"LIVEROOM_PROVIDERS is {str(path)!r}, which cannot be read: {error}.") from None
    return {name: _made(path, name, table, now_ms) for name, table in tables.items()}


def _made(path: Path, name: str, table: Any, now_ms: Callable[[], int]) -> Provider:
    where = f"{path}: provider {name!r}"
    if not _NAME.fullmatch(name) or len(name) > bounds.NAME_CHARS_MAX:
        raise Unusable(f"{where}: a name has up to {bounds.NAME_CHARS_MAX} small letters and digits.")
    try:
        config = msgspec.convert(table, Sepa | Csv | Http)
        return _provider(name, path.parent, config, now_ms)
    except (msgspec.ValidationError, OSError, UnicodeDecodeError, ValueError) as error:
        raise Unusable(f"{where}: {error}.") from None


def _provider(name: str, beside: Path, config: Any, now_ms: Callable[[], int]) -> Provider:
    if isinstance(config, Http):
        secrets = [_secret(beside / each) for each in config.webhook_secret_files]
        return HttpProvider(name, config.url, _secret(beside / config.api_key_file), secrets)
    if isinstance(config, Csv):
        return FileProvider(name, beside / config.folder, now_ms)
    if not is_iban(config.iban) or (config.bic and not is_bic(config.bic)):
        raise ValueError("the IBAN or the BIC is wrong")
    debtor = Debtor(name=config.name, iban=config.iban, bic=config.bic)
    return FileProvider(name, beside / config.folder, now_ms, debtor)


def _secret(path: Path) -> str:
    text = path.read_text().strip()
    if not text.isascii() or not text.isprintable() or not text:
        raise ValueError(f"{path} has no secret")
    return text
