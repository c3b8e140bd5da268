"""Times of the listed networks on this machine, measured with random weights and kept for the next start.

The time of a pass depends on a network's shapes and not on its weights, so that nothing need be downloaded.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core import __version__
from core.audio import SAMPLE_RATE
from core.checkpoints import CheckpointInfo, Entry, manifest, missing_package
from core.checkpoints.entries import buildable
from core.classes import ClassSet
from core.errors import PannscopeError
from core.files import atomic_write
from core.models.registry import architecture
from core.profiling import Latency, measure_latencies
from core.runtime.machine import processor, threads, usable_memory
from core.runtime.memory import trim_heap
from core.settings import cache_dir
from core.tagging import Tagger

log = logging.getLogger(__name__)

SECONDS = 10.0
"""Length of the clip, as in the papers."""

_PASSES = 5
_LEVEL = 0.1  # of the noise: about that of a recording

_COPIES = 3
"""Copies of the weights that a measurement may need at once: the network's, its engine's, and what the engine is made from."""

_SPARE_BYTES = 400 * 2**20
"""Left free beside the weights: feature maps of 10 s, and what other visitors need meanwhile."""


class NotEnoughMemoryError(PannscopeError):
    """A network is too large for the memory that is free now."""


@dataclass(frozen=True)
class Timed:
    """The time of 10 s of audio on this machine: median and quartiles in milliseconds, and the engine that ran the network."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    engine: str

    @classmethod
    def of(cls, latency: Latency, engine: str) -> Timed:
        """The part of a measurement that is kept."""
        return cls(latency.median_ms, latency.lower_quartile_ms, latency.upper_quartile_ms, engine)


def machine() -> str:
    """What times depend on, in words: they hold for this processor, this many threads and these versions."""
    count = threads()
    return (
        f"{processor()}, {count} thread{'s' if count > 1 else ''}, torch {version('torch')}, "
        f"Pannscope {__version__}"
    )


def measurable() -> tuple[str, ...]:
    """The names of the manifest whose networks can be built and that have a published mAP."""
    return tuple(
        name
        for name, entry in manifest().items()
        if entry.published_mAP is not None
        and buildable(entry)
        and missing_package(entry) is None
        and entry.figures_source is None
    )


def measured() -> dict[str, Timed]:
    """The times that were measured on this machine, name -> time; empty where it has changed since."""
    try:
        stored = json.loads(_file().read_text(encoding="utf-8"))
        if stored["machine"] != machine():
            return {}
        return {name: Timed(**values) for name, values in stored["times"].items() if name in manifest()}
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def measure(name: str) -> Timed:
    """Time a network of the manifest on the engine that would run it, and keep the time.

    Raises
    ------
    NotEnoughMemoryError
        It is too large for the memory that is free now.
    """
    entry = manifest()[name]
    needed = _COPIES * entry.download_bytes + _SPARE_BYTES
    free = usable_memory()
    if free is not None and free < needed:
        raise NotEnoughMemoryError(
            f"{entry.title} needs {needed / 1e9:.1f} GB of free memory to be timed; {free / 1e9:.1f} GB are free."
        )
    timed = time_of(_random(entry))
    trim_heap()
    _store(name, timed)
    return timed


def time_of(tagger: Tagger) -> Timed:
    """The time that a tagger takes for 10 s of noise, from the waveform to the probabilities."""
    noise = np.random.default_rng(0).standard_normal(int(SECONDS * SAMPLE_RATE), dtype=np.float32)
    engine = tagger.build_engine()
    (latency,) = measure_latencies([tagger.probabilities], noise * np.float32(_LEVEL), _PASSES)
    return Timed.of(latency, engine.name)


def _random(entry: Entry) -> Tagger:
    """A network of an entry's shapes with random weights."""
    built = architecture(entry.architecture)
    classes = ClassSet.audioset() if isinstance(entry.classes, str) else ClassSet.named(list(entry.classes))
    sizes: dict[str, Any] = {"classes": len(classes)}
    if entry.widths is not None:
        sizes |= {"widths": entry.widths, "embedding": entry.embedding}
    config = built.configure(**sizes)
    info = CheckpointInfo(
        name=entry.name,
        architecture=entry.architecture,
        widths=config.widths,
        embedding=config.embedding,
        classes=classes,
        kept={},
        training={},
        sha256="",
        size_bytes=entry.download_bytes,
        path=Path(entry.name),
    )
    return Tagger(built.build(config), info)


def _file() -> Path:
    return cache_dir() / "times.json"


def _store(name: str, timed: Timed) -> None:
    times = {known: vars(value) for known, value in measured().items()} | {name: vars(timed)}
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(_file()) as draft:
            draft.write_text(json.dumps({"machine": machine(), "times": times}, indent=1), encoding="utf-8")
    except (OSError, RuntimeError) as error:  # it will be measured again
        log.warning("the measured time of %s cannot be kept: %s", name, error)
