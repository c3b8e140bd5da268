"""A stream: pieces of a waveform in, a network's probabilities for the last seconds out, once a hop or once a piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.audio import SAMPLE_RATE
from core.errors import ModelError
from core.models.cnn import MIN_SAMPLES, Cnn14
from core.streaming.incremental import GRID_FRAMES, GRID_SAMPLES, LEAST_SAMPLES, IncrementalCnn14
from core.streaming.layers import Layers, torch_layers
from core.tagging import Tagger
from core.windows import WINDOW_SECONDS, least_samples, validate_waveform

Samples = npt.NDArray[np.float32]

LEAST_HOP_S = 0.01


class StreamOutput(NamedTuple):
    """The stretch that a network ran on, in seconds from the stream's start, and every class's probability, (classes,) float32."""

    start_s: float
    end_s: float
    probabilities: Samples


class Stream:
    """One network on sound that goes on: after every hop the probabilities of the last ``window_s`` seconds, or of all there is of less.

    An output equals the tagger's probabilities of the same samples, within 1e-4 and mostly 1e-6. Where the stream is ``incremental`` its windows
    begin at multiples of 0.32 s, on the grid of CNN14's pooling, so that they are up to 0.32 s shorter than ``window_s``.

    For one thread; its tagger may be shared. Other than a tagger's first pass it waits for the tagger's engine.

    Parameters
    ----------
    tagger : Tagger
    window_s : float
        Seconds of sound that the probabilities are for. A network that takes one length alone has windows of that length.
    hop_s : float, optional
        Seconds from one output to the next; None for an output of every push, at its last sample.

    Attributes
    ----------
    incremental : bool
        Whether it keeps what it has computed and adds what is new; otherwise every output is a pass over the whole window.
    why : str
        The reason, in a sentence.

    Raises
    ------
    ModelError
        The network takes no windows of that length, or the hop is not from 0.01 s to the length of the window.

    Examples
    --------
    >>> from core.tagging import load_tagger
    >>> stream = Stream(load_tagger("demo-epanns", runtime="torch"), window_s=3.0, hop_s=0.5)
    >>> stream.push(np.zeros(7_000, np.float32))
    []
    >>> outputs = stream.push(np.zeros(109_000, np.float32))
    >>> [(output.start_s, output.end_s) for output in outputs[:2] + outputs[-1:]]
    [(0.0, 0.5), (0.0, 1.0), (0.64, 3.5)]
    """

    def __init__(self, tagger: Tagger, window_s: float = 10.0, hop_s: float | None = 0.25) -> None:
        entry = tagger.entry
        least = least_samples(entry) / SAMPLE_RATE
        longest = least if entry.window_samples else WINDOW_SECONDS
        if entry.window_samples:
            window_s = longest
        if not least <= window_s <= longest:
            raise ModelError(
                f"Windows of {window_s:g} s do not fit {entry.title}; give {least:.2f} to {longest:g} s."
            )
        if hop_s is not None and not LEAST_HOP_S <= hop_s <= window_s:
            raise ModelError(
                f"A stream's hop is from {LEAST_HOP_S:g} s to the {window_s:g} s of its window; got {hop_s:g}."
            )
        self._tagger = tagger
        self._window = round(window_s * SAMPLE_RATE)
        self._hop = None if hop_s is None else round(hop_s * SAMPLE_RATE)
        self._layers, self.why = _layers(tagger, self._window)
        self.incremental = self._layers is not None
        self.reset()

    def reset(self) -> None:
        """Begin again: nothing has been received."""
        self._kept = np.zeros(0, np.float32)  # the samples that the next output needs
        self._received = 0
        self._network: IncrementalCnn14 | None = None
        if self._layers is not None:
            self._network = IncrementalCnn14(self._layers.model, self._layers.runs, self._starts())

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps between two pushes, weights apart."""
        kept = self._kept.nbytes
        if self._layers is not None and self._network is not None:
            kept += self._network.nbytes + self._layers.space.nbytes
        return kept

    def push(self, waveform: Samples) -> list[StreamOutput]:
        """Add sound; the outputs of the hops that it completes, oldest first, or the one of this push.

        Parameters
        ----------
        waveform : (samples,) float
            At 32 kHz, full scale at ±1; any number of samples, none included.

        Raises
        ------
        AudioError
            The samples are integers, NaN or infinite, or not one row. Nothing of them is kept: the stream goes on with the next push.
        """
        if np.shape(waveform) == (0,):
            return []
        samples = validate_waveform(waveform, least=1)
        outputs = []
        while len(samples):
            taken = samples[: self._hop - self._received % self._hop] if self._hop else samples
            samples = samples[len(taken) :]
            self._kept = np.concatenate([self._kept, taken])
            self._received += len(taken)
            if not self._hop or self._received % self._hop == 0:
                outputs.append(self._output())
        return outputs

    def _output(self) -> StreamOutput:
        start = self._start(self._received)
        if self._network is None:
            self._kept = self._kept[-self._window :]
            probabilities = self._tagger.probabilities(self._kept)
        elif self._received < MIN_SAMPLES:
            probabilities = self._tagger.probabilities(self._kept)
        else:
            probabilities = self._network.advance(self._kept, start * GRID_FRAMES // GRID_SAMPLES)
            self._kept = self._kept[:0]
        return StreamOutput(start / SAMPLE_RATE, self._received / SAMPLE_RATE, probabilities)

    def _start(self, end: int) -> int:
        """The first sample of the window that ends before sample ``end``."""
        start = max(0, end - self._window)
        return -(-start // GRID_SAMPLES) * GRID_SAMPLES if self.incremental else start

    def _starts(self) -> Iterator[int]:
        """The first frames of all windows but those that begin with the stream; of all that there can be where hops are not known before."""
        if not self._hop:
            return itertools.count(GRID_FRAMES, GRID_FRAMES)
        ends = itertools.count(self._window // self._hop * self._hop, self._hop)
        starts = (self._start(end) * GRID_FRAMES // GRID_SAMPLES for end in ends)
        return (start for start, _ in itertools.groupby(starts) if start)


def _layers(tagger: Tagger, window: int) -> tuple[Layers | None, str]:
    """What runs the layers one step after the other, or None where full passes are due, and why."""
    full = "every output is a pass over the whole window:"
    network = tagger.network
    if not isinstance(network, Cnn14):
        return None, f"{full} {tagger.entry.title} is not CNN14, whose columns alone can be kept"
    if tagger.entry.sample_rate != SAMPLE_RATE:
        return None, f"{full} {tagger.entry.title} receives resampled sound"
    if window < LEAST_SAMPLES:
        return None, f"{full} both ends of one under {LEAST_SAMPLES / SAMPLE_RATE:.2f} s are most of it"
    engine = tagger.build_engine()
    if engine.name in ("bf16", "torch-cuda"):
        return None, f"{full} it runs on {engine.name}"
    if engine.name == "winograd":
        # Its module imports the compiler, which only this engine needs.
        layers = import_module("core.streaming.kernels").winograd_layers(network, engine)
    else:
        layers = torch_layers(network)
    return layers, f"every output computes what is new, on {layers.name}"
