"""Puts a site's payouts together: its providers, requests, desk and loop."""

from sqlalchemy import Engine

from server.clock import Clock
from server.payouts.asking import Policy, Requests
from server.payouts.desk import Desk
from server.payouts.runner import Runner
from server.payouts.standing import Standings, days_of
from server.providers import config
from server.providers.files import FileProvider
from server.providers.interface import Provider
from server.rates import RateCards
from server.requirements import Requirements
from server.settings import Settings


class Payouts:
    """Everything about payouts of this process. Raises Unusable for providers that cannot be used."""

    def __init__(
        self, settings: Settings, engine: Engine, clock: Clock, cards: RateCards, requirements: Requirements
    ) -> None:
        self.engine, self.clock = engine, clock
        self.providers = providers_of(settings, clock)
        standing_of = Standings(requirements).of
        policy = Policy(review=settings.payout_review, eyes=settings.payout_four_eyes)
        self.requests = Requests(engine, cards.terms, standing_of, tuple(self.providers), policy)
        self.desk = Desk(engine)
        self.runner = Runner(engine, clock, self.providers, standing_of, days_of(engine, cards))


def providers_of(settings: Settings, clock: Clock) -> dict[str, Provider]:
    """The site's providers. Without a file, development writes CSV files into the data folder. Raises Unusable."""
    if settings.providers is not None:
        return config.load(settings.providers, clock.now_ms)
    if not settings.development:
        return {}
    return {"files": FileProvider("files", settings.data / "payouts", clock.now_ms)}
