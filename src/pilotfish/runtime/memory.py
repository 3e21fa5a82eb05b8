"""Memory that was held for once goes back to the system: settings of glibc's malloc, where that is what there is.

Left to itself, it serves megabytes from the heap once the first were freed, and makes each of gRPC's threads a heap of
its own; what is freed in the middle of one stays the process's. Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGE: Final = 1 << 20
"""Bytes from which on a piece is mapped by itself, and is given back when it is freed."""
_HEAPS: Final = 2

_libc = ctypes.CDLL(None)


def keep_little() -> None:
    """To be called before threads are started."""
    set_option = getattr(_libc, "mallopt", None)
    if set_option is not None:
        for option, value in ((_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE), (_ARENA_MAX, _HEAPS)):
            set_option(option, value)


def give_back() -> None:
    """What is free in the middle of the heaps, too. Takes a few milliseconds for each 100 MB that are held."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
