"""A worker that starts takes no newcomers before it is ready."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server import limits
from server.processes.listening import listen
from tests.program import free_port
from tests.stores import settings


def test_a_worker_that_is_not_ready(tmp_path: Path) -> None:
    """All connections to the shared port reach the workers that listen; alone, it refuses them."""
    port = free_port()
    starting = listen(settings(tmp_path), port, shared=True)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        with listen(settings(tmp_path), port, shared=True) as ready:
            ready.listen(limits.BACKLOG)
            ready.settimeout(5)
            for _ in range(40):
                with socket.create_connection(("127.0.0.1", port), timeout=5):
                    ready.accept()[0].close()
    finally:
        starting.close()


def test_a_node_of_its_own(tmp_path: Path) -> None:
    """On a port that it does not share, who comes early waits until it is ready."""
    port = free_port()
    with listen(settings(tmp_path), port), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_the_supervisor_starts_without_what_its_children_need() -> None:
    """It listens to report a taken port, and it needs neither SQL nor HTTP: they cost most of the time of its start."""
    loads = "import sys; import server.processes.supervisor, server.processes.preflight; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert {"sqlalchemy", "alembic", "uvicorn", "starlette", "server.app"} & set(ran.stdout.split()) == set()
