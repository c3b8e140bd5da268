"""Settings of the whole process, which a program applies before anything imports torch.

torch's kernels run on OpenMP threads, which by default spin while they wait: the fastest policy on an idle machine, and the slowest where
another process needs a core too. On two cores with one of them busy, demo-cnn14 took 570 ms for 10 s of audio with spinning threads and
35 ms with passive ones; on an idle machine 18 and 19 ms. Pannscope mostly runs on shared hosts, so its programs choose passive waiting.

glibc gives threads heaps (arenas) of their own, up to eight per core, and memory freed in one is reused only there. A server runs every
visitor's script in another thread, so that arena after arena keeps the same buffers: with both official networks in use that was 30 MB
of 910. Large arrays bypass the arenas, and Python's own objects mostly do, so that a single arena costs no time.

It also returns a large array to the system when it is freed, but takes "large" to be larger after each one, up to 32 MB: feature maps then
come from the heap, between objects that stay, and what they leave is not returned. Twelve visitors at once took a server with both
official networks to 940 MB so, and to 830 MB with a fixed limit of 1 MB.
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


_SETTINGS = (
    ("MALLOC_ARENA_MAX", -8, 1),  # M_ARENA_MAX
    ("MALLOC_MMAP_THRESHOLD_", -3, 2**20),  # M_MMAP_THRESHOLD
)
"""Environment variable that takes precedence, parameter of mallopt(3), value."""


def configure_heap() -> None:
    """Let new threads share the main heap, and return arrays of 1 MB and more to the system when they are freed.

    To be called early. Does nothing without glibc; a variable of the environment takes precedence.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    for variable, parameter, value in _SETTINGS:
        if variable not in os.environ and hasattr(library, "mallopt"):
            library.mallopt(ctypes.c_int(parameter), ctypes.c_int(value))
