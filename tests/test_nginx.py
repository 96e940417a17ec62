"""The documented nginx, run as it is but for ports, paths and certificate: TLS, upgrades, addresses, logs."""

import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import websockets

from tests.program import ROOT, eventually, free_port
from tests.site import NO_TLS, Site, Viewer

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(not (NGINX and OPENSSL), reason="nginx or openssl is not installed")
CONFIG = ROOT / "docs/nginx.conf"
SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *(str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", "privkey.pem", "-out", "fullchain.pem", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


class Proxy:
    """An nginx with the documented configuration, in front of one node."""

    def __init__(self, folder: Path, certificate: Path, node_port: int) -> None:
        self.folder = folder
        self.plain_port, self.port = free_port(), free_port()
        self.tls = ssl.create_default_context(cafile=certificate / "fullchain.pem")
        changes = {
            "/etc/ssl/live.example.com": str(certificate),
            "/var/log/nginx": str(folder),
            "127.0.0.1:8000": f"127.0.0.1:{node_port}",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "worker_processes auto;": "worker_processes 1;",
        }
        text = re.sub(r"\n *listen \[::\].*", "", CONFIG.read_text())
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        scratch = "".join(f"{name}_temp_path {folder / name};\n" for name in SCRATCH)
        self.config = folder / "nginx.conf"
        self.config.write_text(text.replace("http {\n", "http {\n" + scratch, 1))
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        options = f"daemon off; master_process off; pid {self.folder}/nginx.pid;"
        command = [str(NGINX), "-p", str(self.folder), "-c", str(self.config), "-g", options]
        with (self.folder / "stderr").open("wb") as said:
            self.process = subprocess.Popen(command, stderr=said)
        async with httpx.AsyncClient(verify=NO_TLS) as client:

            async def answers() -> bool:
                assert self.process is not None
                assert self.process.poll() is None, (self.folder / "stderr").read_text()
                try:
                    await client.get(f"http://127.0.0.1:{self.plain_port}/")
                except httpx.TransportError:
                    return False
                return True

            await eventually(answers, 10, "nginx")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    async def join(self, site: Site, user: str, **headers: str) -> Viewer:
        """Join the demo room through nginx, with the token in the query."""
        connection = await websockets.connect(
            f"wss://127.0.0.1:{self.port}/v1/rooms/demo/ws?token={site.token(user)}",
            additional_headers=headers,
            ssl=self.tls,
            proxy=None,
        )
        viewer = Viewer(connection, "json")
        site.viewers.append(viewer)
        await viewer.happened("welcome")
        return viewer

    def logged(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
async def bounded(another_site: Callable[..., Awaitable[Site]]) -> Site:
    """A node that lets two sockets of an address in."""
    return await another_site(LIVEROOM_CONNECTIONS_PER_ADDRESS="2")


@pytest.fixture
async def proxy(bounded: Site, certificate: Path, tmp_path: Path) -> AsyncIterator[Proxy]:
    folder = tmp_path / "nginx"
    folder.mkdir()
    made = Proxy(folder, certificate, bounded.port)
    try:
        await made.start()
        yield made
    finally:
        made.stop()


async def test_a_viewer_through_nginx(bounded: Site, proxy: Proxy) -> None:
    """TLS and the upgrade work. A forged X-Forwarded-For makes no other person, and no token is in the logs."""
    viewer = await proxy.join(bounded, "alice", **{"X-Forwarded-For": "203.0.113.1"})
    assert (await viewer.ask("chat.send", text="hello"))["type"] == "ok"
    await proxy.join(bounded, "bob", **{"X-Forwarded-For": "203.0.113.2"})
    with pytest.raises(websockets.InvalidStatus) as refusal:
        await proxy.join(bounded, "carol", **{"X-Forwarded-For": "203.0.113.3"})
    assert refusal.value.response.status_code == 429
    assert int(refusal.value.response.headers["Retry-After"]) > 0
    for each in bounded.viewers:
        await each.leave()
    await eventually(lambda: proxy.logged().count("/v1/rooms/demo/ws") == 3, 10, "the log")
    assert "ey" not in proxy.logged()
    assert "token" not in proxy.logged()


async def test_requests_through_nginx(bounded: Site, proxy: Proxy) -> None:
    """Pages and the API pass; plain HTTP is sent to TLS; metrics are not for the world; a dead node logs no token."""
    async with httpx.AsyncClient(verify=proxy.tls) as client:
        address = f"https://127.0.0.1:{proxy.port}"
        page = await client.get(f"{address}/watch/demo?token=eyX")
        assert page.status_code == 200
        assert f"wss://127.0.0.1:{proxy.port}" in page.headers["Content-Security-Policy"]
        assert (await client.get(f"{address}/v1/rooms/demo")).json()["room_id"] == "demo"
        assert (await client.get(f"{address}/metrics")).status_code == 404
        moved = await client.get(f"http://127.0.0.1:{proxy.plain_port}/v1/rooms?token=eyX")
        assert (moved.status_code, moved.headers["Location"]) == (308, "https://127.0.0.1/v1/rooms?token=eyX")
    assert "ey" not in proxy.logged()


async def test_a_dead_node_logs_no_token(certificate: Path, tmp_path: Path) -> None:
    """nginx's own messages about a dead node quote the whole request: they are not written."""
    proxy = Proxy(tmp_path, certificate, free_port())
    try:
        await proxy.start()
        async with httpx.AsyncClient(verify=proxy.tls) as client:
            answer = await client.get(f"https://127.0.0.1:{proxy.port}/v1/rooms/demo?token=eyX")
        assert answer.status_code == 502
        await eventually(lambda: " 502 " in proxy.logged(), 10, "the log")
        assert "ey" not in proxy.logged()
    finally:
        proxy.stop()
