"""Serves a folder to viewers in the browser of this machine: to pages of any origin, parts of files too."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dandify.archive.loopback import listening, running


@contextmanager
def served(folder: Path, *, port: int = 0) -> Iterator[str]:
    """Serve the files of a folder on 127.0.0.1 while the block runs.

    Any page may read them, so that the address has a part nobody can guess.

    Parameters
    ----------
    folder
        What lies in it, and nothing beside it, is served.
    port
        0 takes a free one.

    Yields
    ------
    str
        ``http://127.0.0.1:PORT/SECRET``, to be followed by ``/`` and a path within the folder.

    Raises
    ------
    BadRequest
        The port is taken.
    """
    secret = secrets.token_urlsafe(16)
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "HEAD"], allow_headers=["*"],
        expose_headers=["Accept-Ranges", "Content-Length", "Content-Range", "ETag"],
    )  # fmt: skip
    app = Starlette(routes=[Mount(f"/{secret}", StaticFiles(directory=folder))], middleware=[cors])
    with listening("127.0.0.1", port) as listener, running(app, listener, "dandify-view"):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{secret}"
