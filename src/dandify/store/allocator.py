"""The C library's allocator, told to use again what threads let go of: blocks of a few megabytes, over and over."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Final

_TRIM, _MMAP, _ARENAS = -1, -3, -8  # of mallopt, as glibc's malloc.h numbers them
_SETTINGS: Final = (
    (_ARENAS, 1),  # else each thread that decodes keeps what it once held, and another takes new memory
    (_MMAP, 32 * 2**20),  # where glibc's own threshold ends when blocks of that size have been freed
    (_TRIM, 64 * 2**20),
)
_ASKED: Final = ("MALLOC_", "GLIBC_TUNABLES")  # variables by which somebody has settled it


@cache
def reuse_memory() -> bool:
    """Have glibc's allocator keep one pool for all threads; once, and for the whole process.

    TensorStore's threads allocate a block for each chunk, encoded and decoded. With a pool for each of them, the
    memory of an image's verification grew with the image; and every new page costs a fault.

    Returns
    -------
    bool
        Whether that was done. Other C libraries have no such setting, and nothing is done.
    """
    if any(name.startswith(_ASKED) for name in os.environ):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        library = ctypes.CDLL(None)
        return all(library.mallopt(what, value) for what, value in _SETTINGS)
    except (AttributeError, ValueError, OSError, TypeError):  # Windows, macOS, musl
        return False
