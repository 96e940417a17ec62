"""Rate cards over HTTP: what diamonds are worth, for everybody to see."""

import re

from msgspec import Struct
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.api import HttpError, answer, route
from server.journal import rates as journal
from server.journal.database import ask
from server.rates import VERSION_PATTERN, Card, RateCards, Rates

VERSION = re.compile(VERSION_PATTERN)


class RegionShown(Struct, frozen=True):
    """A region's rates, and how many digits its minor unit has."""

    exponent: int
    rates: Rates


class CardShown(Struct, frozen=True):
    """A rate card. `current` is whether it holds on this node now."""

    version: str
    hash: str
    current: bool
    regions: dict[str, RegionShown]


def routes(cards: RateCards, engine: Engine) -> list[Route]:
    async def show(_request: Request) -> Response:
        return answer(_shown(cards.card, current=True))

    async def show_earlier(request: Request) -> Response:
        version = request.path_params["version"]
        if version == cards.card.version:
            return await show(request)
        card = await ask(journal.find, engine, version) if VERSION.fullmatch(version) else None
        if card is None:
            raise HttpError(404, "no_such_card", "No rate card has had this version.")
        return answer(_shown(card, current=False))

    path, of_all = "/v1/rates", "What diamonds are worth, region by region"
    return [
        route(path, show, summary=of_all, gives=CardShown, open=True),
        route(path + "/{version}", show_earlier, summary="A rate card by its version", gives=CardShown, open=True),
    ]


def _shown(card: Card, *, current: bool) -> CardShown:
    regions = {region: RegionShown(rates.exponent, rates) for region, rates in card.regions.items()}
    return CardShown(card.version, card.hash, current, regions)
