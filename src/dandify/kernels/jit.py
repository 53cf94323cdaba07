"""Numba compilation as every kernel uses it: without the GIL, cached on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., object])


def compiled(function: _F) -> _F:
    """Compile a kernel at its first call.

    The machine code is kept beside the module, or in the user's cache folder. Where neither can be written (a
    read-only install, a container without a home) numba refuses to cache, and the kernel is compiled in each process.
    """
    try:
        kernel: _F = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # "cannot cache function: no locator available"
        kernel = numba.njit(nogil=True)(function)
    return kernel
