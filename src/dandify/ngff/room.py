"""Memory for the passes over images: kept from one to the next, for systems charge the first use of each page."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Room:
    """Holds the arrays of the last pass."""

    def __init__(self) -> None:
        self._held: dict[Hashable, NDArray[np.uint8]] = {}

    def arrays(
        self, wanted: Mapping[Hashable, tuple[int, ...]], dtype: np.dtype[Any]
    ) -> dict[Hashable, NDArray[Any]]:  # fmt: skip
        """Give arrays by their names, of these shapes and anything in them; let go of what is not wanted."""
        sizes = {name: math.prod(shape) * dtype.itemsize for name, shape in wanted.items()}
        self._held = {name: held for name, held in self._held.items() if sizes.get(name) == held.nbytes}
        self._held |= {name: np.empty(size, np.uint8) for name, size in sizes.items() if name not in self._held}
        return {name: self._held[name].view(dtype).reshape(shape) for name, shape in wanted.items()}
