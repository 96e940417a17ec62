"""The audit over HTTP: the figures of the journal process's newest audit."""

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.clock import Clock
from server.http.api import HttpError, answer, route
from server.journal.audit import latest
from server.journal.database import ask
from server.journal.findings import Report


def routes(journal: Engine, clock: Clock) -> list[Route]:
    async def show(_request: Request) -> Response:
        report = await ask(latest, journal)
        if report is None:
            raise HttpError(404, "no_audit_yet", "The first audit comes a minute after the journal process starts.")
        return answer(report.seen_at(clock.now_ms()))

    return [route("/v1/audit", show, summary="The newest audit", gives=Report)]
