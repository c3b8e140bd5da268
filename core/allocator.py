"""How the C library keeps freed memory.

glibc gives every thread a heap of its own, up to eight a core, and what is freed in one is used again only there. A server runs each
visitor's script in another thread, so that the same buffers come to lie in heap after heap: with both official networks in use that
was 30 MB of 910. Large arrays do not go through these heaps, and Python's own objects seldom do, so that sharing one costs no time.
"""

from __future__ import annotations

import ctypes
import os
import sys

_ARENA_MAX = -8
"""M_ARENA_MAX of mallopt(3)."""


def share_one_heap() -> None:
    """Let new threads use the heap that is there. A program calls this early; nothing happens where there is no glibc, or where
    MALLOC_ARENA_MAX says otherwise."""
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(ctypes.c_int(_ARENA_MAX), ctypes.c_int(1))
