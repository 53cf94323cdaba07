"""The embedded archive as a web application: DANDI's API, the bucket behind it, and pages to look at."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from dandify.archive import documents, manifests, pages, routes_data, routes_records
from dandify.archive.rules import Refused
from dandify.archive.state import URL_SECONDS, open_archive
from dandify.archive.validation import Validator
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
    validator = Validator(
        archive.db, lambda row: documents.asset_metadata(archive, row), lambda: manifests.write_stale(archive)
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        validator.start()
        try:
            yield
        finally:
            await run_in_threadpool(validator.stop)
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
        routes=[*routes_records.ROUTES, *routes_data.ROUTES, *pages.ROUTES],
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
