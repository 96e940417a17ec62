"""The audience for peers: audience.c, compiled on use. Python would be slower than the servers it measures."""

import shutil
import subprocess
from pathlib import Path

from loadtest.audience import Audience
from loadtest.peers.peer import Peer
from loadtest.processes import cpu_s
from loadtest.wire import Address

SOURCE = Path(__file__).with_name("audience.c")


def compiled(folder: Path) -> Path:
    """Compile the program. Raises RuntimeError without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("the audience is a C program, and there is no C compiler (cc) on this machine")
    made = folder / "audience"
    subprocess.run([compiler, "-O2", "-o", str(made), str(SOURCE)], check=True)
    return made


class PeerAudience(Audience):
    """One viewer of a peer for each path. They stay for `seconds`."""

    def __init__(
        self, program: Path, peer: Peer, paths: list[str], seconds: float, *, cpu: int, folder: Path, at_a_time: int
    ) -> None:
        self.name = "audience.c"
        address = Address.of(peer.url)
        listed, ready = folder / "paths", folder / "ready"
        listed.write_text("\n".join(paths) + "\n")
        ready.unlink(missing_ok=True)
        command = [str(program), address.host, str(address.port), f"@{listed}", str(len(paths)), str(seconds)]
        command += ["-w", str(ready), "-at", str(at_a_time), "-hello", peer.hello.hex()]
        command += ["-greeting", peer.greeting.hex(), "-protocol", peer.subprotocol]
        self._start(command, ready, cpu)

    @property
    def joined_s(self) -> float:
        """How long it took until all had joined. Call it after `wait_ready`."""
        return float(self._ready.read_text())

    @property
    def cpu_s(self) -> float:
        return cpu_s(self._process.pid)
