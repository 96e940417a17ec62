"""The files of the pages: all exist, have the right type, and are sent again only when they have changed."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest

from server.http import pages
from tests.site import Site

ROOT = Path(__file__).parents[1]
WEB = ROOT / "server/web"
PAGES = sorted(index.parent.name for index in WEB.glob("*/index.html"))
CLIENT = ROOT / "protocol/web"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
OPEN = {"Authorization": ""}


def test_each_page_has_a_folder() -> None:
    """server/web contains only a folder for each page, and the shared one."""
    assert PAGES == ["overlay", "watch"]
    assert sorted(path.name for path in WEB.iterdir()) == sorted([*PAGES, "shared"])


def test_pages_share_through_shared() -> None:
    """No page imports from another page's folder, and `shared` imports from no page."""
    allowed = re.compile(r"\./\w+\.js|\.\./(shared/\w+|liveroom|wire)\.js")
    crossings = [
        f"{path.relative_to(WEB)} imports {other}"
        for path in WEB.glob("*/*.js")
        for other in re.findall(r'from "([^"]+)"', path.read_text())
        if not allowed.fullmatch(other)
    ]
    assert crossings == []


async def files_of(site: Site, page: str) -> dict[str, str]:
    """Every file that a page asks for, by path, as text; also the files that those name."""
    answer = await site.http.get(f"/{page}/demo", headers=OPEN)
    assert answer.headers["content-type"].startswith("text/html")
    found: dict[str, str] = {}
    waiting = [(f"/{page}/demo", answer.text)]
    while waiting:
        at, text = waiting.pop()
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)  # an import of types, which no browser loads
        named = re.findall(r'(?:href|src)="([^"?{]+)"|(?:from|import\() ?"([^"]+)"', text)
        for name in {urljoin(at, "".join(each)).partition("#")[0] for each in named} - set(found):
            answer = await site.http.get(name, headers=OPEN)
            assert answer.status_code == 200, f"{name} of {at}"
            assert answer.headers["content-type"].split(";")[0] == KINDS[Path(name).suffix], name
            found[name] = answer.text
            waiting.append((name, answer.text))
    return found


@pytest.mark.parametrize("page", PAGES)
async def test_everything_that_a_page_names_is_there(page: str, site: Site) -> None:
    """Styles, scripts, imports and icons have the right type, and come from the page's folder or `shared`."""
    found = await files_of(site, page)
    assert {f"/web/{page}/start.js", f"/web/{page}/{page}.css", "/web/shared/icon.svg"} <= set(found)
    client = {f"/web/{path.relative_to(CLIENT).as_posix()}" for path in CLIENT.rglob("*.js")}
    assert client <= set(found)
    own = re.compile(rf"/web/({page}|shared)/[\w.]+$")
    assert [name for name in set(found) - client if not own.match(name)] == []


async def test_every_file_belongs_to_a_page(site: Site) -> None:
    """Every file in server/web is used by a page; the catalogue uses the gifts' pictures."""
    named = {name for page in PAGES for name in await files_of(site, page)}
    gifts = {gift["animation"]["url"] for gift in (await site.http.get("/v1/gifts")).json()}
    there = {f"/web/{path.relative_to(WEB).as_posix()}" for path in WEB.glob("*/*.*") if path.name != "index.html"}
    assert there <= named
    assert gifts == {f"/web/gifts/{path.name}" for path in (WEB / "shared/gifts").iterdir()}
    for url in gifts:
        answer = await site.http.get(url, headers=OPEN)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "image/svg+xml")


async def test_a_file_is_sent_again_only_when_it_has_changed(site: Site) -> None:
    """Each file has an ETag and is revalidated every time, with 304 as the answer; so is the client."""
    named = {name for page in PAGES for name in await files_of(site, page)}
    for name in named:
        first = await site.http.get(name, headers=OPEN)
        assert first.headers["cache-control"] == "no-cache"
        assert first.headers["x-content-type-options"] == "nosniff"
        again = await site.http.get(name, headers={**OPEN, "If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), name


def test_the_index_of_folds_is_made_as_it_is_written() -> None:
    """The node generates it from the existing folds; the file is for uses of the client elsewhere."""
    assert pages.folds_index() == (CLIENT / "liveroom/folds.js").read_text()


async def test_the_types_of_the_client_are_served(site: Site) -> None:
    """They are next to liveroom.js with all their imports, as text: the system takes .ts for a video."""
    waiting, found = ["/web/liveroom.d.ts"], set()
    while waiting:
        name = waiting.pop()
        answer = await site.http.get(name, headers=OPEN)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8"), name
        found.add(name)
        named = {
            urljoin(name, each)[:-3] + ".d.ts" for each in re.findall(r'(?:from|import\() ?"([^"]+)"', answer.text)
        }
        waiting += named - found
    assert found == {f"/web/{path.relative_to(CLIENT).as_posix()}" for path in CLIENT.rglob("*.d.ts")}


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_asks_for_all_its_modules_at_once(page: str, site: Site) -> None:
    """The page names exactly the modules it will import, so a browser need not find them one by one."""
    answer = await site.http.get(f"/{page}/demo", headers=OPEN)
    named = re.findall(r"<(/web/[\w./]+)>; rel=modulepreload", answer.headers["link"])
    assert sorted(named) == sorted(name for name in await files_of(site, page) if name.endswith(".js"))
