"""Real acquisition files beside the repository; tests that use them skip where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"
ROOT = Path(os.environ.get("DANDIFY_SHARED_DATA", _DEFAULT))


def shared(path: str) -> Path:
    """Return a real file or folder; skip the test where it is absent."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"real data absent: {path} (set DANDIFY_SHARED_DATA to the folder that holds it)")
    return found
