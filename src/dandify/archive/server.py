"""The embedded archive as a web application: DANDI's API, and the bucket behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from dandify.archive import routes_data, routes_records
from dandify.archive.rules import Refused
from dandify.archive.state import URL_SECONDS, open_archive
from dandify.archive.web import gone, not_text, refusal, storage_trouble


def create_app(
    folder: Path, *, base_url: str, tokens: Mapping[str, str] | None = None, url_seconds: float = URL_SECONDS
) -> Starlette:
    """Return the application that serves the archive kept in ``folder``.

    The folder is made if absent, and locked to this process until the application shuts down.

    Parameters
    ----------
    folder
        Where records (``archive.sqlite``) and files (``blobs/``, ``zarr/``) are kept.
    base_url
        ``http://host:port``, as clients reach it.
    tokens
        API key to user name; without it the folder's own token, which is in ``app.state.archive.tokens``.
    url_seconds
        How long signed URLs are good for.

    Raises
    ------
    DandifyError
        Another server has the folder, or its database cannot be read.
    """
    archive = open_archive(folder, base_url=base_url, tokens=tokens, url_seconds=url_seconds)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            archive.close()

    # Viewers in a browser read the bucket from any site, as they do DANDI's; writing needs the token or a signed URL.
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "HEAD", "OPTIONS"],
        allow_headers=["*"],
        expose_headers=["ETag", "Content-Length", "Content-Range", "Accept-Ranges"],
    )
    app = Starlette(
        routes=[*routes_records.ROUTES, *routes_data.ROUTES],
        middleware=[cors],
        exception_handlers={
            Refused: refusal,
            UnicodeEncodeError: not_text,
            ClientDisconnect: gone,
            sqlite3.OperationalError: storage_trouble,
            OSError: storage_trouble,
        },
        lifespan=lifespan,
    )
    app.state.archive = archive
    return app
