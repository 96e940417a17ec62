"""Both packages are built, installed into an empty folder, and used there by the examples."""

import asyncio
import contextlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import protocol
from tests import packages
from tests.installed import NODE_MODULES, Installed
from tests.program import Program
from tests.site import WAIT_S, Site, Viewer

NODE = ("node", "--disable-warning=ExperimentalWarning")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """One folder for these tests."""
    return Installed(tmp_path_factory.mktemp("empty"))


def run(installed: Installed, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=installed.folder, env=installed.environ, capture_output=True, text=True, check=False
    )


async def ran(installed: Installed, *command: str) -> tuple[int, str, str]:
    """Run it in the folder while this loop goes on: its server may be here."""
    process = await start(installed, *command)
    said, wrong = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode is not None
    return process.returncode, said.decode(), wrong.decode()


async def start(installed: Installed, *command: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, cwd=installed.folder, env=installed.environ, stdout=pipe, stderr=pipe
    )


# --- what is in them -----------------------------------------------------------------------------------------------
def test_the_wheel_needs_msgspec_and_websockets_alone(installed: Installed) -> None:
    """Its version is the program's, and its one package has a name that is free."""
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        info = f"liveroom_client-{protocol.__version__}.dist-info"
        metadata = wheel.read(f"{info}/METADATA").decode()
    assert {name.partition("/")[0] for name in names} == {"liveroom_client", info}
    assert "liveroom_client/py.typed" in names
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert [line.split()[1].partition(">")[0] for line in required] == ["msgspec", "websockets"]
    assert "# liveroom-client" in metadata


def test_the_wheel_works_without_the_repository(installed: Installed) -> None:
    """Without websockets until a client with a connection is asked for, and never with a package `protocol`."""
    code = (
        "import sys, liveroom_client, liveroom_client.client; assert 'websockets' not in sys.modules\n"
        "import liveroom_client.aio, liveroom_client.sync; assert 'protocol' not in sys.modules\n"
        "assert 'py/liveroom_client' in liveroom_client.__file__; print(liveroom_client.__version__)"
    )
    done = run(installed, sys.executable, "-W", "error", "-c", code)
    assert (done.stdout, done.stderr) == (f"{protocol.__version__}\n", "")


def test_the_tarball_has_types_and_no_dependency(installed: Installed) -> None:
    """Every module that is imported is in it; TypeScript finds the types of both entries."""
    with tarfile.open(installed.tarball) as tarball:
        names = {name.removeprefix("package/") for name in tarball.getnames()}
    source = packages.SOURCE / "web"
    assert names == {
        *(path.relative_to(source).as_posix() for path in source.rglob("*.*s")),
        *("README.md", "LICENSE", "package.json"),
    }
    manifest = json.loads((installed.folder / "node_modules/liveroom.js/package.json").read_text())
    assert manifest["version"] == protocol.__version__
    assert not [name for name in manifest if name.lower().endswith("dependencies")]
    uses = """
        import { join, Refused, type Room } from "liveroom.js";
        import type { GiftSent } from "liveroom.js/wire";
        const shown: GiftSent[] = [];
        const client = join({ room: "demo", token: "t", onEvent: (event) => {
          if (event.type === "gifts.sent") shown.push(event);
        } });
        export const room: Room | null = client.room;
        client.sendGift({ gift: "rose" }).then(({ coins }) => coins + 1, (refused: Refused) => refused.reason);
        // @ts-expect-error: a gift has a name
        client.sendGift({ count: 3 });
    """
    (installed.folder / "uses.mts").write_text(uses)
    tsc = str(NODE_MODULES / ".bin/tsc")
    for resolution in ("nodenext", "bundler"):
        module = "nodenext" if resolution == "nodenext" else "esnext"
        options = ("--strict", "--noEmit", "--target", "es2022", "--module", module, "--moduleResolution", resolution)
        done = run(installed, tsc, "--ignoreConfig", *options, "--lib", "es2022,dom", "uses.mts")
        assert done.stdout == ""


def test_the_same_sources_give_the_same_files(installed: Installed, tmp_path: Path) -> None:
    """Who builds them again can compare."""
    assert packages.wheel(tmp_path).read_bytes() == installed.wheel.read_bytes()
    assert packages.tarball(tmp_path).read_bytes() == installed.tarball.read_bytes()


def test_only_imports_are_renamed() -> None:
    source = "import protocol\nfrom protocol import a\nif x:\n    from protocol.chat import y\n'from protocol import'\n"
    assert packages.renamed(source) == (
        "import liveroom_client as protocol\nfrom liveroom_client import a\n"
        "if x:\n    from liveroom_client.chat import y\n'from protocol import'\n"
    )


# --- the examples ----------------------------------------------------------------------------------------------------
def test_the_bot_is_short() -> None:
    """Twenty lines, without the empty ones."""
    lines = (packages.SOURCE / "examples/bot.py").read_text().splitlines()
    assert len([line for line in lines if line]) <= 20


async def test_the_bot_thanks_over_a_killed_server(installed: Installed) -> None:
    """It thanks for a gift; the whole program is killed and started again; it thanks for the next one."""
    program = Program()
    try:
        await program.start()
        token = await program.token("robot", "bot")
        bot = await start(installed, sys.executable, "-W", "error", "bot.py", program.url, "demo", token)
        for count in (1, 2):
            alice = await program.join("alice")
            async with asyncio.timeout(WAIT_S * 3):
                while not await thanked(alice, count):  # until the bot is there
                    await alice.gift("rose", count)
            if count == 1:
                await alice.ask("chat.send", text="!coins")
                await alice.until(lambda told: [m for m in told if "coins so far" in m.get("text", "")])
                await program.kill_tree()
                await program.start()
        bot.terminate()
        _, wrong = await bot.communicate()
        assert wrong == b""
    finally:
        await program.discard()


async def thanked(viewer: Viewer, count: int) -> bool:
    """Whether the bot says so soon."""
    with contextlib.suppress(TimeoutError):
        await viewer.happened("chat.sent", wait_s=1.0, text=f"Thank you for {count} x Rose, Alice!")
        return True
    return False


@pytest.mark.parametrize("native", [False, True], ids=["ws", "native"])
async def test_the_script_gives_from_node(installed: Installed, site: Site, native: bool) -> None:
    """With the package ws, and with the class that Node has by itself (in Node 20 behind a flag)."""
    installed.with_package("ws")
    bob = await site.join("bob")
    node = (*NODE, "--experimental-websocket") if native else NODE
    code, said, wrong = await ran(installed, *node, "give.mjs", site.url, "demo", site.token("alice"), "5")
    assert (code, wrong) == (0, "")
    gift = await bob.happened("gifts.sent", message="Hello!")
    assert said == f"gave {gift['id']}, 9995 coins left\n"
    code, said, wrong = await ran(installed, *node, "give.mjs", site.url, "demo", site.token("poor"), "5")
    assert (code, said, wrong) == (1, "", "not given: insufficient_coins\n")
