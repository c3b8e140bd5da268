"""Memory returned to the system: weights of which an engine has its own copy, and what large buffers leave in the heap."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import lru_cache
from pathlib import Path

from torch import nn

_PAGEOUT = 21
"""MADV_PAGEOUT (Linux 5.4, madvise(2)): these pages will not be used soon. Pages of files are dropped and read again on the next access;
others stay, or go to swap. No data is lost, whatever kind of memory it is."""


def page_out_weights(module: nn.Module) -> None:
    """Advise the system that weights (a network's, or a layer's) will not be read for a while, and trim the heap.

    Of CNN14's mapped file 320 MB stop counting as resident; torch can use them at any time. Does nothing where the system has no
    such calls.
    """
    libc = _libc()
    if libc is None:
        return
    for parameter in module.parameters():
        start = -(-parameter.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (parameter.data_ptr() + parameter.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > start:
            libc.madvise(
                ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGEOUT
            )  # advice: may be refused
    libc.malloc_trim(0)


def trim_heap() -> None:
    """Return freed memory to the system that the C library keeps for later; does nothing where there is no such call."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def page_out_library(name: str) -> None:
    """The same for a library's code that is rarely needed again: its pages are read from its files when it is."""
    libc = _libc()
    if libc is None:
        return
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, rest = line.partition(" ")
        if name in rest:
            start, end = (int(edge, 16) for edge in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGEOUT)
    libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL | None:
    """The C library, on Linux, where it has both calls (glibc; musl has no malloc_trim)."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "madvise") and hasattr(library, "malloc_trim") else None
