"""Speed and memory of our engines and of others, on the same clips and weights, alternating in one run."""

from core.benchmark.bench import Bench, bench
from core.benchmark.subjects import SUBJECTS, available
from core.benchmark.weights import random_network

__all__ = ["SUBJECTS", "Bench", "available", "bench", "random_network"]
