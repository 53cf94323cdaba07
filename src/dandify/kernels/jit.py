"""Numba compilation as every kernel uses it: without the GIL, cached on disk where that is possible."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
from numba.core import event

_F = TypeVar("_F", bound=Callable[..., object])
_SECONDS: Final = 2.0  # after which somebody may wonder what is going on; one more type of values takes less
_log = logging.getLogger(__name__)


class _Told(event.Listener):  # type: ignore[misc]  # numba has no types
    """Says once, in the log, that kernels are being compiled, if it takes long."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._told = False

    def on_start(self, event: Any) -> None:
        self._begun = self._begun or time.monotonic()

    def on_end(self, event: Any) -> None:
        if not self._told and self._begun is not None and time.monotonic() - self._begun > _SECONDS:
            self._told = True
            _log.info("compiling for this processor, as on the first use of each version; it takes half a minute or so")


event.register("numba:compile", _Told())


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


def inlined(function: _F) -> _F:
    """Make a function a part of each kernel that calls it, as if it were written out there.

    For large ones with a single caller: a kernel is compiled by itself, and once more, with all that it calls, within
    each that calls it.
    """
    kernel: _F = numba.njit(nogil=True, inline="always")(function)
    return kernel
