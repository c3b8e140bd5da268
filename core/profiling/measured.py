"""What a configuration takes on this machine: time, and memory of the whole process, for one clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core.errors import ModelError
from core.models.cnn import MIN_SAMPLES, Cnn14, Cnn14Config
from core.profiling.counts import samples_of
from core.profiling.latency import Latency, measure_latencies
from core.profiling.memory import resident_growth
from core.windows import mean_probabilities

MAX_MEASURED_SECONDS = 600
"""A longer clip would be timed for hours, and its noise alone takes gigabytes."""


@dataclass(frozen=True)
class Measured:
    """Time and memory of one clip of ``seconds`` on this machine, with torch on ``threads`` threads.

    ``memory_growth_bytes`` is what the process grows by in its first pass of that length; None where the system does not say.
    """

    seconds: float
    threads: int
    latency: Latency
    memory_growth_bytes: int | None

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return vars(self) | {"latency": self.latency.document()}


class _Network:
    """A network that is timed as a tagger is."""

    def __init__(self, config: Cnn14Config) -> None:
        self.model = Cnn14(config).eval()

    def probabilities(self, waveform: np.ndarray) -> np.ndarray:
        return mean_probabilities(self.model.probabilities, waveform)


def measure(config: Cnn14Config, seconds: float = 10.0, repeats: int = 7) -> Measured:
    """Run a network of this configuration on noise.

    Its weights are random: neither time nor memory depends on them, and the network need not exist yet. The first pass is of the
    shortest clip and counts for nothing (libraries start up), the second gives the memory, the next one warms up for the times.
    Raises ``ModelError`` for an impossible length, or one over ``MAX_MEASURED_SECONDS``.
    """
    if seconds > MAX_MEASURED_SECONDS:
        raise ModelError(
            f"A clip of {seconds:g} s is too long to be measured; measure with up to {MAX_MEASURED_SECONDS} s, such as 10."
        )
    samples = samples_of(seconds)
    network = _Network(config)
    noise = np.random.default_rng(0).standard_normal(samples, dtype=np.float32)
    noise *= 0.1  # about the level of a recording
    network.probabilities(noise[:MIN_SAMPLES])
    grown = resident_growth(lambda: network.probabilities(noise))
    (latency,) = measure_latencies([network], noise, repeats)
    return Measured(seconds, torch.get_num_threads(), latency, grown)
