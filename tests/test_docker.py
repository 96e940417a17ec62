"""The image and compose.yaml: runs the Dockerfile's steps without Docker, and checks every name in both."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from server import settings
from server.__main__ import main
from server.store import guard
from server.store.client import Store
from server.store.embedded import ROOM, WALLET, StoreKind, binary, command
from tests.program import START_S, eventually, free_port
from tests.stores import EMBEDDED, SECRETS

ROOT = Path(__file__).parents[1]


class Step(NamedTuple):
    """One instruction of the Dockerfile."""

    verb: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the exec form, or of the shell form."""
        text = self.text.strip()
        return json.loads(text) if text.startswith("[") else shlex.split(text)


def dockerfile() -> list[list[Step]]:
    """The steps of each stage."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    stages: list[list[Step]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        verb, _, rest = line.partition(" ")
        if verb == "FROM":
            stages.append([])
        stages[-1].append(Step(verb, rest))
    return stages


def of(verb: str, stage: int = -1) -> list[Step]:
    return [step for step in dockerfile()[stage] if step.verb == verb]


def environment() -> dict[str, str]:
    """What ENV sets in the image."""
    return dict(word.split("=", 1) for step in of("ENV") for word in step.words)


def is_sent(path: str) -> bool:
    """Does .dockerignore let a file go to the builder? The last pattern that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = [path, *(str(parent) for parent in Path(path).parents)]
        names = Path(path).parts
        inside = pattern.removeprefix("**/")
        fits = any(fnmatch.fnmatch(part, pattern) for part in parts) or (
            pattern.startswith("**/") and any(fnmatch.fnmatch(name, inside) for name in names)
        )
        if fits:
            sent = line.startswith("!")
    return sent


class Image:
    """A folder that stands for the image's root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = folder / "app"
        self.venv = folder / "venv"
        self.app.mkdir()

    def path(self, name: str) -> str:
        """A path of the image as a path below the folder."""
        return str(self.folder / name.lstrip("/")) if name.startswith("/") else name

    def copy(self, step: Step) -> None:
        """COPY what .dockerignore lets through from the build context."""
        *sources, _ = step.words
        for source in sources:
            files = [path for path in (ROOT / source).rglob("*") if path.is_file()] or [ROOT / source]
            sent = [path for path in files if is_sent(path.relative_to(ROOT).as_posix())]
            assert sent, f"{source} does not reach the builder"
            for path in sent:
                to = self.app / path.relative_to(ROOT)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)

    def run(self, words: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image's folder; `python` is the image's python."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEROOM_", "PYTHON"))}
        path = f"{self.venv / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            words, cwd=self.app, env={**clean, "PATH": path, **environ}, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image after the Dockerfile's COPY and RUN steps, except those that make users or set modes."""
    made = Image(tmp_path_factory.mktemp("image"))
    for stage in dockerfile():
        for step in stage:
            if step.verb == "COPY" and not step.text.startswith("--from="):
                made.copy(step)
            elif step.verb == "RUN" and not step.text.startswith("useradd "):
                _carry_out(made, step)
    return made


def _carry_out(made: Image, step: Step) -> None:
    words = step.words
    assert Path(words[0]).name == "python", f"a step that this test cannot carry out: {step.text}"
    python = sys.executable if words[0] == "python" else made.path(words[0])  # the base image's python, or the venv's
    done = made.run([python, *(made.path(word) for word in words[1:])])
    assert done.returncode == 0, done.stderr


# --- the image -----------------------------------------------------------------------------------------------------
@pytest.mark.timeout(600)
def test_the_image_has_the_program(image: Image) -> None:
    """In a clean environment, with only copied files and pinned packages, the program lists its commands."""
    done = image.run([*of("ENTRYPOINT")[0].words, "--help"])
    assert done.returncode == 0, done.stderr
    for name in ("run", "node", "journal", "migrate"):
        assert name in done.stdout
    installed = image.run(["python", "-c", "import pytest"])
    assert "No module named 'pytest'" in installed.stderr


@pytest.mark.timeout(600)
def test_the_image_has_every_file_that_the_program_reads(image: Image) -> None:
    """Lua, pages, catalogue and migrations are in the copied tree, and the application can be imported from it."""
    for pattern in (
        "server/**/*.lua",
        "server/web/**/*",
        "server/**/migrations/**/*.py",
        "server/*.json",
        "protocol/web/**/*",
    ):
        there = {path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.is_file() and path.suffix != ".png"}
        assert there, pattern
        assert {path for path in there if not (image.app / path).exists() and "__pycache__" not in path.parts} == set()
    done = image.run(["python", "-c", "import server.app; print(server.app.__file__)"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(image.app / "server/app.py")
    assert not (image.app / "tests").exists()


@pytest.mark.timeout(600)
def test_the_image_refuses_to_serve_development_secrets(image: Image) -> None:
    """With only the image's own environment it says in one sentence what is missing, and ends."""
    own = {name: value for name, value in environment().items() if name.startswith("LIVEROOM_")}
    done = image.run([*of("ENTRYPOINT")[0].words, *of("CMD")[0].words], **own)
    assert done.returncode == 2
    assert (
        done.stderr.strip() == "liveroom: LIVEROOM_TOKEN_SECRET is not set; production mode needs a secret of its own."
    )


@pytest.mark.timeout(600)
async def test_the_image_serves_and_tells_its_health(image: Image, tmp_path: Path) -> None:
    """The image's command serves; HEALTHCHECK succeeds, and fails after SIGTERM."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIVEROOM_", "PYTHON"))}
    own = {name: value for name, value in environment().items() if name.startswith("LIVEROOM_")}
    here = {"LIVEROOM_HOST": "127.0.0.1", "LIVEROOM_PORT": str(free_port()), "LIVEROOM_DATA": str(tmp_path / "data")}
    environ = {**clean, **own, **here, **SECRETS, **EMBEDDED, "PATH": f"{image.venv / 'bin'}:{os.environ['PATH']}"}
    (check,) = of("HEALTHCHECK")
    health = json.loads(check.text[check.text.index("[") :])
    with (tmp_path / "log").open("wb") as log:
        served = subprocess.Popen(
            [str(image.venv / "bin/python"), *of("ENTRYPOINT")[0].words[1:], *of("CMD")[0].words],
            cwd=image.app,
            env=environ,
            stdout=log,
            stderr=log,
        )
        try:
            found = lambda: image.run(health, **here).returncode == 0 or served.poll() is not None  # noqa: E731
            await eventually(found, START_S, "a healthy container")
            assert served.poll() is None, (tmp_path / "log").read_text()
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(20)
    assert image.run(health, **here).returncode != 0


def test_the_image_is_not_run_by_root() -> None:
    """The last stage makes a user that owns the data folder and runs the image."""
    (user,) = of("USER")
    assert user.text != "root"
    (made,) = (step for step in of("RUN") if step.text.startswith("useradd "))
    assert made.words[-1] == user.text
    assert made.words[made.words.index("--home-dir") + 1] == environment()["LIVEROOM_DATA"] == of("VOLUME")[0].text


def test_the_image_installs_what_make_installs() -> None:
    """Like the Makefile, it installs the pinned packages with checked hashes, and nothing else."""
    installs = [step.text for stage in dockerfile() for step in stage if "pip" in step.text]
    assert len(installs) == 1
    made = re.search(r"pip (install .* --require-hashes -r requirements\.lock)", (ROOT / "Makefile").read_text())
    assert made is not None
    wanted = set(made.group(1).split())
    assert wanted <= set(installs[0].split())
    assert set(installs[0].split()) - wanted <= {"/venv/bin/python", "-m", "pip", "--no-cache-dir"}


def test_the_image_names_only_real_settings() -> None:
    """The program reads every LIVEROOM_ variable of ENV."""
    assert {name for name in environment() if name.startswith("LIVEROOM_")} <= known_settings()


# --- compose.yaml --------------------------------------------------------------------------------------------------
def known_settings() -> set[str]:
    """The variables that server/settings.py reads."""
    return set(re.findall(r"LIVEROOM_[A-Z_]+", Path(settings.__file__).read_text()))


def scalar(text: str) -> Any:
    """A YAML value as compose.yaml has it: flow style becomes JSON once bare words are quoted."""
    if text.startswith(("[", "{")):
        quoted = re.sub(r"(?<=[\[{,:\s])([A-Za-z_][\w:/.-]*)(?=\s*[:,}\]])", r'"\1"', text) if text[0] == "{" else text
        return json.loads(quoted)
    return text.strip('"')


def compose() -> dict[str, Any]:
    """Read compose.yaml, with a reader for the part of YAML that it uses."""
    text = re.sub(r"\s+#.*|^#.*", "", (ROOT / "compose.yaml").read_text(), flags=re.MULTILINE)
    text = re.sub(r"\n\s+(\[)", r" \1", text)
    text = re.sub(r'("|\d),\n\s+"', r'\1, "', text)
    root: dict[str, Any] = {}
    stack: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    anchors: dict[str, dict[str, Any]] = {}
    for line in filter(str.strip, text.splitlines()):
        depth = len(line) - len(line.lstrip())
        name, _, value = line.strip().partition(":")
        while stack[-1][0] >= depth:
            stack.pop()
        parent, value = stack[-1][1], value.strip()
        if value and not value.startswith("&"):
            parent[name] = anchors[value[1:]] if value.startswith("*") else scalar(value)
            continue
        parent[name] = made = {}
        stack.append((depth, made))
        if value:
            anchors[value[1:]] = made
    return root


def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


OURS = ("migrate", "journal", "node")


def test_compose_has_the_whole_site() -> None:
    """Two stores, a database, the journal and a node; all dependencies exist, and all volumes are declared."""
    assert set(services()) == {"wallet-store", "room-store", "database", *OURS}
    for name, service in services().items():
        assert set(service.get("depends_on", {})) <= set(services()), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose()["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_compose_starts_real_commands_with_real_settings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Our services are built here, their commands exist, and the program accepts their environment."""
    service = services()[name]
    assert service["build"] == "."
    with pytest.raises(SystemExit) as ended:
        main([*service["command"], "--help"])
    assert ended.value.code == 0
    capsys.readouterr()
    environ = dict(service["environment"])
    assert set(environ) <= known_settings()
    filled = {key: re.sub(r"\$\{\w+[^}]*\}", f"{key} 0123456789 0123456789", value) for key, value in environ.items()}
    loaded = settings.load(filled)
    assert loaded.mode == "production"
    for url in (loaded.wallet_url, loaded.room_url, loaded.journal_url):
        assert url is not None
        host = re.search(r"(?:@|//)([a-z-]+)(?::\d+)?/", url)
        assert host is not None, url
        assert host.group(1) in services()


@pytest.mark.parametrize(("name", "kind"), [("wallet-store", WALLET), ("room-store", ROOM)])
async def test_compose_keeps_the_stores_as_the_program_does(name: str, kind: StoreKind, tmp_path: Path) -> None:
    """The options are those of the embedded stores; a real server takes them, and the guard trusts the wallet's."""
    options = services()[name]["command"][1:]
    given = _pairs(options)
    own = _pairs(command(kind, settings.load({"LIVEROOM_DATA": str(tmp_path)}))[1:])
    assert given.items() <= own.items()
    assert given["--appendfsync"] == kind.appendfsync
    path = tmp_path / "s.sock"
    place = ["--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--logfile", str(tmp_path / "log")]
    server = subprocess.Popen([binary(), *options, *place])
    store = Store(name, f"unix://{path}")
    try:
        await store.start()
        await store.wait_up(START_S)
        found = await guard.Guard([]).look(store)
        assert found.wrong == ([] if kind is WALLET else ["appendfsync is everysec, not always"])
    finally:
        await store.stop()
        server.terminate()
        server.wait(10)


def _pairs(options: list[str]) -> dict[str, str]:
    """`--name value...` by name."""
    found: dict[str, list[str]] = {}
    for word in options:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return {name: " ".join(values) for name, values in found.items()}
