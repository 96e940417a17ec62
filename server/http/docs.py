"""The OpenAPI document, made from the types that the endpoints decode."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import __version__
from server.http.api import DESCRIBED, answer, route


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of every route."""
    bodies = [described.body for described in DESCRIBED.values() if described.body is not None]
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), described in sorted(DESCRIBED.items()):
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation: dict[str, Any] = {
            "summary": described.summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ],
            "responses": {"2XX": {"description": "done"}, "4XX": {"$ref": "#/components/responses/Error"}},
            "security": [] if described.open else [{"serviceKey": []}],
        }
        if described.body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": schema_of[described.body]}},
            }
        paths.setdefault(path, {})[method.lower()] = operation
    error = {"type": "object", "properties": {"error": {"type": "object"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Liveroom", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"serviceKey": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": {"description": "refused", "content": {"application/json": {"schema": error}}}},
        },
    }


async def openapi(_request: Request) -> Response:
    return answer(document())


def routes() -> list[Route]:
    return [route("/v1/openapi.json", openapi, summary="This document", open=True)]
