"""Tagging a clip: a model, its classes, and the probabilities it gives."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core.audio import SAMPLE_RATE, Clip
from core.checkpoints import CheckpointInfo, entry, load_checkpoint, path_of, status
from core.classes import ClassSet
from core.errors import CheckpointError
from core.models.cnn import MIN_SAMPLES, Cnn14
from core.runtime.builder import EngineBuilder
from core.runtime.choice import check_runtime, engine_for
from core.runtime.engine import Engine, TorchEngine
from core.runtime.memory import trim_heap
from core.windows import mean_probabilities, window_mean, windows

EMBEDDED_PAIR = ("demo-cnn14", "demo-epanns")
OFFICIAL_PAIR = ("cnn14", "epanns")


@dataclass(frozen=True)
class Tag:
    """One class and its probability; ``index`` is AudioSet's."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Tags:
    """What one model says about one clip.

    Attributes
    ----------
    model, runtime : which network, and what ran it.
    classes, probabilities : (classes,) float32, the sigmoid of each class's logit: a clip can carry many tags.
    latency_ms : time from waveform to probabilities.
    windows_s : start and end in seconds of every window that was tagged; the probabilities are their mean.
    notes : what was done to the clip to make it fit, in plain sentences.
    runtime_why : why that engine ran it, in a sentence.
    """

    model: str
    classes: ClassSet
    probabilities: np.ndarray
    runtime: str
    latency_ms: float
    windows_s: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()
    runtime_why: str = ""

    def top(self, k: int = 10, mask: np.ndarray | None = None) -> list[Tag]:
        """The ``k`` likeliest tags, likeliest first; ``mask`` (classes,) bool leaves out what is False."""
        order = np.argsort(-self.probabilities, kind="stable")
        if mask is not None:
            order = order[mask[order]]
        return [self._tag(int(position)) for position in order[:k]]

    def above(self, threshold: float) -> list[Tag]:
        """Every tag whose probability is at least ``threshold``, likeliest first."""
        return [tag for tag in self.top(len(self.classes)) if tag.probability >= threshold]

    def _tag(self, position: int) -> Tag:
        return Tag(
            self.classes.indices[position], self.classes.names[position], float(self.probabilities[position])
        )

    def document(self, clip: Clip, top: int | None = None) -> dict[str, Any]:
        """The part of the command line's JSON that describes one model's answer; its notes include the clip's own."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "latency_ms": round(self.latency_ms, 3),
            "windows_s": [list(window) for window in self.windows_s],
            "notes": [*clip.notes, *self.notes],
            "tags": [vars(tag).copy() for tag in self.top(len(self.classes) if top is None else top)],
        }


class Tagger:
    """A loaded model that tags clips. Safe to share between threads: tagging changes nothing in it.

    Parameters
    ----------
    model, info : the network and what is known of it. The network is not to be changed afterwards.
    runtime : which engine is to run it, see ``core.runtime.engine_for``. It is made when the tagger first listens: a network
        that is loaded to be pruned or exported needs none.
    background : where given, the tagger never waits for its engine: it listens on torch, asks for the engine afterwards, and goes
        over to it as soon as it is there.
    """

    def __init__(
        self,
        model: Cnn14,
        info: CheckpointInfo,
        runtime: str = "auto",
        background: EngineBuilder | None = None,
    ) -> None:
        check_runtime(runtime)
        self.model = model.eval()
        self.info = info
        self._wanted = runtime
        self._background = background
        self._engine: Engine | None = None
        self._making = threading.Lock()

    @property
    def engine(self) -> Engine:
        """What runs the network now; raises ``EngineError`` where a runtime that was named cannot."""
        if self._engine is None and self._background is not None:
            return TorchEngine(self.model, "torch, until the engine for this network is ready")
        return self.build_engine()

    def build_engine(self) -> Engine:
        """The engine that runs the network for good, made now unless it is there."""
        with self._making:
            if self._engine is None:
                self._engine = engine_for(self.model, self._wanted)
            return self._engine

    @property
    def engine_ready(self) -> bool:
        """Whether the engine is there."""
        return self._engine is not None

    @property
    def fell_back(self) -> bool:
        """Whether the network runs on torch because no faster engine could be used, where any might have been."""
        return self._engine is not None and self._engine.name == "torch" and self._wanted == "auto"

    @property
    def runtime(self) -> str:
        """Name of the engine that runs the network now: "torch" …"""
        return self.engine.name

    @property
    def runtime_why(self) -> str:
        """Why it is that one, in a sentence."""
        return self.engine.why

    @property
    def nbytes(self) -> int:
        """Bytes of the network's parameters, and of what its engine keeps besides them."""
        return self._parameter_bytes + self.engine_bytes

    @property
    def engine_bytes(self) -> int:
        """Bytes that the engine keeps besides the network's parameters; none while there is no engine, or torch, which uses those."""
        engine = self._engine
        if engine is None or engine.name == "torch":
            return 0
        return int(getattr(engine, "nbytes", self._parameter_bytes))

    @property
    def _parameter_bytes(self) -> int:
        return sum(parameter.nbytes for parameter in self.model.parameters())

    @property
    def name(self) -> str:
        """The model's name as the manifest has it, or the checkpoint's own."""
        return self.info.name

    @property
    def classes(self) -> ClassSet:
        """The classes of the outputs, in order."""
        return self.info.classes

    def probabilities(self, waveform: np.ndarray) -> np.ndarray:
        """(samples,) float at 32 kHz, full scale at ±1 -> (classes,) float32; raises ``AudioError`` for anything else."""
        probabilities = mean_probabilities(self.engine.probabilities, waveform)
        self._request_engine()
        return probabilities

    def tag(self, clip: Clip) -> Tags:
        """Tag a clip and say how long it took and what had to be done to it."""
        engine = self.engine  # made before the clock starts
        spans = windows(max(clip.samples, MIN_SAMPLES))
        outputs, latency_ms = [], 0.0
        for part in clip.segments(spans):  # a long clip decodes here, outside the time that is measured
            started = time.perf_counter()
            outputs.append(mean_probabilities(engine.probabilities, part))
            latency_ms += 1e3 * (time.perf_counter() - started)
            if len(spans) > 1:
                trim_heap()  # each window would leave some of what it used to the allocator of another thread
        probabilities = window_mean(outputs)
        self._request_engine()
        notes = []
        if clip.samples < MIN_SAMPLES:
            notes.append(
                f"The clip is {clip.samples / SAMPLE_RATE:.2f} s long; it was padded with silence to "
                f"{MIN_SAMPLES / SAMPLE_RATE:.2f} s, the least that the network can listen to."
            )
        if len(spans) > 1:
            length = (spans[0][1] - spans[0][0]) / SAMPLE_RATE
            notes.append(
                f"The clip is {clip.duration_s:.1f} s long; it was tagged in {len(spans)} windows of {length:.1f} s "
                "and the probabilities were averaged."
            )
        seconds = tuple((start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in spans)
        return Tags(
            self.name,
            self.classes,
            probabilities,
            engine.name,
            latency_ms,
            seconds,
            tuple(notes),
            engine.why,
        )

    def _request_engine(self) -> None:
        if (
            self._background is not None and not self.engine_ready
        ):  # afterwards, so that both cores were free for the answer
            self._background.request(self)


def default_pair() -> tuple[str, str]:
    """Baseline and candidate to start with: the official networks where both are installed, else the embedded pair."""
    installed = all(status(entry(name)) == "installed" for name in OFFICIAL_PAIR)
    return OFFICIAL_PAIR if installed else EMBEDDED_PAIR


def default_baseline() -> str:
    """The model to use where none is named: CNN14 as soon as it is installed, else the embedded one."""
    official, embedded = OFFICIAL_PAIR[0], EMBEDDED_PAIR[0]
    return official if status(entry(official)) == "installed" else embedded


def load_tagger(
    name: str | None = None,
    *,
    checkpoint: str | Path | None = None,
    architecture: str | None = None,
    ratio: float | None = None,
    runtime: str = "auto",
) -> Tagger:
    """Load a model that tags.

    Parameters
    ----------
    name : a name of the manifest (``pannscope models``); by default the best baseline that is installed.
    checkpoint : any file in the official layout or in ours, instead of a name.
    architecture, ratio : what the file holds, where its tensors do not say so themselves.
    runtime : "auto", "torch", "ncnn" or "ncnn-bf16"; see ``core.runtime.engine_for``.

    Raises
    ------
    CheckpointError
        If the model is not installed, or the file is not one that can be loaded.
    """
    check_runtime(runtime)
    if name is not None and checkpoint is not None:
        raise CheckpointError(
            f"Both a model ({name}) and a checkpoint ({checkpoint}) were given; give one of them."
        )
    load = partial(load_checkpoint, architecture=architecture, ratio=ratio)
    if checkpoint is not None:
        loaded = load(Path(checkpoint))
    else:
        chosen = entry(default_baseline() if name is None else name)
        state = status(chosen)
        if state == "published-only":
            raise CheckpointError(
                f"{chosen.name} is known by its published figures only; `pannscope models` lists what can be loaded."
            )
        if state == "available":
            raise CheckpointError(
                f"{chosen.name} is not installed; fetch it first: pannscope fetch {chosen.name}"
            )
        loaded = load(path_of(chosen), name=chosen.name)
    return Tagger(loaded.model, loaded.info, runtime)
