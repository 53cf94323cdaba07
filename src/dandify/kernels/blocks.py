"""A deflate block of literals and matches at many distances: its codes, and whether it is worth them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.bits import Bits
from dandify.kernels.huffman import DISTANCES, LITERALS, LONGEST, canonical, code_lengths, put_header
from dandify.kernels.jit import compiled
from dandify.kernels.planar import put_stored

Codes = tuple[NDArray[np.uint8], NDArray[np.uint32]]
"""Lengths of the codes, 0 for symbols without one, and the codes."""


@compiled
def codes_of(counts: NDArray[np.int64]) -> Codes:
    """Give the code of each symbol that occurs."""
    lengths, codes = np.zeros(counts.size, np.uint8), np.zeros(counts.size, np.uint32)
    code_lengths(counts, np.int64(LONGEST), lengths)
    canonical(lengths, codes)
    return lengths, codes


@compiled
def put_head(
    out: NDArray[np.uint8], state: Bits, plane: NDArray[np.uint8], start: Any, stop: Any, counts: NDArray[np.int64],
    far_counts: NDArray[np.int64], extra_bits: Any,
) -> tuple[Bits, Any, Codes, Codes]:  # fmt: skip
    """Begin a block of a stretch of a plane; or store the stretch, where that is no longer.

    Parameters
    ----------
    out, state
        As of `dandify.kernels.bits.put`.
    plane, start, stop
        The stretch.
    counts, far_counts
        (286,) literals, the end and lengths, and (30,) distances, as they will be written.
    extra_bits
        Of all lengths and distances.

    Returns
    -------
    tuple
        The state, whether a block has begun, the codes of literals and lengths, and those of distances.
    """
    near, far = codes_of(counts), codes_of(far_counts)
    state, size = put_header(out, state, near[0], far[0], np.bool_(False))
    size += extra_bits
    for n in range(LITERALS):
        size += counts[n] * np.int64(near[0][n])
    for n in range(DISTANCES):
        size += far_counts[n] * np.int64(far[0][n])
    if size >= 8 * (stop - start):
        return put_stored(out, state, plane, start, stop), False, near, far
    state, _ = put_header(out, state, near[0], far[0], np.bool_(True))
    return state, True, near, far
