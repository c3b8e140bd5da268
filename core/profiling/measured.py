"""Time and memory of the whole process that a configuration takes on this machine, for one clip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from core.errors import ModelError
from core.models.registry import architecture as known_architecture
from core.profiling.counts import samples_of
from core.profiling.latency import Latency, measure_latencies
from core.profiling.memory import resident_growth
from core.windows import mean_probabilities

MAX_MEASURED_SECONDS = 600
"""A longer clip would be timed for hours, and its noise alone takes gigabytes."""


@dataclass(frozen=True)
class Measured:
    """Time and memory of one clip of ``seconds`` on this machine, with torch on ``threads`` threads.

    ``memory_growth_bytes`` is what the process grows by in its first pass of that length; None where the system cannot report it.
    """

    seconds: float
    threads: int
    latency: Latency
    memory_growth_bytes: int | None

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return vars(self) | {"latency": self.latency.document()}


def measure(architecture: str, config: Any, seconds: float = 10.0, repeats: int = 7) -> Measured:
    """Run a network of this architecture and configuration on noise.

    Its weights are random: neither time nor memory depends on them, and the network need not exist yet. The first pass is of the
    shortest clip and does not count (libraries start up), the second measures the memory, the next one warms up for the times.
    Raises ``ModelError`` for an impossible length, or one over ``MAX_MEASURED_SECONDS``.
    """
    if seconds > MAX_MEASURED_SECONDS:
        raise ModelError(
            f"A clip of {seconds:g} s is too long to be measured; measure with up to {MAX_MEASURED_SECONDS} s, such as 10."
        )
    entry = known_architecture(architecture)
    samples = samples_of(seconds, entry)
    run = partial(mean_probabilities, entry.build(config).eval().probabilities)
    noise = np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    noise *= 0.1  # about the level of a recording
    run(noise[: entry.least_samples])
    growth = resident_growth(lambda: run(noise))
    (latency,) = measure_latencies([run], noise, repeats)
    return Measured(seconds, torch.get_num_threads(), latency, growth)
