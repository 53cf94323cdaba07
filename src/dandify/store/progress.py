"""What a long job reports while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Passed(NamedTuple):
    """Bytes of a dataset that passed since the last word: raw ones read and encoded, and those stored."""

    read: int = 0
    encoded: int = 0
    stored: int = 0


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
    read_bytes, encoded_bytes, stored_bytes
        Of a stage that encodes: raw bytes read, raw bytes encoded and written, and what these take in the output. A
        read is ahead of what is written by what memory holds.
    """

    stage: str
    name: str
    done_bytes: int
    total_bytes: int
    read_bytes: int = 0
    encoded_bytes: int = 0
    stored_bytes: int = 0


ProgressCallback = Callable[[Progress], None]
