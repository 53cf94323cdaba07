"""Exact changes of integers: the common factor of many of them, and subtraction with division that leaves no rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.kernels.jit import compiled


@compiled
def survey(values: NDArray[Any], first: Any, factor: Any) -> tuple[Any, Any, Any]:
    """Find the least and the greatest value, and what divides all distances from ``first``.

    Parameters
    ----------
    values
        (n,) integers of at most 32 bits, n > 0.
    first
        int64; of the values of the whole array.
    factor
        int64; what divides the distances of the values before; 0 if there were none.

    Returns
    -------
    tuple
        Factor, least, greatest; int64. The factor is 0 if all values are ``first``; at 1 no more are divided.
    """
    low = high = values[0]
    for i in range(values.size):  # a loop of its own, that is vectorized
        low = min(low, values[i])
        high = max(high, values[i])
    divisor = np.uint32(factor)
    for i in range(values.size):
        if divisor == 1:
            break
        distance = np.uint32(abs(np.int64(values[i]) - first))
        if divisor == 0:
            divisor = distance
        elif distance % divisor:
            rest = distance
            while rest:
                divisor, rest = rest, divisor % rest
    return np.int64(divisor), np.int64(low), np.int64(high)


@compiled
def reduce(values: NDArray[Any], origin: Any, factor: Any, out: NDArray[Any]) -> Any:
    """Subtract and divide: ``out = (values - origin) / factor``.

    Parameters
    ----------
    values
        (n,) integers of at most 32 bits.
    origin, factor
        int64; the factor is not 0.
    out
        (n,) of any such type.

    Returns
    -------
    int
        How many do not divide without rest, or do not fit into ``out``.
    """
    wrong = 0
    if factor == 1:
        for i in range(values.size):
            quotient = np.int64(values[i]) - origin
            out[i] = quotient
            wrong += np.int64(out[i]) != quotient
        return wrong
    inverse = 1.0 / np.float64(factor)  # a distance has 33 bits at most: the nearest whole number is the right one
    for i in range(values.size):
        distance = np.int64(values[i]) - origin
        quotient = np.int64(np.floor(np.float64(distance) * inverse + 0.5))
        out[i] = quotient
        wrong += (np.int64(out[i]) != quotient) | (quotient * factor != distance)
    return wrong
