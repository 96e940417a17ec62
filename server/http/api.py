"""What every HTTP endpoint shares: the service key, bodies as types, errors as JSON, Idempotency-Key."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from protocol import careful
from protocol.ids import PLACE_WORDS, USER_WORDS, GoalId, PersonId, RoomId, UserId
from protocol.refusals import Refusal, Refused
from server import limits
from server.money.results import fingerprint
from server.rooms.history import NoSuchRoom
from server.store import keys
from server.store.client import Store, StoreError
from server.store.cluster import ClusterStore
from server.text import NotSeen, clean

log = structlog.get_logger()
T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class ErrorShown(Struct, frozen=True):
    """Why a request failed. Some reasons come with more fields."""

    reason: str
    message: str


class ErrorBody(Struct, frozen=True):
    """The body of every error."""

    error: ErrorShown


class HttpError(Exception):
    """An error response. `data` has its extra fields."""

    def __init__(self, status: int, reason: str, message: str, **data: Any) -> None:
        super().__init__(reason)
        self.status, self.reason, self.message, self.data = status, reason, message, data


class Gate(NamedTuple):
    """What every endpoint checks: the service key, and the store that remembers Idempotency-Keys."""

    service_key: str
    store: Store | ClusterStore
    development: bool = False
    origins: tuple[str, ...] = ()  # whose pages may read what is open


def _gate_of(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


class Described(Struct, frozen=True):
    """What the OpenAPI document says of an endpoint."""

    summary: str
    body: Any = None
    query: Any = None
    gives: tuple[Any, ...] = ()  # one of these types; text, and not JSON, if it is str
    statuses: tuple[int, ...] = (200,)  # that are not errors
    open: bool = False
    open_here: bool = False  # open in development only
    media: tuple[str, ...] = ()  # other types of content than JSON that the query may ask for


WRITES = ("POST", "PUT", "PATCH", "DELETE")
DESCRIBED: dict[tuple[str, str], Described] = {}


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def route(
    path: str,
    endpoint: Endpoint,
    *,
    method: str = "GET",
    summary: str,
    body: Any = None,
    query: Any = None,
    gives: Any = None,
    statuses: tuple[int, ...] = (200,),
    open: bool = False,
    open_here: bool = False,
    shared: bool = True,
    people: bool = False,
    check: Callable[[Request], None] | None = None,
    media: tuple[str, ...] = (),
    also: Callable[[Request], None] | None = None,
) -> Route:
    """Make a route. It needs the service key unless it is `open`, and writes honour Idempotency-Key.

    An open one is for other origins' pages, too, unless it is not to be `shared`. The OpenAPI document names the types
    of its `body` and `query`, what it `gives` (one type or several), and its `statuses` that are not errors.
    With `people` the endpoint itself looks who asks: besides the key, people may have their own tokens.
    `check` may raise HttpError before anything is remembered under an Idempotency-Key. `also` says who may besides
    those with the service key: it raises HttpError for others.
    """
    types = gives if isinstance(gives, tuple) else () if gives is None else (gives,)
    DESCRIBED[(path, method)] = Described(summary, body, query, types, statuses, open, open_here, media)
    if people:
        endpoint = _for_people(endpoint)
    elif not open:
        endpoint = _with_key(_checked(_once(endpoint) if method in WRITES else endpoint, check), open_here, also)
    endpoint = _answering_errors(endpoint)
    return Route(path, _for_other_origins(endpoint) if open and shared else endpoint, methods=[method])


def origin_headers(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    """The headers with which a page of another origin may read an answer (Fetch Standard, "CORS protocol")."""
    if "*" in origins:
        return {"Access-Control-Allow-Origin": "*"}
    vary = {"Vary": "Origin"} if origins else {}
    return {**vary, "Access-Control-Allow-Origin": origin} if origin in origins and origin is not None else vary


def _for_other_origins(endpoint: Endpoint) -> Endpoint:
    async def shared(request: Request) -> Response:
        response = await endpoint(request)
        if not request.headers.get("authorization"):  # who shows a key or a token may get more than others
            response.headers.update(origin_headers(_gate_of(request).origins, request.headers.get("origin")))
        return response

    return shared


async def body(request: Request, kind: type[T]) -> T:
    """Decode the request's body. An empty one is an error, because it may have been lost. Raises HttpError."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limits.BODY_BYTES_MAX:
            raise HttpError(413, "too_large", f"The body may have {limits.BODY_BYTES_MAX} bytes.")
    if not data:
        raise HttpError(400, "bad_request", "The request needs a body; {} is enough where every field is optional.")
    try:
        value = careful.decode_body(bytes(data))
        decoded = msgspec.convert(value, kind)  # first: it stops at the first of a thousand bad keys
        fault = careful.fault_of(value)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise HttpError(400, "bad_request", f"The body is not valid: {error}") from None
    if fault is not None:
        raise HttpError(400, "bad_request", f"The body is not valid: {fault}")
    return decoded


def shown(name: str, text: str, chars_max: int) -> str:
    """A text as everybody sees it. Raises HttpError when nobody would see anything."""
    try:
        return clean(text, chars_max)
    except NotSeen:
        raise HttpError(400, "bad_request", f"The {name} has nothing to see.") from None


def query(request: Request, kind: type[T]) -> T:
    """Decode the query. A filter that is misspelt or stands twice is an error, and not some other list.

    Raises HttpError.
    """
    given = request.query_params
    if len(given.multi_items()) > len(given):
        raise HttpError(400, "bad_request", "The query is not valid: a key stands twice.")
    try:
        return msgspec.convert(dict(given), kind, strict=False)
    except msgspec.ValidationError as error:
        raise HttpError(400, "bad_request", f"The query is not valid: {error}") from None


def next_page(asked: Struct, cursor: str | None, name: str = "after") -> str | None:
    """The query of the next page: the same with another cursor. None when there is no more."""
    if cursor is None:
        return None
    same = {key: value for key, value in msgspec.structs.asdict(asked).items() if value is not None}
    return urlencode({**same, name: cursor})


def room_id_of(request: Request) -> RoomId:
    return _path_id(request, "room", RoomId, PLACE_WORDS)


def user_id_of(request: Request) -> UserId:
    return _path_id(request, "user", PersonId, USER_WORDS)


def goal_id_of(request: Request) -> GoalId:
    return _path_id(request, "goal", GoalId, PLACE_WORDS)


def overlay_id_of(request: Request) -> UserId:
    """The id of an overlay link, which is who its sockets are."""
    return _path_id(request, "overlay", UserId, USER_WORDS)


def _path_id(request: Request, name: str, kind: Any, words: str) -> str:
    try:
        return str(msgspec.convert(request.path_params[name], kind))
    except msgspec.ValidationError:
        raise HttpError(400, "bad_request", f"The {name} id must be {words}.") from None


def bearer(request: Request) -> str:
    """The key or token of the Authorization header; empty without one, and with several."""
    given = set(request.headers.getlist("authorization"))
    scheme, _, key = (given.pop() if len(given) == 1 else "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def has_key(request: Request) -> bool:
    """Whether the request comes with the service key."""
    return hmac.compare_digest(bearer(request).encode(), _gate_of(request).service_key.encode())


def _for_people(endpoint: Endpoint) -> Endpoint:
    """Honour Idempotency-Key with the service key only: nobody else's answer is shown to a person who repeats one."""
    with_key = _once(endpoint)

    async def asked(request: Request) -> Response:
        return await (with_key if request.method in WRITES and has_key(request) else endpoint)(request)

    return asked


def _checked(endpoint: Endpoint, check: Callable[[Request], None] | None) -> Endpoint:
    async def checked(request: Request) -> Response:
        if check is not None:
            check(request)
        return await endpoint(request)

    return checked


def _with_key(endpoint: Endpoint, open_here: bool, also: Callable[[Request], None] | None) -> Endpoint:
    async def guarded(request: Request) -> Response:
        if not has_key(request) and not (open_here and _gate_of(request).development):
            if also is None or not bearer(request):
                raise HttpError(401, "unauthorized", _why_no_key(request))
            also(request)
        return await endpoint(request)

    return guarded


def _why_no_key(request: Request) -> str:
    if not request.headers.get("authorization"):
        return "The service key is needed: send `Authorization: Bearer <the key>`."
    if not bearer(request):
        return "The Authorization header must be one `Bearer <the service key>`."
    return "The service key in the Authorization header is wrong."


def _answering_errors(endpoint: Endpoint) -> Endpoint:
    """Turn an endpoint's errors into responses. This is the only place that does."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except HttpError as error:
            return _error(error.status, error.reason, error.message, error.data)
        except NoSuchRoom:
            return _error(404, "no_such_room", "There is no such room.", {})
        except Refused as refused:
            away = refused.reason is Refusal.WALLET_UNAVAILABLE  # its sentence is for who sends gifts
            sentence = _NO_MONEY if away else refused.reason.sentence
            return _error(503 if away else 409, refused.reason.value, sentence, refused.data)
        except ClientDisconnect:  # the body stopped half-way: nothing was done, and nobody reads the answer
            log.debug("http_body_cut", path=request.url.path)
            return Response(status_code=400)
        except (StoreError, SQLAlchemyError) as error:
            log.warning("http_unavailable", path=request.url.path, error=str(error)[:200])
            return _error(503, "unavailable", "A store is away; try again.", {})

    return answered


_NO_MONEY = "No money can be moved or shown for a moment; send the request again, with the same id if it has one."
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": str(limits.RETRY_AFTER_S)}}


def _error(status: int, reason: str, message: str, data: dict[str, Any]) -> Response:
    return answer({"error": {"reason": reason, "message": message, **data}}, status, _HEADERS.get(status))


class _First(Struct, frozen=True):
    """The first answer to an Idempotency-Key. `status` is 0 until it is ready."""

    fingerprint: str
    status: int
    body: msgspec.Raw


def _once(endpoint: Endpoint) -> Endpoint:
    """Return the first answer again when an Idempotency-Key is repeated. With another payload it is a conflict."""

    async def once(request: Request) -> Response:
        given = set(request.headers.getlist("idempotency-key"))
        if not given:
            return await endpoint(request)
        if len(given) > 1:
            raise HttpError(400, "bad_request", "There are several Idempotency-Keys.")
        key = given.pop()
        if not 0 < len(key) <= limits.IDEMPOTENCY_KEY_CHARS_MAX:
            raise HttpError(400, "bad_request", "The Idempotency-Key is too long.")
        store = _gate_of(request).store
        payload = fingerprint(request.method, request.url.path, (await _whole_body(request)).hex())
        begun = msgspec.json.encode(_First(payload, 0, msgspec.Raw(b"null")))
        name = keys.idempotency(key)
        if await store.call("SET", name, begun, "NX", "EX", limits.IDEMPOTENCY_BEGUN_S) is None:
            return _again(payload, await store.call("GET", name))
        try:
            response = await endpoint(request)
        except BaseException:
            await store.call("DEL", name)  # nothing was decided, so the client may use the key again
            raise
        done = msgspec.json.encode(_First(payload, response.status_code, msgspec.Raw(bytes(response.body))))
        await store.call("SET", name, done, "EX", limits.IDEMPOTENCY_S)
        return response

    return once


async def _whole_body(request: Request) -> bytes:
    """Read the whole body, and keep it for `Request.stream` to return again."""
    if int(request.headers.get("content-length", "0") or 0) > limits.BODY_BYTES_MAX:
        raise HttpError(413, "too_large", f"The body may have {limits.BODY_BYTES_MAX} bytes.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limits.BODY_BYTES_MAX:
            raise HttpError(413, "too_large", f"The body may have {limits.BODY_BYTES_MAX} bytes.")
    request._body = bytes(data)
    return bytes(data)


def _again(payload: str, written: bytes | None) -> Response:
    first = msgspec.json.decode(written, type=_First) if written else None
    if first is None or first.status == 0:
        raise HttpError(409, "in_progress", "A request with this Idempotency-Key is under way; try again.")
    if first.fingerprint != payload:
        raise HttpError(409, "conflict", "This Idempotency-Key was used for another request.")
    return Response(bytes(first.body), first.status, {"Idempotency-Replayed": "true"}, media_type="application/json")


_SENTENCES = {  # in place of Starlette's own words
    "Not Found": "There is nothing at this address.",
    "Method Not Allowed": "This address does not take this method; the Allow header names those that it takes.",
}


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "not_found", 405: "method_not_allowed", 426: "upgrade_required"}.get(error.status_code, "error")
    response = _error(error.status_code, reason, _SENTENCES.get(error.detail, error.detail), {})
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return response


def _methods_at(request: Request) -> set[str]:
    """The methods of this address: of every route like the first that matches. Starlette names only its own."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    alike = [route for route in matching if route.path == matching[0].path]  # more general ones answer 404
    return {method for route in alike for method in route.methods or ()} or {"GET", "HEAD"}  # a folder of files


async def _server_error(request: Request, error: Exception) -> Response:
    log.error("http_failed", path=request.url.path, error=repr(error))
    return _error(500, "internal", "Something went wrong here.", {})


def install(app: Starlette, gate: Gate) -> None:
    """Give the endpoints their gate. Answer Starlette's own errors as JSON, too."""
    app.state.gate = gate
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _server_error)
