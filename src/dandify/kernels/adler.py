"""Adler-32 (RFC 1950), where the GIL is not held: twenty chunks of a hundred kilobytes are summed up in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled


@compiled
def adler32(rows: NDArray[np.uint8]) -> Any:
    """Checksum of rows, (rows, bytes), one behind another."""
    low, high = np.int64(1), np.int64(0)
    for row in range(rows.shape[0]):
        line = rows[row]
        start = 0
        while start < line.size:
            part = line[start : start + 4096]  # all sums of so many stay below 2**32
            count = part.size
            plain, weighted = np.uint32(0), np.uint32(0)
            for i in range(count):
                value = np.uint32(part[i])
                plain += value
                weighted += value * np.uint32(count - i)
            high = (high + count * low + np.int64(weighted)) % 65521
            low = (low + np.int64(plain)) % 65521
            start += 4096
    return high << 16 | low
