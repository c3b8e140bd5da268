"""Long recordings, decoded again whenever they are heard instead of being kept as samples.

Ten minutes are 77 MB of samples; a program that serves many people keeps the file as it was given (a tenth of that, where it is
compressed) and decodes a window at a time, which takes a second a pass where a network takes ten.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import soundfile

from core.audio.clip import MAX_SECONDS, SAMPLE_RATE, SILENT_PEAK, Clip, Decoding, refusing
from core.audio.limits import display_name

WHOLE_SECONDS = 60.0
"""Up to this length a recording is decoded once and kept: 8 MB."""


class LongClip(Clip):
    """A ``Clip`` whose samples are decoded from ``data`` as they are asked for, equal to those of ``load_clip``."""

    def __init__(self, data: bytes, name: str, decoding: Decoding, sha256: str) -> None:
        for key, value in {
            "data": data,
            "name": name,
            "sample_rate_hz": decoding.rate,
            "channels": decoding.channels,
            "duration_s": decoding.duration_s,
            "sha256": sha256,
            "notes": decoding.notes,
            "_samples": decoding.samples,
            "_peak": decoding.peak,
        }.items():
            object.__setattr__(
                self, key, value
            )  # a frozen dataclass, of which everything but the waveform is taken over

    data: bytes
    _samples: int
    _peak: float

    @property
    def waveform(self) -> npt.NDArray[np.float32]:
        """All samples, decoded now and not kept: 128 kB a second. ``parts`` does without them."""
        return next(self.parts([(0, self._samples)]))

    @property
    def silent(self) -> bool:
        return self._peak <= SILENT_PEAK

    @property
    def samples(self) -> int:
        return self._samples

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def parts(self, spans: Iterable[tuple[int, int]]) -> Iterator[npt.NDArray[np.float32]]:
        with refusing(self.name):
            blocks = Decoding(io.BytesIO(self.data), self.name, None).blocks()
            position, held = 0, np.zeros(0, np.float32)  # ``held`` are the samples from ``position`` on
            for start, end in spans:
                pieces, ahead = [], position + len(held)
                pieces.append(held[max(0, start - position) :])
                while ahead < end and (block := next(blocks, None)) is not None:
                    pieces.append(block[max(0, start - ahead) :])
                    ahead += len(block)
                held = np.concatenate(pieces)
                del pieces
                yield held[: end - start]
                held = held[end - start :].copy()
                position = end


def open_clip(
    data: bytes,
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
    whole_seconds: float = WHOLE_SECONDS,
) -> Clip:
    """Like ``load_clip`` for the bytes of a file, but a recording longer than ``whole_seconds`` becomes a ``LongClip``."""
    shown = display_name(name or "recording")
    limit = round(whole_seconds * SAMPLE_RATE)
    samples: bytearray | None = bytearray()
    with refusing(shown):
        decoding = Decoding(io.BytesIO(data), shown, max_seconds)
        for block in decoding.blocks():
            if decoding.samples > limit:
                samples = None
            elif samples is not None:
                samples += block.tobytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if samples is None:
        return LongClip(data, shown, decoding, sha256)
    waveform = np.frombuffer(samples, dtype=np.float32)
    waveform.setflags(write=False)
    return Clip(
        waveform, shown, decoding.rate, decoding.channels, decoding.duration_s, sha256, decoding.notes
    )


def encode_flac(clip: Clip) -> bytes:
    """A clip as 16-bit mono FLAC at 32 kHz, clipped to ±1: for players, at about half the size of WAV."""
    encoded = io.BytesIO()
    step = 10 * SAMPLE_RATE
    spans = [(start, min(start + step, clip.samples)) for start in range(0, clip.samples, step)]
    with soundfile.SoundFile(encoded, "w", SAMPLE_RATE, 1, format="FLAC", subtype="PCM_16") as file:
        for part in clip.parts(spans):
            file.write(np.clip(part, -1.0, 1.0))
    return encoded.getvalue()
