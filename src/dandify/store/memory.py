"""Memory caps: parsed, planned before the first byte, refused when too small."""

from __future__ import annotations

import re

from dandify.errors import BadRequest

_UNITS = {
    "": 1,
    "B": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def parse_bytes(text: str | float) -> int:
    """Bytes of a size such as ``500MB``, ``1GB``, ``2GiB`` or a number of them.

    Raises
    ------
    BadRequest
        If it is not a positive size.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        if 1 <= text < float("inf"):
            return int(text)
    elif (
        isinstance(text, str)
        and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper()))
        and found[2] in _UNITS
    ):
        value = int(float(found[1]) * _UNITS[found[2]])
        if value > 0:
            return value
    raise BadRequest(f"{text!r} is not a size", remedy="write it as 500MB, 1GB or 2GiB")
