"""Both packages, installed from their built files into an empty folder, with the examples that use them."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests import packages

ROOT = Path(__file__).parents[1]
NODE_MODULES = ROOT / "tests/js/node_modules"
EXAMPLES = ROOT / "protocol/examples"
# The production builds of React are CommonJS, which a bundler makes into modules. Here each is wrapped.
REACT = {
    "react": ("react/cjs/react.production.js", "createElement, StrictMode, useEffect, useRef, useState"),
    "scheduler": ("scheduler/cjs/scheduler.production.js", "unstable_now"),
    "react-dom": ("react-dom/cjs/react-dom.production.js", "version"),
    "react-dom/client": ("react-dom/cjs/react-dom-client.production.js", "createRoot"),
}


class Installed:
    """A folder as a developer has it after `pip install` and `npm install`, without the repository in reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        built = folder / "built"
        built.mkdir()
        self.wheel, self.tarball = packages.wheel(built), packages.tarball(built)
        self._run(sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", "py", self.wheel)
        self._run("npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", self.tarball)
        shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
        (folder / "favicon.ico").touch()  # browsers ask for one

    def _run(self, *command: str | Path) -> None:
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"

    @property
    def environ(self) -> dict[str, str]:
        """Only the wheel is on the path, beside what it depends on. No proxy stands before a server of a test."""
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        return {**kept, "PYTHONPATH": str(self.folder / "py"), "PYTHONDONTWRITEBYTECODE": "1"}

    def with_package(self, name: str) -> None:
        """Put another npm package beside ours, from those that the checks of the JavaScript use."""
        shutil.copytree(NODE_MODULES / name, self.folder / "node_modules" / name, dirs_exist_ok=True)

    def with_react(self) -> None:
        """React's own builds as modules, and the example's page with their addresses."""
        vendor = self.folder / "vendor"
        vendor.mkdir(exist_ok=True)
        page = (self.folder / "react/index.html").read_text()
        version = json.loads((NODE_MODULES / "react/package.json").read_text())["version"]
        for name, (path, exports) in REACT.items():
            (vendor / _file(name)).write_text(_as_module((NODE_MODULES / path).read_text(), exports))
            package, slash, entry = name.partition("/")
            page = page.replace(f'"https://esm.sh/{package}@{version}{slash}{entry}"', f'"/vendor/{_file(name)}"')
        assert "esm.sh" not in page
        (self.folder / "react/index.html").write_text(page)

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """The folder on an origin of its own."""
        handler = functools.partial(_Quiet, directory=str(self.folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that writes no log."""

    def log_message(self, *_: object) -> None:
        pass


def _file(name: str) -> str:
    return f"{name.replace('/', '-')}.js"


def _as_module(commonjs: str, exports: str) -> str:
    needed = [name for name in REACT if f'require("{name}")' in commonjs]
    head = "".join(f'import _{n} from "./{_file(name)}";\n' for n, name in enumerate(needed))
    known = ", ".join(f'"{name}": _{n}' for n, name in enumerate(needed))
    return (
        f"{head}const module = {{ exports: {{}} }}, require = (name) => ({{ {known} }})[name];\n"
        f"(function (exports, module, require) {{{commonjs}\n}})(module.exports, module, require);\n"
        f"export const {{ {exports} }} = module.exports;\nexport default module.exports;\n"
    )
