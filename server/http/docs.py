"""The OpenAPI document, made from the types that the endpoints decode and answer."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.ids import GiftId, GoalId, PersonId, RoomId, TopUpId
from server import __version__, limits
from server.http.api import DESCRIBED, WRITES, Described, ErrorBody, answer, route
from server.rooms.admin import TURNS

IDS = {
    "room": RoomId,
    "user": PersonId,
    "gift": GiftId,
    "goal": GoalId,
    "overlay": PersonId,
    "topup": TopUpId,
    "verb": Literal[tuple(TURNS)],
}
KEY = Annotated[str, Meta(min_length=1, max_length=limits.IDEMPOTENCY_KEY_CHARS_MAX)]
ERRORS = {
    400: "an id, the query or the body is not valid",
    401: "the service key is needed",
    403: "the token is for somebody else, or no longer good",
    404: "there is no such thing",
    409: "something else was done with this id, or the state does not allow it",
    413: "the body is too large",
}
NO_NUL = r"^[^\x00]*$"
HEADERS = {401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}}
SAME_AGAIN = "Repeated with the same request, it gets the first answer again for a day."


class _Schemas:
    """The schemas of all types that the document mentions."""

    def __init__(self) -> None:
        types: list[Any] = [ErrorBody, KEY, str, *IDS.values()]
        for described in DESCRIBED.values():
            types += [each for each in (described.body, described.query, *described.gives) if each is not None]
        self._types = types
        self._schemas, self.components = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        for described in DESCRIBED.values():
            if described.body is not None:
                self._without_nul(self.of(described.body))

    def of(self, kind: Any) -> dict[str, Any]:
        return self._schemas[self._types.index(kind)]

    def _without_nul(self, schema: Any) -> None:
        """Say of every text below this schema what `careful` asks of it."""
        if isinstance(schema, list):
            for each in schema:
                self._without_nul(each)
        elif isinstance(schema, dict):
            if "$ref" in schema:
                self._without_nul(self.components[schema["$ref"].rpartition("/")[2]])
            if schema.get("type") == "string" and "enum" not in schema:
                schema.setdefault("pattern", NO_NUL)
            self._without_nul(list(schema.values()))

    def content(self, *kinds: Any) -> dict[str, Any]:
        found = [self.of(kind) for kind in kinds]
        return {"application/json": {"schema": found[0] if len(found) == 1 else {"anyOf": found}}}

    def fields(self, kind: Any) -> dict[str, Any]:
        """The properties of a struct, by name."""
        name = self.of(kind)["$ref"].rpartition("/")[2]
        found: dict[str, Any] = self.components[name]["properties"]
        return found


def document(*, development: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document of every route."""
    schemas = _Schemas()
    schemas.components["ErrorShown"]["additionalProperties"] = {}  # some reasons come with more fields
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), described in sorted(DESCRIBED.items()):
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, described, schemas)
        if development and described.open_here:
            paths[path][method.lower()]["security"].append({})  # the key is optional
    return {
        "openapi": "3.1.0",
        "info": {"title": "Liveroom", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"serviceKey": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": {"description": "refused", "content": schemas.content(ErrorBody)}},
        },
    }


def _operation(path: str, method: str, described: Described, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(path, method),
        "summary": described.summary,
        "parameters": _parameters(path, method, described, schemas),
        "responses": _responses(path, method, described, schemas),
        "security": [] if described.open else [{"serviceKey": []}],
    }
    if described.body is not None:
        operation["requestBody"] = {"required": True, "content": schemas.content(described.body)}
    return operation


def operation_id(path: str, method: str) -> str:
    """A name for generated clients: `getRooms`, `putRoom`, `postWalletTopups`, ..."""
    segments = re.sub(r"(\w+)s/\{\w+\}", r"\1", path.removeprefix("/v1")).split("/")
    words = [word for segment in segments for word in re.findall(r"[a-z]+", segment)]
    return method.lower() + "".join(word.capitalize() for word in words)


def _parameters(path: str, method: str, described: Described, schemas: _Schemas) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": schemas.of(IDS.get(name, str))}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    if described.query is not None:
        required = [each.name for each in msgspec.structs.fields(described.query) if each.required]
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in schemas.fields(described.query).items()
        ]
    if method in WRITES and not described.open:
        header = {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schemas.of(KEY)}
        found.append({**header, "description": SAME_AGAIN})
    return found


def _responses(path: str, method: str, described: Described, schemas: _Schemas) -> dict[str, Any]:
    content = schemas.content(*described.gives) if described.gives else {"application/json": {}}
    if described.gives == (str,):
        content = {"text/plain": {"schema": schemas.of(str)}}
    content |= {each: {"schema": schemas.of(str)} for each in described.media}
    done = {str(status): {"description": "done", "content": content} for status in described.statuses}
    may = {
        400: "{" in path or described.query is not None or described.body is not None or method in WRITES,
        401: not described.open,
        403: "{" in path,
        404: "{" in path or path == "/v1/audit",
        409: method in WRITES,
        413: method in WRITES,
    }
    error = schemas.content(ErrorBody)
    failed = {
        str(status): {"description": ERRORS[status], "headers": HEADERS.get(status, {}), "content": error}
        for status in may
        if may[status]
    }
    return {**done, **failed, "5XX": {"$ref": "#/components/responses/Error"}}


def routes(development: bool) -> list[Route]:
    made: list[bytes] = []  # once, when it is first asked for: then every route is described

    async def openapi(_request: Request) -> Response:
        if not made:
            made.append(msgspec.json.encode(document(development=development)))
        return answer(msgspec.Raw(made[0]))

    return [route("/v1/openapi.json", openapi, summary="This document", gives=dict[str, Any], open=True)]
