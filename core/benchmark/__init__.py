"""Speed and memory of our engines and of others, on the same clips and weights, turn about in one run."""

from core.benchmark.bench import Bench, bench
from core.benchmark.plans import plans
from core.benchmark.precision import precision
from core.benchmark.subjects import SUBJECTS, available

__all__ = ["SUBJECTS", "Bench", "available", "bench", "plans", "precision"]
