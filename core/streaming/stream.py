"""A stream: pieces of a waveform in, a network's probabilities for the last seconds out, once a hop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.audio import SAMPLE_RATE
from core.errors import ModelError
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

    For one thread; its tagger may be shared.

    Parameters
    ----------
    tagger : Tagger
    window_s : float
        Seconds of sound that the probabilities are for. A network that takes one length alone has windows of that length.
    hop_s : float
        Seconds from one output to the next.

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
    >>> stream = Stream(load_tagger("demo-epanns", runtime="torch"), window_s=1.0, hop_s=0.25)
    >>> stream.push(np.zeros(7_000, np.float32))
    []
    >>> [(output.start_s, output.end_s) for output in stream.push(np.zeros(42_000, np.float32))]
    [(0.0, 0.25), (0.0, 0.5), (0.0, 0.75), (0.0, 1.0), (0.25, 1.25), (0.5, 1.5)]
    """

    def __init__(self, tagger: Tagger, window_s: float = 10.0, hop_s: float = 0.25) -> None:
        entry = tagger.entry
        least = least_samples(entry)
        longest = least / SAMPLE_RATE if entry.window_samples else WINDOW_SECONDS
        if entry.window_samples:
            window_s = longest
        if not least / SAMPLE_RATE <= window_s <= longest:
            raise ModelError(
                f"Windows of {window_s:g} s do not fit {entry.title}; give {least / SAMPLE_RATE:.2f} to {longest:g} s."
            )
        if not LEAST_HOP_S <= hop_s <= window_s:
            raise ModelError(
                f"A stream's hop is from {LEAST_HOP_S:g} s to the {window_s:g} s of its window; got {hop_s:g}."
            )
        self.incremental = False
        self.why = "every output is a pass over the whole window"
        self._tagger = tagger
        self._window, self._hop = round(window_s * SAMPLE_RATE), round(hop_s * SAMPLE_RATE)
        self.reset()

    def reset(self) -> None:
        """Begin again: nothing has been received."""
        self._kept = np.zeros(0, np.float32)  # the end of what was received, up to a window and a hop
        self._received = 0

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps between two pushes, weights apart."""
        return self._kept.nbytes

    def push(self, waveform: Samples) -> list[StreamOutput]:
        """Add sound; the outputs of the hops that it completes, oldest first.

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
            taken = samples[: self._hop - self._received % self._hop]
            samples = samples[len(taken) :]
            self._kept = np.concatenate([self._kept, taken])[-self._window :]
            self._received += len(taken)
            if self._received % self._hop == 0:
                outputs.append(self._output())
        return outputs

    def _output(self) -> StreamOutput:
        start = self._received - len(self._kept)
        probabilities = self._tagger.probabilities(self._kept)
        return StreamOutput(start / SAMPLE_RATE, self._received / SAMPLE_RATE, probabilities)
