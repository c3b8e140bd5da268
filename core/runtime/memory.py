"""Memory returned to the system: weights of which an engine has its own copy, and what large buffers leave in the heap."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import nn

_PAGEOUT = 21
"""MADV_PAGEOUT (Linux 5.4, madvise(2)): these pages will not be used soon. Pages of files are dropped and read again on the next access;
others stay, or go to swap. No data is lost, whatever kind of memory it is."""


_DONTNEED = 4
"""MADV_DONTNEED: the pages are not the process's any more; those of a file are mapped again from the system's cache on the next access.
Other than the above it works where another process uses them too, and what had been written to them would be lost."""

_LIBRARY = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d*\s+\S+\.so[.\d]*$(?:\n(?![0-9a-f]+-).*)*?\nAnonymous:\s+0 kB$",
    re.M,
)
"""A read-only part of a library's file in /proc/self/smaps, of which no page was written to: its relocated tables were."""


def page_out_weights(module: nn.Module) -> None:
    """Advise the system that weights (a network's, or a layer's) will not be read for a while, and trim the heap.

    Of CNN14's mapped file 320 MB stop counting as resident; torch can use them at any time. Does nothing where the system has no
    such calls.
    """
    _page_out(module)
    trim_heap()


@contextmanager
def weights_paged_out_after_use(network: nn.Module) -> Iterator[None]:
    """Inside the ``with`` block every layer's weights are paged out once it has run: a pass holds the largest layer's, not all."""
    layers = [layer for layer in network.modules() if next(layer.parameters(recurse=False), None) is not None]
    hooks = [layer.register_forward_hook(lambda used, _inputs, _outputs: _page_out(used)) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def page_out_array(array: np.ndarray) -> None:
    """``page_out_weights`` for a contiguous part of a layer's weights; the heap is not trimmed."""
    _advise(array.ctypes.data, array.nbytes)


def trim_heap() -> None:
    """Return freed memory to the system that the C library keeps for later; does nothing where there is no such call."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def drop_library_pages() -> None:
    """Take libraries' code out of the process's memory; what is needed again is mapped again, from the system's cache of files.

    Starting, building an engine and drawing the first page touch 200 MB of libraries, of which 60 are needed again.
    """
    libc = _libc()
    if libc is None:
        return
    for found in _LIBRARY.finditer(Path("/proc/self/smaps").read_text()):
        start, end = int(found[1], 16), int(found[2], 16)
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)
    libc.malloc_trim(0)


def _page_out(module: nn.Module) -> None:
    for parameter in module.parameters():
        _advise(parameter.data_ptr(), parameter.nbytes)


def _advise(address: int, nbytes: int) -> None:
    """Page the whole pages of a span out; advice, which may be refused."""
    libc = _libc()
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (address + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if libc is not None and end > start:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _PAGEOUT)


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL | None:
    """The C library, on Linux, where it has both calls (glibc; musl has no malloc_trim)."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "madvise") and hasattr(library, "malloc_trim") else None
