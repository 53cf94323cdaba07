"""What a long job reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a job.

    Attributes
    ----------
    stage
        ``write`` or ``verify``.
    name
        What is worked on: a stream or an image.
    done_bytes, total_bytes
        Raw bytes finished, and in all.
    """

    stage: str
    name: str
    done_bytes: int
    total_bytes: int


ProgressCallback = Callable[[Progress], None]
