"""What every handler needs of HTTP: who asks, JSON bodies of bounded size, pages, and refusals as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dandify.archive.rules import Refused
from dandify.archive.state import Archive

_MAX_JSON_BYTES = 32 * 2**20
_PAGE_SIZE = 100
_MAX_PAGE_SIZE = 1000

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]


def archive_of(request: Request) -> Archive:
    """Return the archive that the application serves."""
    archive = request.app.state.archive
    assert isinstance(archive, Archive)
    return archive


def user_of(request: Request) -> str | None:
    """Return who asks; None without a token.

    Raises
    ------
    Refused
        401: the token is not one of the archive's.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    user = archive_of(request).user(token.strip()) if kind.lower() in ("token", "bearer") else None
    if user is None:
        raise Refused(401, "Invalid token.", headers={"WWW-Authenticate": "Token"})
    return user


def required_user(request: Request) -> str:
    """Return who asks; refuse with 401 without a token."""
    user = user_of(request)
    if user is None:
        raise Refused(401, "Authentication credentials were not provided.", headers={"WWW-Authenticate": "Token"})
    return user


async def read_json(request: Request) -> Any:
    """Return the JSON of the body.

    Raises
    ------
    Refused
        413: too long. 400: not JSON.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_JSON_BYTES:
            raise Refused(413, f"A request of more than {_MAX_JSON_BYTES} bytes of JSON is not accepted.")
    try:
        return json.loads(bytes(body))
    except ValueError as error:
        raise Refused(400, f"JSON parse error - {error}") from error


async def read_object(request: Request) -> Json:
    """Return the JSON object of the body; refuse another kind of JSON with 400."""
    found = await read_json(request)
    if not isinstance(found, dict):
        raise Refused(400, "A JSON object is expected.")
    return found


def paginated(request: Request, fetch: Callable[[int, int], tuple[int, list[Json]]]) -> JSONResponse:
    """Answer with the page that the query asks for.

    ``fetch(limit, offset)`` returns how many there are in all, and those of the page. ``next`` is the same URL with
    ``page`` raised by one: the client then asks for the rest in parallel.
    """
    page = _number(request, "page", 1)
    size = min(_number(request, "page_size", _PAGE_SIZE), _MAX_PAGE_SIZE)
    count, results = fetch(size, (page - 1) * size)
    url = request.url
    return JSONResponse(
        {
            "count": count,
            "next": str(url.include_query_params(page=page + 1)) if page * size < count else None,
            "previous": str(url.include_query_params(page=page - 1)) if page > 1 else None,
            "results": results,
        }
    )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise Refused(404, f"Invalid {name}: {text!r}.")
    return int(text)


def routes(path: str, handler: Handler, *methods: str) -> list[Route]:
    """Return the route of a path with and without its last slash: the client uses both."""
    return [Route(path, handler, methods=list(methods)), Route(path + "/", handler, methods=list(methods))]


async def refusal(request: Request, error: Exception) -> Response:
    """Answer a `Refused` in the form of the archive's own errors."""
    assert isinstance(error, Refused)
    return JSONResponse({"detail": error.detail}, status_code=error.status, headers=error.headers)


async def not_text(_request: Request, _error: Exception) -> Response:
    """Answer a request with half a surrogate pair in it, which JSON can write and no file or database can hold."""
    return JSONResponse({"detail": "The request has characters that are not Unicode text."}, status_code=400)


async def gone(_request: Request, _error: Exception) -> Response:
    """End a request whose client has hung up; what had arrived is removed already."""
    return Response(status_code=400)


async def storage_trouble(_request: Request, error: Exception) -> Response:
    """Answer when the disk does not take the records or the files, as when it is full."""
    said = error.strerror if isinstance(error, OSError) else error
    return JSONResponse({"detail": f"The archive's disk does not carry this out: {said}."}, status_code=507)
