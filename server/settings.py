"""The environment, read and checked only here. A wrong value is reported in one sentence, with exit code 2."""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from server import limits

DEV_SECRET = "development-secret-never-for-production"  # noqa: S105
DEV_SERVICE_KEY = "dev-service-key"
_HOST = r"[A-Za-z0-9.-]+"
_ORIGIN = re.compile(rf"https?://{_HOST}(:\d{{1,5}})?")
_MEDIA_ORIGIN = re.compile(rf"https://{_HOST}(:\d{{1,5}})?")
_ANCESTOR = re.compile(rf"https?://(\*\.)?{_HOST}(:(\d{{1,5}}|\*))?")
LOCAL_PROXIES = "127.0.0.0/8, ::1"
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
FOUR_EYES_DIAMONDS = 500_000  # payouts from so many on are approved by two people
EMBEDDED = "embedded"  # in place of a store's address: the store that `run` starts, or SQLite in the data folder

# What Kubernetes sets for a service called `liveroom` or `liveroom-...` (Kubernetes, "Accessing the Service").
_OF_KUBERNETES = re.compile(
    r"LIVEROOM(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_[A-Z]+(_[A-Z]+)?)"
)
_OF_DOCKER = re.compile(r"(tcp|udp|sctp)://")  # the value of LIVEROOM_..._PORT


# The variables of the three stores, and their fields in Settings.
STORES = {
    "LIVEROOM_WALLET_URL": "wallet_url",
    "LIVEROOM_ROOM_URL": "room_url",
    "LIVEROOM_JOURNAL_URL": "journal_url",
}


class Unusable(Exception):
    """The program cannot start. The text is the sentence to print."""


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that a person can configure."""

    mode: Literal["development", "production"]
    host: str
    port: int
    metrics_port: int  # of the journal process; 0 means none
    data: Path
    token_secret: str
    service_key: str
    wallet_url: str | None
    room_url: str | None
    journal_url: str | None
    unnamed: tuple[str, ...]  # of the variables of the three stores, those that are not set
    unknown: tuple[str, ...]  # what is wrong with variables that no setting has, one sentence each
    durability: Literal["local", "replicated"]
    fence: Literal["auto", "on", "off"]
    fence_grace_s: int
    guard: Literal["strict", "relaxed"]
    latency: Literal["balanced", "low", "cheap"]
    log_entries_max: int
    daily_spend_max: int
    audit_every_s: int
    trusted_proxies: tuple[Network, ...]  # whose X-Forwarded-For is believed
    origins: tuple[str, ...]  # whose pages may read what is open; `*` is everybody's
    media_origins: tuple[str, ...]  # from where overlays may load a streamer's media
    frame_ancestors: str  # who may frame our pages, in the words of a content security policy
    connections_per_address: int
    connections_per_user: int
    audit_key: str | None  # None in production: the audit remembers nothing between starts
    anchors: Path
    catalogue: Path | None
    levels: Path | None
    rates: Path | None
    requirements: Path | None
    packages: Path | None
    providers: Path | None
    payout_review: int  # diamonds: smaller payouts that no rule flags are approved by the rules
    payout_four_eyes: int  # diamonds: from here on two people approve
    node_id: str | None
    workers: int
    worker: int | None  # the number of this process among the workers
    log_level: str

    @property
    def development(self) -> bool:
        return self.mode == "development"

    @property
    def sockets(self) -> Path:
        """The folder of the embedded stores' sockets: the data folder, or a short path if that is too long."""
        folder = self.data.resolve()
        if len(os.fsencode(folder / "wallet.sock")) <= limits.UNIX_PATH_BYTES_MAX:
            return folder
        import hashlib  # noqa: PLC0415  # only a deep data folder needs it

        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        return Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")) / f"liveroom-{os.getuid()}-{name}"  # noqa: S108

    @property
    def own_port(self) -> int | None:
        """A worker also listens on its own port, for its metrics and `/readyz`."""
        return None if self.worker is None else self.port + 1 + self.worker

    @property
    def wallet_address(self) -> str:
        return self.wallet_url or _unix(self.sockets / "wallet.sock")

    @property
    def room_address(self) -> str:
        return self.room_url or _unix(self.sockets / "room.sock")

    @property
    def journal_address(self) -> str:
        return self.journal_url or _sqlite(self.data.resolve() / "journal.sqlite3")


class _Environment:
    """The variables. It remembers which names were asked for: those are the settings, and any other is a mistake."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {k: v for k, v in environ.items() if not (k.endswith("_PORT") and _OF_DOCKER.match(v))}
        self._known: set[str] = set()

    def get(self, name: str, default: str = "") -> str:
        self._known.add(name)
        return self._environ.get(name, default)

    def secret(self, name: str) -> str:
        """A value that may also stand in a file, whose path is in `<name>_FILE`. Raises Unusable."""
        value, file = self.get(name), self.get(f"{name}_FILE")
        if not file:
            return value
        if value:
            raise Unusable(f"{name} and {name}_FILE are both set; set one of them.")
        try:
            value = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise Unusable(f"{name}_FILE is {file!r}, which cannot be read.") from None
        if not value:
            raise Unusable(f"{name}_FILE is {file!r}, which is empty.")
        return value

    def unknown(self) -> tuple[str, ...]:
        """A sentence for each variable that no setting has."""
        ours = (name for name in self._environ if name.startswith("LIVEROOM_") and not _OF_KUBERNETES.fullmatch(name))
        return tuple(self._mistake(name) for name in sorted(ours) if name not in self._known)

    def _mistake(self, name: str) -> str:
        near = difflib.get_close_matches(name, sorted(self._known), 1)
        return f"{name} is not a setting{f'; {near[0]} is' if near else ''}."


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises Unusable."""
    env = _Environment(os.environ if environ is None else environ)
    mode = _choice(env, "LIVEROOM_MODE", "development", "production")
    settings = _load(env, mode)
    unknown = env.unknown()
    if unknown and mode == "production":
        raise Unusable(unknown[0])
    if mode == "production":
        _check_secret("LIVEROOM_TOKEN_SECRET", settings.token_secret, DEV_SECRET)
        _check_secret("LIVEROOM_SERVICE_KEY", settings.service_key, DEV_SERVICE_KEY)
        if settings.token_secret == settings.service_key:
            raise Unusable("LIVEROOM_TOKEN_SECRET and LIVEROOM_SERVICE_KEY are the same; each needs its own value.")
        if settings.audit_key is not None:
            _check_secret("LIVEROOM_AUDIT_KEY", settings.audit_key, DEV_SECRET)
    return msgspec.structs.replace(settings, unknown=unknown)


def _load(env: _Environment, mode: str) -> Settings:
    per_address, per_user = (limits.ADDRESS_CONNECTIONS, limits.USER_CONNECTIONS) if mode == "production" else (0, 0)
    secret, key = env.secret("LIVEROOM_TOKEN_SECRET"), env.secret("LIVEROOM_SERVICE_KEY")
    if mode == "development":
        secret, key = secret or DEV_SECRET, key or DEV_SERVICE_KEY
    stores = {name: env.secret(name) for name in STORES}
    data = Path(env.get("LIVEROOM_DATA", "data"))
    return Settings(
        mode=mode,  # type: ignore[arg-type]
        host=env.get("LIVEROOM_HOST", "127.0.0.1"),
        port=_port(env.get("LIVEROOM_PORT", "8000")),
        metrics_port=_number(env, "LIVEROOM_METRICS_PORT", limits.METRICS_PORT, least=0, most=2**16 - 1),
        data=data,
        token_secret=secret,
        service_key=key,
        **{field: None if stores[name] in ("", EMBEDDED) else stores[name] for name, field in STORES.items()},
        unnamed=tuple(name for name, url in stores.items() if not url),
        unknown=(),
        durability=_choice(env, "LIVEROOM_DURABILITY", "local", "replicated"),  # type: ignore[arg-type]
        fence=_choice(env, "LIVEROOM_FENCE", "auto", "on", "off"),  # type: ignore[arg-type]
        fence_grace_s=_number(env, "LIVEROOM_FENCE_GRACE_S", limits.FENCE_GRACE_S),
        guard=_choice(env, "LIVEROOM_WALLET_GUARD", "strict", "relaxed"),  # type: ignore[arg-type]
        latency=_choice(env, "LIVEROOM_LATENCY", "balanced", "low", "cheap"),  # type: ignore[arg-type]
        log_entries_max=_number(env, "LIVEROOM_LOG_ENTRIES_MAX", limits.LOG_ENTRIES_MAX),
        daily_spend_max=_number(env, "LIVEROOM_DAILY_SPEND_MAX", 0, least=0),
        audit_every_s=_number(env, "LIVEROOM_AUDIT_EVERY_S", int(limits.AUDIT_EVERY_S)),
        trusted_proxies=_networks(env, "LIVEROOM_TRUSTED_PROXIES", LOCAL_PROXIES),
        origins=_sites(env, "LIVEROOM_ORIGINS", "*", _ORIGIN, {"*": "*"}),
        media_origins=_sites(env, "LIVEROOM_MEDIA_ORIGINS", "none", _MEDIA_ORIGIN, {}),
        frame_ancestors=" ".join(_ancestors(env, "LIVEROOM_FRAME_ANCESTORS")),
        connections_per_address=_number(env, "LIVEROOM_CONNECTIONS_PER_ADDRESS", per_address, least=0),
        connections_per_user=_number(env, "LIVEROOM_CONNECTIONS_PER_USER", per_user, least=0),
        audit_key=env.secret("LIVEROOM_AUDIT_KEY") or None,
        anchors=Path(anchors) if (anchors := env.get("LIVEROOM_ANCHORS")) else data / "anchors.log",
        catalogue=Path(catalogue) if (catalogue := env.get("LIVEROOM_CATALOGUE")) else None,
        levels=Path(levels) if (levels := env.get("LIVEROOM_LEVELS")) else None,
        packages=Path(packages) if (packages := env.get("LIVEROOM_PACKAGES")) else None,
        requirements=Path(needs) if (needs := env.get("LIVEROOM_REQUIREMENTS")) else None,
        providers=Path(providers) if (providers := env.get("LIVEROOM_PROVIDERS")) else None,
        payout_review=_number(env, "LIVEROOM_PAYOUT_REVIEW", 0, least=0),
        payout_four_eyes=_number(env, "LIVEROOM_PAYOUT_FOUR_EYES", FOUR_EYES_DIAMONDS),
        rates=Path(rates) if (rates := env.get("LIVEROOM_RATES")) else None,
        node_id=env.get("LIVEROOM_NODE_ID") or None,
        workers=_number(env, "LIVEROOM_WORKERS", 1, most=limits.WORKERS_MAX),
        worker=None,
        log_level=env.get("LIVEROOM_LOG", "info").lower(),
    )


def _unix(path: Path) -> str:
    """The address of a socket file. Its path may have any bytes."""
    return f"unix://{quote(os.fsencode(path))}"


def _sqlite(path: Path) -> str:
    """The address of an SQLite file. Its path may have any bytes. SQLAlchemy decodes the address once, SQLite again."""
    plain = quote(os.fsencode(path))
    return f"sqlite:///{path}" if plain == str(path) else f"sqlite:///{quote(f'file:{plain}')}?uri=true"


def child_environment(*, keeps_memory: bool = True, **extra: str) -> dict[str, str]:
    """This process's environment for a child, with `extra` on top.

    Children keep more freed memory chunks than glibc does by default (ptmalloc's tcache; GNU C Library manual,
    "Memory Allocation Tunables"). Other C libraries ignore the variable. A node gains nothing by it, and would be 7 MiB
    larger.
    """
    kept = {"GLIBC_TUNABLES": f"glibc.malloc.tcache_count={limits.FREE_CHUNKS_KEPT}"} if keeps_memory else {}
    return {**kept, **os.environ, **extra}


def _check_secret(name: str, value: str, forbidden: str) -> None:
    if not value:
        raise Unusable(f"{name} is not set; production mode needs a secret of its own.")
    if value == forbidden or len(value) < limits.SECRET_CHARS_MIN:
        raise Unusable(
            f"{name} is a development secret or shorter than {limits.SECRET_CHARS_MIN} characters; "
            "production mode needs a long random one."
        )
    if not value.isprintable() or value != value.strip():
        raise Unusable(f"{name} has spaces around it, or characters that cannot be printed.")
    if len(set(value)) < limits.SECRET_LETTERS_MIN or value in (value + value)[1:-1]:
        raise Unusable(f"{name} is easy to guess: it has few different characters, or repeats itself.")


def _choice(env: _Environment, name: str, *choices: str) -> str:
    """One of the choices; the first is the default."""
    value = env.get(name, choices[0])
    if value not in choices:
        raise Unusable(f"{name} is {value!r}; it must be {' or '.join(choices)}.")
    return value


def _number(env: _Environment, name: str, default: int, *, least: int = 1, most: int = 2**53 - 1) -> int:
    text = env.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        bounds = f"at least {least}" if most >= 2**53 - 1 else f"{least} to {most}"
        raise Unusable(f"{name} is {text!r}; it must be a whole number of {bounds}.")
    return int(text)


def _networks(env: _Environment, name: str, default: str) -> tuple[Network, ...]:
    """Networks, with commas between them; `none` for none. One that holds everybody is refused."""
    text = env.get(name) or default
    try:
        found = tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if text != "none")
    except ValueError:
        raise Unusable(
            f"{name} is {text!r}; it must be networks such as {default}, with commas between them."
        ) from None
    if any(network.prefixlen == 0 for network in found):
        raise Unusable(f"{name} is {text!r}, which trusts everybody; name only the networks of your proxies.")
    return found


def _sites(
    env: _Environment, name: str, default: str, pattern: re.Pattern[str], words: Mapping[str, str]
) -> tuple[str, ...]:
    """Origins, with commas or spaces between them. `words` may stand in their place; `none` and `*` only alone."""
    text = env.get(name) or default
    sites = tuple(words.get(each, each) for each in re.split(r"[,\s]+", text.strip()))
    if sites in (("none",), ("*",)):
        return sites if sites == ("*",) else ()
    for site in sites:
        if site == "*" or not (site in words.values() or pattern.fullmatch(site)):
            raise Unusable(f"{name} is {text!r}; it must be origins such as https://www.example.com, or none, or *.")
    return sites


def _ancestors(env: _Environment, name: str) -> tuple[str, ...]:
    return _sites(env, name, "self", _ANCESTOR, {"self": "'self'", "*": "*"}) or ("'none'",)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise Unusable(f"LIVEROOM_PORT is {text!r}; it must be a port number from 1 to 65535.")
    return int(text)
