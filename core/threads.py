"""How a network's threads wait for each other.

torch's kernels run on OpenMP threads, which by default spin while they wait: the fastest way on an idle machine, and the slowest where
somebody else needs a core too. On two cores with one of them busy, 10 s of audio took demo-cnn14 570 ms so, and 35 ms with threads that
sleep; on an idle machine 18 and 19 ms. Shared hosts are what Pannscope is mostly run on, so its programs let threads sleep.
"""

from __future__ import annotations

import os

VARIABLE = "OMP_WAIT_POLICY"
"""Read by OpenMP when torch is first imported, hence an environment variable (OpenMP 5.2, section 21.7)."""


def let_waiting_threads_sleep() -> None:
    """Choose that policy unless the environment has one already. A program calls this before anything imports torch."""
    os.environ.setdefault(VARIABLE, "passive")
