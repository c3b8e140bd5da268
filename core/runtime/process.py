"""Settings of the whole process; a program applies them before anything imports torch.

torch's kernels run on OpenMP threads, which by default spin while they wait: the fastest way on an idle machine, and the slowest where
somebody else needs a core too. On two cores with one of them busy, 10 s of audio took demo-cnn14 570 ms so, and 35 ms with threads that
sleep; on an idle machine 18 and 19 ms. Shared hosts are what Pannscope is mostly run on, so its programs let threads sleep.

glibc gives every thread a heap of its own, up to eight a core, and what is freed in one is used again only there. A server runs each
visitor's script in another thread, so that the same buffers come to lie in heap after heap: with both official networks in use that
was 30 MB of 910. Large arrays do not go through these heaps, and Python's own objects seldom do, so that sharing one costs no time.
"""

from __future__ import annotations

import ctypes
import os
import sys

VARIABLE = "OMP_WAIT_POLICY"
"""Read by OpenMP when torch is first imported, hence an environment variable (OpenMP 5.2, section 21.7)."""


def set_passive_wait_policy() -> None:
    """Choose that policy unless the environment has one already. A program calls this before anything imports torch."""
    os.environ.setdefault(VARIABLE, "passive")


_ARENA_MAX = -8
"""M_ARENA_MAX of mallopt(3)."""


def use_single_heap_arena() -> None:
    """Let new threads use the heap that is there. A program calls this early; nothing happens where there is no glibc, or where
    MALLOC_ARENA_MAX says otherwise."""
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(ctypes.c_int(_ARENA_MAX), ctypes.c_int(1))
