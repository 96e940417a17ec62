"""The service key: from the environment or a file. A command line is for everybody on the machine to read."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

NAME = "LIVEROOM_SERVICE_KEY"
FILE = f"{NAME}_FILE"
DEV_KEY = "dev-service-key"  # of a server in development, where anybody may know it
SECRETS = ("token", "key", "secret", "password")  # what the query of an address may not hold


def service_key(environ: Mapping[str, str]) -> str:
    """The key for a server of yours. Raises ValueError, with a sentence that does not show it."""
    key, file = environ.get(NAME), environ.get(FILE)
    if key and file:
        raise ValueError(f"{NAME} and {FILE} are both set; set one of them")
    if file:
        try:
            key = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"{FILE} is {file!r}, which cannot be read") from None
        if not key:
            raise ValueError(f"{FILE} is {file!r}, which is empty")
    return key or DEV_KEY


def refuse_keys(argv: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """End with status 2 if an option holds a key (`--service-key`, and its short forms). Nothing repeats the key."""
    if any(each.startswith("--serv") for each in argv):
        parser.error(f"a command line is no place for a key: put it into {NAME}, or its file's path into {FILE}")


def address(url: str) -> str:
    """An argument that is a server's address. Raises argparse.ArgumentTypeError if it has a password or a token."""
    parts = urlsplit(url)
    if "@" in parts.netloc or any(name in SECRETS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise argparse.ArgumentTypeError(f"an address has no key in it; the key belongs into {NAME} or {FILE}")
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise argparse.ArgumentTypeError("an address begins with http:// or https:// and a host")
    return url
