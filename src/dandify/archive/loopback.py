"""Web servers for this machine alone: sockets on loopback addresses, and uvicorn as it suits them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from dandify.errors import BadRequest, DandifyError

STOP_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_START_SECONDS = 30
_BACKLOG = 512


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on a loopback address while the block runs.

    Parameters
    ----------
    host
        ``127.0.0.1``, ``localhost`` or ``::1``: these servers have no TLS and are not for a network.
    port
        0 takes a free one.

    Raises
    ------
    BadRequest
        ``host`` is not of this machine alone, or the port is taken.
    """
    if host not in _LOOPBACK:
        raise BadRequest(
            f"the embedded archive listens on this machine only, not on {host}",
            remedy="leave --host out; for a network use the DANDI archive",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is; a small answer, which is
    # written in two pieces, then takes 0.4 ms and not 40.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere this would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise BadRequest(
            f"port {port} of {host} cannot be used: {error.strerror}", remedy="leave --port out to take a free one"
        ) from error
    with listener:
        yield listener


def server_of(app: Any) -> uvicorn.Server:
    """Give the server of an ASGI application; it writes no log but warnings, and ends open requests after 3 s."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,  # longer than a client pauses between two requests on one connection
            timeout_graceful_shutdown=3,
        )
    )


def wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    """Wait until a server that runs in a thread answers requests.

    Raises
    ------
    DandifyError
        If it does not start.
    """
    pause = threading.Event()
    for _ in range(int(_START_SECONDS / 0.02)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.02)
    raise DandifyError("the server did not start", remedy="take another port, or leave it out")


@contextmanager
def running(app: Any, listener: socket.socket, name: str) -> Iterator[None]:
    """Serve an application in a thread of this process while the block runs; it is stopped however the block ends."""
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=name, daemon=True)
    thread.start()
    try:
        wait_until_started(server, thread)
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            server.force_exit = True
            thread.join(STOP_SECONDS)
