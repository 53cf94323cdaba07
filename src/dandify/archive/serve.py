"""Run the embedded archive: in the foreground for people, in a thread for the demo and tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from dandify.archive.client import LOCAL_PORT
from dandify.archive.loopback import STOP_SECONDS, listening, server_of, wait_until_started
from dandify.archive.server import create_app
from dandify.archive.state import URL_SECONDS, Archive
from dandify.errors import BadRequest


@dataclass(frozen=True)
class Serving:
    """An archive that is being served.

    Attributes
    ----------
    url
        ``http://127.0.0.1:port``: what ``--to`` and ``dandi -i`` take.
    token
        The API key that writing needs.
    folder
        Where it keeps its files.
    """

    url: str
    token: str
    folder: Path

    @property
    def how_to(self) -> str:
        """How to use it, in commands."""
        instance = urlsplit(self.url).netloc
        to = "local" if urlsplit(self.url).port == LOCAL_PORT else self.url
        return (
            f"archive of {self.folder} at {self.url}\n"
            f"  DANDIFY_API_KEY={self.token} dandify upload DANDISET --to {to} --create\n"
            f"  env '{instance}_API_KEY={self.token}' DANDI_NO_ET=1 dandi upload -i {self.url} DANDISET\n"
            f"  dandi download {self.url}/api/dandisets/000001/versions/draft\n"
            "  Ctrl-C stops it; what it was given stays in the folder."
        )


def serve(
    folder: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    ready: Callable[[Serving], None] | None = None,
) -> None:
    """Serve the archive kept in ``folder`` until Ctrl-C.

    Parameters
    ----------
    folder
        Made if absent.
    host
        A loopback address: the archive has one key and no TLS, so it is not for a network.
    port
        0 takes a free one; None takes the usual one, 8765, or if that is taken a free one.
    ready
        Called when requests are answered.

    Raises
    ------
    BadRequest
        ``host`` is not of this machine alone, or the port is taken.
    DandifyError
        Another server has the folder.
    """
    with _listening(host, port) as listener:
        server, serving, archive = _prepare(Path(folder), listener, host)
        watcher = threading.Thread(target=_announce, args=(server, serving, ready), daemon=True)
        watcher.start()
        try:
            with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has shut down
                server.run(sockets=[listener])
        finally:
            archive.close()


@contextmanager
def _listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """Listen on a port, or on the usual one, or where that is taken on a free one."""
    with contextlib.ExitStack() as stack:
        if port is not None:
            yield stack.enter_context(listening(host, port))
            return
        try:
            listener = stack.enter_context(listening(host, LOCAL_PORT))
        except BadRequest:
            listener = stack.enter_context(listening(host, 0))
        yield listener


class RunningArchive:
    """An embedded archive that runs in a thread of this process.

    Attributes
    ----------
    url, token, folder
        As of `Serving`.
    """

    def __init__(self, serving: Serving, server: uvicorn.Server, thread: threading.Thread) -> None:
        self.url = serving.url
        self.token = serving.token
        self.folder = serving.folder
        self._server = server
        self._thread = thread

    def stop(self) -> None:
        """Finish the requests under way, then stop; doing it twice does no harm."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(STOP_SECONDS)


@contextmanager
def running_archive(
    folder: Path, *, port: int = 0, tokens: Mapping[str, str] | None = None, url_seconds: float = URL_SECONDS
) -> Iterator[RunningArchive]:
    """Serve the archive kept in ``folder`` on 127.0.0.1 while the block runs; it is stopped however the block ends.

    ``port`` 0 takes a free one; ``tokens`` and ``url_seconds`` are those of `create_app`.

    Raises
    ------
    BadRequest
        The port is taken.
    DandifyError
        Another server has the folder, or the server did not start.
    """
    with listening("127.0.0.1", port) as listener:
        server, serving, archive = _prepare(folder, listener, "127.0.0.1", tokens=tokens, url_seconds=url_seconds)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="dandify-archive", daemon=True
        )
        running = RunningArchive(serving, server, thread)
        thread.start()
        try:
            wait_until_started(server, thread)
            yield running
        finally:
            running.stop()
            archive.close()


def _prepare(
    folder: Path,
    listener: socket.socket,
    host: str,
    *,
    tokens: Mapping[str, str] | None = None,
    url_seconds: float = URL_SECONDS,
) -> tuple[uvicorn.Server, Serving, Archive]:
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listener.getsockname()[1]}"
    app = create_app(folder, base_url=url, tokens=tokens, url_seconds=url_seconds)
    token = next(iter(app.state.archive.tokens))
    return server_of(app), Serving(url, token, folder), app.state.archive


def _announce(server: uvicorn.Server, serving: Serving, ready: Callable[[Serving], None] | None) -> None:
    pause = threading.Event()
    while not server.started and not server.should_exit:
        pause.wait(0.02)
    if server.started and ready is not None:
        ready(serving)
