"""Real Valkey processes for the tests, on unix sockets in a folder of this run."""

import functools
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from server.settings import STORES, Settings, child_environment, load
from server.store import embedded
from server.store.embedded import StoreKind

# Production needs secrets, and stores that are named.
SECRETS = {
    "LIVEROOM_TOKEN_SECRET": "a-token-secret-only-for-tests-0123456789",
    "LIVEROOM_SERVICE_KEY": "a-service-key-only-for-tests-0123456789",
}
EMBEDDED = dict.fromkeys(STORES, "embedded")


def settings(data: Path, **environ: str) -> Settings:
    """The settings that the program would read for a data folder."""
    return load({"LIVEROOM_DATA": str(data), **environ})


class ValkeyProcess:
    """One embedded store, started as the program starts it, with extra `options` and `environ`."""

    def __init__(
        self, kind: StoreKind, of: Settings, *, options: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self.settings = of
        self.options = tuple(options)
        self.environ = dict(environ or {})
        self.socket = embedded.socket_path(kind, of)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [*embedded.command(self.kind, self.settings), *self.options],
            env=child_environment(**self.environ),
            preexec_fn=functools.partial(embedded.die_with_parent, os.getpid()),
        )
        deadline = time.monotonic() + 10
        while True:
            assert self.process.poll() is None, f"the {self.kind.name} store ended with {self.process.returncode}"
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.exceptions.ConnectionError:
                assert time.monotonic() < deadline, f"the {self.kind.name} store does not answer"
                time.sleep(0.01)

    def client(self) -> redis.Redis:
        """Another library's client, to look at the store."""
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
