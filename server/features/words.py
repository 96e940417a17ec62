"""Word lists over HTTP: the site's and those of hosts. Nodes have a change within seconds. A room's is a setting."""

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.words import Category, Phrase
from server import limits
from server.http.api import HttpError, answer, body, route, user_id_of
from server.journal import catalogues as journal
from server.journal.catalogues import SITE, Key
from server.journal.database import ask
from server.rooms.catalogues import WORDS, Phrases, phrases_of
from server.rooms.room import Services
from server.words import is_phrase


class WordList(Struct, frozen=True, forbid_unknown_fields=True):
    """All phrases of a list, by category. A phrase is in one category."""

    phrases: dict[Category, tuple[Phrase, ...]]


class WordChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """Phrases to add, by category, and to remove. One that is added again moves to its new category."""

    add: dict[Category, tuple[Phrase, ...]] = msgspec.field(default_factory=dict)
    remove: tuple[Phrase, ...] = ()


def routes(services: Services) -> list[Route]:
    """Read, replace and change a list."""

    async def read(request: Request) -> Response:
        found = await ask(journal.read, services.engine, _key(request))
        return answer(WordList(phrases_of(found.body)))

    async def write(request: Request, change: Callable[[Phrases], Phrases]) -> Response:
        key, now_ms = _key(request), services.clock.now_ms()

        def changed(before: bytes) -> bytes:
            return msgspec.json.encode(_checked(key, change(phrases_of(before))))

        written = await ask(journal.change, services.engine, key, now_ms, changed)
        await services.catalogues.look_again()
        return answer(WordList(phrases_of(written.body)))

    async def replace(request: Request) -> Response:
        asked = await body(request, WordList)
        return await write(request, lambda _before: asked.phrases)

    async def patch(request: Request) -> Response:
        asked = await body(request, WordChanges)
        return await write(request, lambda before: _patched(before, asked))

    of_site, of_host = "/v1/words", "/v1/hosts/{user}/words"
    made: list[Route] = []
    for path, whose in ((of_site, "the site"), (of_host, "a host, for all their rooms")):
        made += [
            route(path, read, summary=f"The word list of {whose}", gives=WordList),
            route(path, replace, method="PUT", summary=f"Replace that of {whose}", body=WordList, gives=WordList),
            route(path, patch, method="PATCH", summary=f"Change that of {whose}", body=WordChanges, gives=WordList),
        ]
    return made


def _key(request: Request) -> Key:
    return Key(WORDS, user_id_of(request) if "user" in request.path_params else SITE)


def _patched(before: Phrases, asked: WordChanges) -> Phrases:
    gone = {*asked.remove, *(phrase for phrases in asked.add.values() for phrase in phrases)}
    kept = {category: [one for one in phrases if one not in gone] for category, phrases in before.items()}
    for category, phrases in asked.add.items():
        kept.setdefault(category, []).extend(phrases)
    return {category: tuple(phrases) for category, phrases in kept.items()}


def _checked(key: Key, phrases: Phrases) -> Phrases:
    """The list as it is kept: each phrase once, sorted. Raises HttpError."""
    kept = {category: tuple(sorted(set(some))) for category, some in sorted(phrases.items()) if some}
    _check_each(phrase for some in kept.values() for phrase in some)
    most = limits.WORDS_OF_SITE_MAX if key.owner == SITE else limits.WORDS_OF_HOST_MAX
    if sum(map(len, kept.values())) > most:
        raise HttpError(409, "too_many_words", f"This list may have {most:,} phrases.")
    return kept


def _check_each(phrases: Iterable[str]) -> None:
    seen = set[str]()
    for phrase in phrases:
        if not is_phrase(phrase):
            raise HttpError(400, "bad_request", "A phrase has no letter, digit or emoji to look for.")
        if phrase in seen:
            raise HttpError(400, "bad_request", "A phrase stands in two categories.")
        seen.add(phrase)
