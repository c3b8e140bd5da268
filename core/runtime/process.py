"""Settings of the whole process, which a program applies before anything imports torch.

torch's kernels run on OpenMP threads, which by default spin while they wait: the fastest policy on an idle machine, and the slowest where
another process needs a core too. On two cores with one of them busy, demo-cnn14 took 570 ms for 10 s of audio with spinning threads and
35 ms with passive ones; on an idle machine 18 and 19 ms. Pannscope mostly runs on shared hosts, so its programs choose passive waiting.

glibc gives threads heaps (arenas) of their own, up to eight per core, and memory freed in one is reused only there. A server runs every
visitor's script in another thread, so that arena after arena keeps the same buffers: with both official networks in use that was 30 MB
of 910. Large arrays bypass the arenas, and Python's own objects mostly do, so that a single arena costs no time.
"""

from __future__ import annotations

import ctypes
import os
import sys

VARIABLE = "OMP_WAIT_POLICY"
"""Read by OpenMP when torch is first imported, hence an environment variable (OpenMP 5.2, section 21.7)."""


def set_passive_wait_policy() -> None:
    """Let waiting threads sleep, unless the environment chooses a policy already. To be called before anything imports torch."""
    os.environ.setdefault(VARIABLE, "passive")


_ARENA_MAX = -8
"""M_ARENA_MAX of mallopt(3)."""


def use_single_heap_arena() -> None:
    """Let new threads share the main heap. To be called early; does nothing without glibc, or where MALLOC_ARENA_MAX is set."""
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            library.mallopt(ctypes.c_int(_ARENA_MAX), ctypes.c_int(1))
