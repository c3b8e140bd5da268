"""The measurements of docs/performance.md: every engine once, the main ones over lengths, ratios, threads, batches and processes."""

from __future__ import annotations

from core.benchmark import SUBJECTS, Bench
from core.runtime.machine import usable_cpus
from core.tagging import EMBEDDED_PAIR, OFFICIAL_PAIR

REPEATS = 15

DETAILED = tuple(name for name in ("reference", "torch", "winograd-fast", "bf16") if name in SUBJECTS)
"""The subjects that are measured over lengths, ratios, threads and batches; the others once."""

_RATIOS = (0.25, 0.5, 0.75)


def plans(repeats: int = REPEATS, quick: bool = False, cores: int | None = None) -> dict[str, Bench]:
    """The parts by name. About ten minutes on two cores; ``quick`` runs the small embedded pair on short clips, as a test.
    Throughput is of our own engines: the reference would take half of that time.
    """
    cores = cores or usable_cpus()
    counts = tuple(sorted({1, *(n for n in (2, 4, 8, 16, 32, 64, 128) if n <= cores), cores}))
    pair = EMBEDDED_PAIR if quick else OFFICIAL_PAIR
    whole = pair[:1]
    ours = tuple(name for name in DETAILED if SUBJECTS[name].ours)
    everything = tuple(SUBJECTS)
    usual = (1.0,) if quick else (10.0,)
    lengths = (0.5, 1.0) if quick else (1.0, 2.0, 10.0, 60.0)
    batches = (1, 2) if quick else (1, 2, 4, 8)
    some, few = (2, 1) if quick else (max(3, repeats // 2), max(3, repeats // 5))
    repeats = 2 if quick else repeats
    parts = {
        "engines": Bench(pair, everything, usual, threads=(cores,), repeats=repeats, stages=True),
        "length": Bench(whole, DETAILED, lengths, threads=(cores,), repeats=some, stages=True),
        "ratio": Bench(
            (*whole, *(f"{whole[0]}:{ratio:g}" for ratio in _RATIOS)),
            DETAILED,
            usual,
            threads=(cores,),
            repeats=some,
        ),
        "threads": Bench(pair, DETAILED, usual, threads=counts, repeats=some),
        "batch": Bench(whole, ours, usual, batches, threads=counts, repeats=few),
    }
    several = counts[1:]
    if several:
        parts["processes"] = Bench(whole, ours, usual, (1, batches[-1]), (1,), several, few)
    return parts
