"""A Chromium without a screen and without the network, for tests."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=900,800",
)  # fmt: skip
WEBGL = ("--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--ignore-gpu-blocklist")


@contextmanager
def browser(url: str, folder: Path, *arguments: str) -> Iterator[None]:
    """Have a page open while the block runs."""
    process = subprocess.Popen(_command(folder, *arguments, url), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def document(url: str, folder: Path, *arguments: str) -> str:
    """The page's document after its script has run, as HTML."""
    done = subprocess.run(
        _command(folder, "--dump-dom", *arguments, url), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def screenshot(url: str, folder: Path) -> Path:
    """A picture of a page."""
    file = folder / "page.png"
    subprocess.run(_command(folder, f"--screenshot={file}", url), capture_output=True, timeout=60, check=True)
    return file


def seen(url: str, folder: Path, enough: Callable[[NDArray[Any]], bool], *arguments: str) -> NDArray[Any]:
    """What a page shows, (rows, columns, RGB), once that is enough; for pages that are not done when they are loaded.

    Raises
    ------
    TimeoutError
        If it is not enough after two minutes.
    """
    port = folder / "profile/DevToolsActivePort"
    with browser(url, folder, "--remote-debugging-port=0", "--remote-allow-origins=*", *arguments):
        deadline = time.monotonic() + 120
        while not port.is_file() or len(port.read_text().split()) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError("Chromium did not start")
            time.sleep(0.1)
        return asyncio.run(_seen(int(port.read_text().split()[0]), folder, enough, deadline))


async def _seen(port: int, folder: Path, enough: Callable[[NDArray[Any]], bool], deadline: float) -> NDArray[Any]:
    """Ask Chromium for pictures, by its DevTools protocol."""
    from PIL import Image
    from tornado.websocket import websocket_connect

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        page = next(p for p in json.load(answer) if p["type"] == "page")
    connection = await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=1 << 28)
    number = 0
    try:
        while time.monotonic() < deadline:
            number += 1
            await asyncio.sleep(1)
            await connection.write_message(json.dumps({"id": number, "method": "Page.captureScreenshot"}))
            answered: dict[str, Any] = {}
            while answered.get("id") != number:
                answered = json.loads(await connection.read_message() or "null") or {"id": number}
            data = base64.b64decode(answered["result"]["data"])
            found = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            Image.fromarray(found).save(folder / "seen.png")  # to be looked at where it never is enough
            if enough(found):
                return found
    finally:
        connection.close()
        while await connection.read_message() is not None:
            pass
        await asyncio.sleep(0.1)  # the socket is closed by the loop
    raise TimeoutError(f"{number} pictures, and none was enough")


def _command(folder: Path, *arguments: str) -> list[str]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    return [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments]
