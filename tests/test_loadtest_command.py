"""The load test's command line: what it needs, where its key comes from, and what it keeps when it cannot write."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import keys, page, results
from loadtest.command_line import main, tell
from tests.test_loadtest_report import run
from tests.tree import ROOT

KEY = "a-service-key-that-nobody-may-see-0123456789"
AWAY = "http://127.0.0.1:9"


# --- what it needs ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("module", ["hdrh", "uvloop", "matplotlib"])
def test_a_missing_package_is_named(module: str) -> None:
    """Two sentences and status 2 say what to install; there is no traceback."""
    code = f"import runpy, sys; sys.modules[{module!r}] = None; runpy.run_module('loadtest', run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert f"module {module!r} is missing" in ran.stderr
    assert "pip install" in ran.stderr
    assert "Traceback" not in ran.stderr


# --- the key ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "given",
    [
        ["--service-key", KEY],
        [f"--service-key={KEY}"],
        [f"--serv={KEY}"],
        ["--url", f"http://me:{KEY}@127.0.0.1:9"],
        ["--url", f"http://127.0.0.1:9/?token={KEY}"],
    ],
)
def test_a_key_on_the_command_line_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and where the key belongs; the key is not repeated."""
    with pytest.raises(SystemExit) as ended:
        main(["chat_storm", *given])
    assert ended.value.code == 2
    said = "".join(capsys.readouterr())
    assert keys.NAME in said
    assert keys.FILE in said
    assert KEY not in said


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """Without either it is the development key; a file's last line end does not count."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert keys.service_key({}) == keys.DEV_KEY
    assert keys.service_key({keys.NAME: KEY}) == KEY
    assert keys.service_key({keys.FILE: str(file)}) == KEY


@pytest.mark.parametrize("what", ["both", "no such file", "an empty file"])
def test_a_key_that_cannot_be_read_is_an_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence and status 2, before anything is sent."""
    file = tmp_path / "key"
    if what != "no such file":
        file.write_text("" if what == "an empty file" else KEY)
    if what == "both":
        monkeypatch.setenv(keys.NAME, KEY)
    monkeypatch.setenv(keys.FILE, str(file))
    assert main(["chat_storm", "--url", AWAY, "-o", str(tmp_path)]) == 2
    said = "".join(capsys.readouterr())
    assert keys.FILE in said
    assert "Traceback" not in said
    assert KEY not in said


# --- where it writes -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("passed", [True, False])
def test_figures_survive_a_folder_that_cannot_be(
    *, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict is printed and decides the status; the files go to a folder that can be written, and it is named."""
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    (tmp_path / "a file").touch()
    found = run(wrong=() if passed else ("7 coins are missing",))
    assert tell(found, tmp_path / "a file" / "reports") == (0 if passed else 1)
    said = capsys.readouterr().out
    assert "cannot write" in said
    assert ("passed" if passed else "7 coins are missing") in said
    [written] = spare.rglob("*.json")
    assert str(written) in said
    assert results.read(written) == found
    assert written.with_suffix(".html").exists()


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    """For a run's files, and for the page that compares two."""
    made = tmp_path / "a" / "b"
    assert tell(run(), made) == 0
    [file] = made.glob("*.json")
    assert page.main([str(file), "-o", str(tmp_path / "c" / "d" / "report.html")]) == 0
    assert (tmp_path / "c" / "d" / "report.html").exists()
