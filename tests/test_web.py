"""The files of the pages: all exist, have the right type, and are sent again only when they have changed."""

import re
import time
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

from server.http import pages
from tests.site import Site

ROOT = Path(__file__).parents[1]
WEB = ROOT / "server/web"
PAGES = sorted(index.parent.name for index in WEB.glob("*/index.html"))
CLIENT = ROOT / "protocol/web"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
OPEN = {"Authorization": ""}
PREVIEWS = {"streamer": "overlay"}  # the streamer sees the overlay's own stage, as it will be


def test_each_page_has_a_folder() -> None:
    """server/web contains only a folder for each page, and the shared one."""
    assert PAGES == ["overlay", "streamer", "watch"]
    assert sorted(path.name for path in WEB.iterdir()) == sorted([*PAGES, "shared"])


def test_pages_share_through_shared() -> None:
    """No page imports from another page's folder, unless it previews it, and `shared` imports from no page."""
    crossings = [
        f"{path.relative_to(WEB)} imports {other}"
        for path in WEB.rglob("*.js")
        for other in re.findall(r'from "([^"]+)"', path.read_text())
        if not _may_import(path, (path.parent / other).resolve())
    ]
    assert crossings == []


def _may_import(path: Path, other: Path) -> bool:
    """A module of the same page, a shared one, or the client, which is served beside the pages' folders."""
    page = path.relative_to(WEB).parts[0]
    folders = [WEB / name for name in {page, "shared", PREVIEWS.get(page, page)}]
    return any(other.is_relative_to(folder) for folder in folders) or other.parent == WEB


async def files_of(site: Site, page: str) -> dict[str, str]:
    """Every file that a page is made of, by path, as text; also the files that those name."""
    found: dict[str, str] = {}
    waiting = [(f"/{page}/demo", (WEB / page / "index.html").read_text())]
    while waiting:
        at, text = waiting.pop()
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)  # an import of types, which no browser loads
        named = re.findall(r'(?:href|src)="([^#"?{][^"?{]*)"|(?:from |import\()"([^"]+)"', text)
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
    own = re.compile(rf"/web/({page}|shared|{PREVIEWS.get(page, page)})/[\w./]+$")
    assert [name for name in set(found) - client if not own.match(name)] == []


def test_every_icon_is_in_the_page() -> None:
    """Each icon that a page or its modules name is a symbol of the page; none is there for nothing."""
    html = (WEB / "watch/index.html").read_text()
    modules = "".join(path.read_text() for folder in ("watch", "shared") for path in (WEB / folder).glob("*.js"))
    named = re.findall(r'href="#icon-(\w+)"', html) + re.findall(r'\bicon\("(\w+)"\)', modules)
    assert sorted(set(named)) == sorted(re.findall(r'<symbol id="icon-(\w+)"', html))


async def test_every_file_belongs_to_a_page(site: Site) -> None:
    """Every file in server/web is used by a page; the catalogue uses the gifts' pictures."""
    named = {name for page in PAGES for name in await files_of(site, page)}
    gifts = {gift["animation"]["url"] for gift in (await site.http.get("/v1/gifts")).json()}
    files = [path for path in WEB.rglob("*.*") if path.name != "index.html" and path.parent.name != "gifts"]
    there = {f"/web/{path.relative_to(WEB).as_posix()}" for path in files}
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


async def bundles_of(site: Site, page: str) -> list[str]:
    """The addresses of the script and the sheet that the page names."""
    answer = await site.http.get(f"/{page}/demo", headers=OPEN)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:<script type="module" src|<link rel="stylesheet" href)="([^"]+)"', answer.text)
    assert [re.sub(r"\.[0-9a-f]{32}\.", ".*.", name) for name in named] == [
        f"/web/bundles/{page}.*.css",
        f"/web/bundles/{page}.*.js",
    ]
    return named


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_names_one_script_and_one_sheet(page: str, site: Site) -> None:
    """They hold every module and sheet of the page, and a browser keeps them, for their addresses have their digest."""
    files = await files_of(site, page)
    for name in await bundles_of(site, page):
        kind = Path(name).suffix
        answer = await site.http.get(name, headers=OPEN)
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"{KINDS[kind]}; charset=utf-8")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        held = re.findall(r"^(?:// |/\* )(/web/\S+\.(?:js|css))", answer.text, flags=re.MULTILINE)
        assert sorted(held) == sorted(each for each in files if each.endswith(kind))
        assert answer.headers["content-encoding"] == "gzip"
        plain = await site.http.get(name, headers={**OPEN, "Accept-Encoding": "identity"})
        assert (plain.text, plain.headers.get("content-encoding")) == (answer.text, None)
        assert "Accept-Encoding" in plain.headers["vary"]
        assert plain.headers["etag"] != answer.headers["etag"]


async def test_a_page_of_another_version_gets_what_is_here(site: Site) -> None:
    """While a site is updated, page and file may come from two nodes: the file is then this node's, and is not kept."""
    for name in await bundles_of(site, "watch"):
        here = await site.http.get(name, headers=OPEN)
        other = await site.http.get(re.sub(r"[0-9a-f]{32}", "0" * 32, name), headers=OPEN)
        assert (other.text, other.headers["cache-control"]) == (here.text, "no-cache")
        again = await site.http.get(name, headers={**OPEN, "If-None-Match": here.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await site.http.get(name.replace("watch.", "other."), headers=OPEN)).status_code == 404


async def test_a_developer_need_only_reload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In development the page is put together again when one of its files has changed, and only then."""
    before = await bundles_of(site, "watch")
    read = pages.text_of
    monkeypatch.setattr(pages, "text_of", lambda address: read(address) + "/* changed */\n")
    assert await bundles_of(site, "watch") == before
    monkeypatch.setattr(pages, "_changed_at", time.time_ns)
    after = await bundles_of(site, "watch")
    assert set(before).isdisjoint(after)
    assert (await site.http.get(after[1], headers=OPEN)).text.count("/* changed */") > 20


async def test_the_pictures_of_gifts_come_in_one_request(site: Site) -> None:
    """Each as a `data:` address, under the address that the catalogue has."""
    answer = await site.http.get("/web/pictures.json", headers=OPEN)
    assert answer.headers["content-type"] == "application/json"
    for address, data in answer.json().items():
        kind, _, text = data.partition(",")
        assert (kind, unquote(text)) == ("data:image/svg+xml", (await site.http.get(address, headers=OPEN)).text)
    assert set(answer.json()) == {gift["animation"]["url"] for gift in (await site.http.get("/v1/gifts")).json()}
