"""An ONNX file as a tagger's network: its interface, its engine, and its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.checkpoints import CheckpointInfo
from core.checkpoints.info import NUMBERED
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError, one_line
from core.files import file_sha256
from core.onnx_tagger.metadata import OUTPUTS, Stated, check_rate, read
from core.onnx_tagger.process import OnnxProcess
from core.runtime.machine import threads
from core.units import plural
from core.windows import clip_windows

T = TypeVar("T")

SUFFIX = ".onnx"

ASSUMED_PROBABILITIES = "Its outputs were taken for probabilities, which all were between 0 and 1 on trial."
ASSUMED_LOGITS = "Its outputs were taken for logits, since not all were between 0 and 1 on trial."
"""Notes of a file that does not say what it outputs."""

_TRIAL_SECONDS = (0.31, 1.0, 3.0, 10.0)
"""Lengths that are tried, the shortest first, of a file that takes any and does not say which is the shortest."""

_PROCESS_BYTES = 80 << 20
"""Of a process without a network, measured."""

_MOST_CLASSES = 20_000

_MOST_SECONDS = 60.0  # of a window

_ROUNDING = 1e-3  # by which probabilities may be outside 0 and 1; they are clipped


class SampleRateError(CheckpointError):
    """The file does not say the rate of its waveforms, and nobody did."""


@dataclass(frozen=True)
class OnnxInterface:
    """What the file takes and returns, in the words of ``core.windows.Interface``."""

    title: str
    sample_rate: int
    least_samples: int
    window_samples: int | None
    output: str
    scenes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnnxCounts:
    """What the graph costs.

    Attributes
    ----------
    params : values of its weights, front end and running statistics included: the file does not say which were learned.
    macs : multiply-accumulate operations of its convolutions and matrix products for a clip; None where they are not counted.
    why : why they are not counted, in a few words.
    """

    params: int
    macs: int | None
    why: str = ""


class OnnxNetwork:
    """An ONNX file, run in a process of its own. It is its own engine (``core.runtime.engine.Engine``).

    Attributes
    ----------
    name, why : the engine's.
    entry : what it takes and returns.
    embedding : units of its embedding; 0 where it outputs none.
    """

    name = "onnxruntime"

    def __init__(
        self, process: OnnxProcess, entry: OnnxInterface, size: int, *, logits: bool, embedding: int
    ) -> None:
        self._process, self.entry, self.logits, self.embedding = process, entry, logits, embedding
        self.nbytes = 0  # all that it takes is in ``parameter_bytes``
        self.parameter_bytes = size + _PROCESS_BYTES
        self._counted: dict[int, int | str] = {}
        self.why = f"ONNX files run on onnxruntime in a process of their own; {plural(threads(), 'thread')}"

    @property
    def gone(self) -> bool:
        """Whether its process has broken off, which is the file's doing."""
        return self._process.gone

    def with_logits(self, logits: bool) -> OnnxNetwork:
        """The same network, whose outputs are read as logits or as probabilities."""
        size = self.parameter_bytes - _PROCESS_BYTES
        return OnnxNetwork(self._process, self.entry, size, logits=logits, embedding=self.embedding)

    def probabilities(self, waveforms: Tensor) -> Tensor:
        """(batch, samples) float32 at the file's rate -> (batch, classes) probabilities; raises ``CheckpointError``."""
        rows = [self._both(row)[0] for row in waveforms.numpy()]
        return torch.from_numpy(np.stack(rows))

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and embeddings (batch, units); raises ``ModelError`` for a file without an output of that name."""
        if not self.embedding:
            raise no_embedding(self.entry.title)
        rows = [self._both(row) for row in waveforms.numpy()]
        probabilities, embeddings = (torch.from_numpy(np.stack(each)) for each in zip(*rows, strict=True))
        return probabilities, embeddings

    def counts(self, seconds: float) -> OnnxCounts:
        """Count it for a clip of ``seconds``, in the windows that the clip is cut into."""
        spans = clip_windows(round(seconds * SAMPLE_RATE), self.entry)
        fixed, rate = self.entry.window_samples, self.entry.sample_rate
        samples = fixed or max(
            self.entry.least_samples, round((spans[0][1] - spans[0][0]) * rate / SAMPLE_RATE)
        )
        counted = self._counted.get(samples)
        if counted is None:
            counted = self._counted[samples] = self._process.count(samples)
        params = self._process.facts.parameters
        if isinstance(counted, str):
            return OnnxCounts(params, None, counted)
        return OnnxCounts(params, counted * len(spans))

    def _both(
        self, samples: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        output, embedding = self._process.run(samples, len(samples) / self.entry.sample_rate)
        if self.logits:
            return _activated(output, scenes=self.entry.output == "scenes"), embedding
        if _are_probabilities(output):
            return np.clip(output, 0.0, 1.0), embedding
        raise CheckpointError(
            f"{self.entry.title} outputs {output.min():.3g} to {output.max():.3g}, which are no probabilities; say that they are logits "
            "(--logits)."
        )


def load_onnx(
    path: Path,
    *,
    classes: ClassSet | Sequence[str] | None = None,
    sample_rate: int | None = None,
    logits: bool | None = None,
) -> tuple[OnnxNetwork, CheckpointInfo]:
    """Load an ONNX file that takes a waveform and outputs a probability or logit for each class.

    Parameters
    ----------
    path : Path
    classes : ClassSet or sequence of str, optional
        The names of the outputs, where the file has none or others.
    sample_rate : int, optional
        Hz, where the file does not say.
    logits : bool, optional
        Whether the outputs are logits, where the file does not say.

    Raises
    ------
    CheckpointError
        One line on what is wrong with the file. ``SampleRateError`` where only the rate is missing.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no file {path}; check the path, or `pannscope models` for known checkpoints."
        )
    if sample_rate is not None:
        check_rate(sample_rate, str(path))
    process = OnnxProcess(path, threads())
    stated = read(process.facts.metadata, process.facts.output, str(path))
    rate = _agreed(
        stated.sample_rate, sample_rate, f"{path} takes {stated.sample_rate} Hz; leave the sample rate out."
    )
    if rate is None:
        raise SampleRateError(
            f"{path} does not say which sample rate it takes; state it: --sample-rate 16000, 32000 or another."
        )
    entry, (trial, embedding) = _tried(process, stated, rate, path.name)
    facts = process.facts
    notes = []
    if facts.outputs > 1 and facts.output not in OUTPUTS:
        notes.append(f"Of its {facts.outputs} outputs the first, {one_line(facts.output)}, is read.")
    if rate > SAMPLE_RATE:
        notes.append(
            f"It takes {rate / 1000:g} kHz, and recordings are read at {SAMPLE_RATE / 1000:g} kHz: it gets nothing above "
            f"{SAMPLE_RATE / 2000:g} kHz."
        )
    chosen = _agreed(
        stated.logits,
        logits,
        f"{path} says that it outputs {'logits' if stated.logits else 'probabilities'}; leave that out.",
    )
    if chosen is None:
        chosen = not _are_probabilities(trial)
        notes.append(ASSUMED_LOGITS if chosen else ASSUMED_PROBABILITIES)
    outputs, unnamed = _classes(path, len(trial), stated.classes if classes is None else classes)
    size = path.stat().st_size
    info = CheckpointInfo(
        name=path.stem,
        architecture="onnx",
        widths=(),
        embedding=len(embedding),
        classes=outputs,
        kept={},
        training={},
        sha256=file_sha256(path),
        size_bytes=size,
        path=path,
        notes=(*notes, *unnamed),
    )
    return OnnxNetwork(process, entry, size, logits=chosen, embedding=len(embedding)), info


def not_prunable(name: str) -> ModelError:
    """The error of everything that needs a network's layers."""
    return ModelError(
        f"{name} is an ONNX file: it tags, and is compared, timed and counted as a whole, but it cannot be pruned, repaired, trained, "
        "exported or counted layer by layer. Give the checkpoint that it was made from."
    )


def no_embedding(title: str) -> ModelError:
    """The error of everything that needs the embedding of an ONNX file that has none."""
    return ModelError(
        f"{title} has no output called embedding; give the checkpoint that it was made from, or an ONNX file with one."
    )


def _agreed(stated: T | None, given: T | None, contradiction: str) -> T | None:
    """What the file states, or else what the user gives; raises ``CheckpointError`` where both do and differ."""
    if stated is not None and given is not None and stated != given:
        raise CheckpointError(contradiction)
    return given if stated is None else stated


def _tried(
    process: OnnxProcess, stated: Stated, rate: int, title: str
) -> tuple[OnnxInterface, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """The interface, with the shortest length that works, and what the file outputs for quiet noise of that length: tags and embedding."""
    fixed = process.facts.samples
    if fixed is not None:
        lengths = [fixed]
    elif stated.least_samples is not None:
        lengths = [stated.least_samples]
    else:
        lengths = [round(seconds * rate) for seconds in _TRIAL_SECONDS]
    if lengths[-1] > _MOST_SECONDS * rate:
        raise CheckpointError(
            f"{title} takes {lengths[-1]:,} samples at a time, {lengths[-1] / rate:,.0f} s; windows of up to {_MOST_SECONDS:.0f} s are accepted."
        )
    for length in lengths:
        noise = 0.01 * np.random.default_rng(0).standard_normal(length).astype(np.float32)
        try:
            outputs = process.run(noise, length / rate)
        except CheckpointError:
            if process.gone or length == lengths[-1]:
                raise
            continue
        return OnnxInterface(title, rate, length, fixed, "scenes" if stated.scenes else "tags"), outputs
    raise AssertionError("at least one length is tried")


def _classes(
    path: Path, outputs: int, stated: ClassSet | Sequence[str] | None
) -> tuple[ClassSet, tuple[str, ...]]:
    """The classes: those that are given or stated, or AudioSet's where there are as many, or numbers and a note."""
    if outputs > _MOST_CLASSES:
        raise CheckpointError(
            f"{path} has {outputs:,} outputs a clip; taggers of up to {_MOST_CLASSES:,} classes are accepted."
        )
    if stated is None:
        known = ClassSet.audioset()
        return (known, ()) if outputs == len(known) else (ClassSet.unnamed(outputs), (NUMBERED,))
    chosen = stated if isinstance(stated, ClassSet) else ClassSet.named(stated)
    if len(chosen) != outputs:
        raise CheckpointError(
            f"{path} has {plural(outputs, 'output')} and {len(chosen)} classes were given; give one each."
        )
    return chosen, ()


def _are_probabilities(output: npt.NDArray[np.float32]) -> bool:
    return bool(output.min() >= -_ROUNDING and output.max() <= 1 + _ROUNDING)


def _activated(logits: npt.NDArray[np.float32], *, scenes: bool) -> npt.NDArray[np.float32]:
    values = logits.astype(np.float64)
    powers = np.exp(values - values.max()) if scenes else np.exp(-np.abs(values))
    if scenes:
        return np.asarray(powers / powers.sum(), np.float32)
    return np.asarray(np.where(values < 0, powers, 1.0) / (1.0 + powers), np.float32)
