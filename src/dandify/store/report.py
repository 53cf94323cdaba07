"""What a finished write reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DatasetReport:
    """One array that the engine wrote.

    Attributes
    ----------
    name
        ``ElectricalSeries/data``.
    path_in_file
        ``/acquisition/ElectricalSeries/data``.
    shape, dtype
        As stored; the dtype with its byte order, ``<i2``.
    raw_bytes, stored_bytes
        Size of the values, and of the encoded chunks.
    xxh128
        XXH3-128 checksum of the values in C order, taken while they were read; None where the chunk shape and the
        memory allowed no reading in that order (chunks then have their own checksums).
    verified
        Every chunk was decoded, compared with its source, and read back.
    """

    name: str
    path_in_file: str
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    stored_bytes: int
    xxh128: str | None
    verified: bool


@dataclass(frozen=True)
class WriteReport:
    """What a writer of the engine did.

    Attributes
    ----------
    path
        The output.
    datasets
        The arrays that the engine wrote.
    raw_bytes, stored_bytes
        Their sizes added up.
    output_bytes
        Size of the whole output.
    seconds
        Wall time, verification included.
    manifest
        The manifest beside the output.
    notes
        What a person should know: that a stopped run was gone on with, or why it was not.
    """

    path: Path
    datasets: tuple[DatasetReport, ...]
    raw_bytes: int
    stored_bytes: int
    output_bytes: int
    seconds: float
    manifest: Path
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Raw bytes for each stored byte."""
        return self.raw_bytes / self.stored_bytes if self.stored_bytes else 1.0

    @property
    def mb_per_s(self) -> float:
        """Raw megabytes per second of wall time."""
        return self.raw_bytes / 1e6 / self.seconds if self.seconds else 0.0

    @property
    def verified(self) -> bool:
        """Every array was verified."""
        return all(d.verified for d in self.datasets)
