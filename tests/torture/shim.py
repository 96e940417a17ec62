"""The test's side of powercut.c: compiles it once per run, and controls it through a mapped file."""

import ctypes
import mmap
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("powercut.c")
FILES = 64


class _File(ctypes.Structure):
    _fields_ = (("inode", ctypes.c_uint64), ("synced", ctypes.c_uint64))


class Control(ctypes.Structure):
    """`struct control` of powercut.c."""

    _fields_ = (
        ("fsyncs", ctypes.c_uint64),
        ("writes", ctypes.c_uint64),
        ("eio_at", ctypes.c_uint64),
        ("full_at", ctypes.c_uint64),
        ("slow_us", ctypes.c_uint64),
        ("hold", ctypes.c_uint64),
        ("clock_us", ctypes.c_int64),
        ("held", ctypes.c_uint64),
        ("file", _File * FILES),
    )


def build(folder: Path) -> Path:
    """Compile the shared library; without a C compiler, say so."""
    compiler = shutil.which("cc")
    assert compiler is not None, "The power-cut tests need a C compiler called `cc` (on Debian: the package gcc)."
    library = folder / "powercut.so"
    line = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(line, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return library


class PowerCut:
    """The disk and the clock of one store."""

    def __init__(self, library: Path, folder: Path) -> None:
        path = folder / "powercut.control"
        path.write_bytes(bytes(ctypes.sizeof(Control)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.control = Control.from_buffer(self._map)
        self.environ: Mapping[str, str] = {"LD_PRELOAD": str(library), "POWERCUT": str(path)}

    def safe(self) -> int:
        """How many bytes of append-only files would survive a power cut."""
        return sum(file.synced for file in self.control.file)

    def cut(self, data: Path) -> int:
        """Cut the power of a store that has ended: drop all bytes that were never synced. Returns how many."""
        synced = {file.inode: file.synced for file in self.control.file if file.inode}
        lost = 0
        for path in data.glob("**/*.incr.aof"):
            about = path.stat()
            safe = min(synced.get(about.st_ino, 0), about.st_size)
            lost += about.st_size - safe
            with path.open("r+b") as file:
                file.truncate(safe)
        return lost
