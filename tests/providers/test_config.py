"""The file that names a site's providers."""

from pathlib import Path

import pytest

from server.providers.config import load
from server.providers.files import FileProvider
from server.providers.http import HttpProvider
from server.settings import Unusable

GOOD = """
[bank]
kind = "sepa"
folder = "bank"
name = "Liveroom GmbH"
iban = "DE89370400440532013000"

[tables]
kind = "csv"
folder = "tables"

[service]
kind = "http"
url = "https://payouts.example"
api_key_file = "key"
webhook_secret_files = ["new", "old"]
"""


def written(folder: Path, text: str) -> Path:
    for name in ("key", "new", "old"):
        (folder / name).write_text(f"{name}-secret\n")
    (folder / "empty").write_text("\n")
    path = folder / "providers.toml"
    path.write_text(text)
    return path


def test_providers(tmp_path: Path) -> None:
    """Each table is a provider of its name; folders and secrets lie beside the file unless their paths are whole."""
    found = load(written(tmp_path, GOOD), lambda: 0)
    assert {name: (type(each), each.name) for name, each in found.items()} == {
        "bank": (FileProvider, "bank"),
        "tables": (FileProvider, "tables"),
        "service": (HttpProvider, "service"),
    }
    assert (tmp_path / "bank" / "out").is_dir()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "cannot be read"),
        ('[bank]\nkind = "cash"', "cash"),
        ("bank = 1", "bank"),
        ('[Bank]\nkind = "csv"\nfolder = "f"', "small letters"),
        ('[bank]\nkind = "csv"\nfolder = "f"\niban = "x"', "iban"),
        ('[bank]\nkind = "sepa"\nfolder = "f"\nname = "L"\niban = "DE00"', "IBAN"),
        ('[s]\nkind = "http"\nurl = "ftp://x"\napi_key_file = "key"', "url"),
        ('[s]\nkind = "http"\nurl = "https://x"\napi_key_file = "none"', "No such file"),
        ('[s]\nkind = "http"\nurl = "https://x"\napi_key_file = "empty"', "no secret"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, why: str) -> None:
    """The program does not start, and says which table is wrong."""
    with pytest.raises(Unusable, match=why):
        load(written(tmp_path, text), lambda: 0)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is a mistake, too."""
    with pytest.raises(Unusable, match=r"none\.toml"):
        load(tmp_path / "none.toml", lambda: 0)
