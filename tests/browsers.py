"""A Chromium without a screen and without the network, for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


def _command(folder: Path, *arguments: str) -> list[str]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    return [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments]
