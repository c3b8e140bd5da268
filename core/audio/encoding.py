"""Samples as files again: WAV for short clips and tests, FLAC and Ogg Vorbis for the players of long ones."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from core.audio.clip import DecodedClip
from core.audio.levels import level_notes
from core.audio.limits import SAMPLE_RATE
from core.errors import AudioError


def encode_wav(waveform: npt.NDArray[np.floating]) -> bytes:
    """Encode a waveform as 16-bit PCM WAV, mono at 32 kHz, clipped to ±1 and not scaled.

    Parameters
    ----------
    waveform : (samples,) float
        Full scale at ±1.

    Returns
    -------
    bytes

    Raises
    ------
    AudioError
        The waveform is empty, not one-dimensional, or holds NaN or infinite samples.

    Examples
    --------
    >>> import numpy as np
    >>> from core.audio import encode_wav
    >>> data = encode_wav(np.zeros(32_000))
    >>> data[:4], len(data)
    (b'RIFF', 64044)
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0:
        raise AudioError(
            f"A waveform of shape {samples.shape} cannot be written as WAV. Give (samples,), at least one."
        )
    if not np.isfinite(samples).all():
        raise AudioError(
            "A waveform with NaN or infinite samples cannot be written as WAV. Give finite values."
        )
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return encoded.getvalue()


class SoundEncoder:
    """A clip as mono at 32 kHz, clipped to ±1, encoded as its segments pass through.

    Parameters
    ----------
    container : "FLAC" or "OGG"
        16-bit FLAC, about half the size of WAV (90 MB an hour); or Ogg Vorbis (25 to 30 MB an hour), which takes seven times as long to encode.

    Examples
    --------
    >>> import numpy as np
    >>> from core.audio import SoundEncoder
    >>> encoder = SoundEncoder("FLAC")
    >>> sum(len(segment) for segment in encoder.through([np.zeros(320_000), np.ones(160_000)]))
    480000
    >>> encoder.data()[:4]
    b'fLaC'
    """

    def __init__(self, container: Literal["FLAC", "OGG"]) -> None:
        self._encoded = io.BytesIO()
        self._file = soundfile.SoundFile(self._encoded, "w", SAMPLE_RATE, 1, format=container)

    def through(self, segments: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """The segments, (samples,) each, in order and without gaps."""
        for segment in segments:
            self._file.write(np.clip(segment, -1.0, 1.0))
            yield segment

    def data(self) -> bytes:
        """The file, once all segments have passed."""
        self.close()
        return self._encoded.getvalue()

    def close(self) -> None:
        """End the file; also of an encoder that is given up, whose two halves would otherwise be freed in any order."""
        self._file.close()


def synthesized_clip(waveform: npt.NDArray[np.floating], *, name: str) -> DecodedClip:
    """The clip that ``load_clip`` makes of ``encode_wav(waveform)``, in this process: this program's own bytes need no protection.

    Examples
    --------
    >>> import numpy as np
    >>> from core.audio import synthesized_clip
    >>> synthesized_clip(np.full(16_000, 0.5), name="half.wav").peak
    0.5
    """
    data = encode_wav(waveform)
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    samples.setflags(write=False)
    peak, rms = float(np.abs(samples).max()), math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))
    return DecodedClip(
        name=name,
        sample_rate_hz=SAMPLE_RATE,
        channels=1,
        duration_s=len(samples) / SAMPLE_RATE,
        sha256=hashlib.sha256(data).hexdigest(),
        samples=len(samples),
        peak=peak,
        channel_rms=(rms,),
        channel=0,
        notes=level_notes(peak, peak, rms, (rms,)),
        waveform=samples,
    )
