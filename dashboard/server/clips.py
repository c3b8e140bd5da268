"""Decoded recordings with their pictures, each opened once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.audio import Clip, DecodedClip, StreamedClip, encode_flac, encode_wav, open_clip
from core.examples import example_clip
from core.runtime.memory import trim_heap
from dashboard.charts.clip_picture import ClipPicture, clip_picture
from dashboard.server.cache import ByteLruCache
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.source import Source

CALIBRATION_SECONDS = 30.0
"""Repair and measurements use at most this much of every clip, as much as one window of tagging."""

_BUDGET_BYTES = 160 * 2**20


@dataclass(frozen=True, eq=False)
class OpenedClip:
    """A clip with what the page draws and plays of it."""

    clip: Clip
    picture: ClipPicture

    @cached_property
    def sound(self) -> bytes:
        """The player's file, encoded when a page first shows one: WAV, or of a long clip FLAC, which is half as large."""
        return (
            encode_wav(self.clip.waveform) if isinstance(self.clip, DecodedClip) else encode_flac(self.clip)
        )

    @property
    def sound_type(self) -> str:
        """Its media type."""
        return "audio/wav" if isinstance(self.clip, DecodedClip) else "audio/flac"

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        drawn = self.picture.levels.nbytes + 2 * self.picture.low.nbytes
        return self.clip.nbytes + drawn + len(vars(self).get("sound", b""))


class Clips:
    """Opens recordings and keeps the last ones."""

    def __init__(self, pressure: MemoryPressure) -> None:
        self._opened: ByteLruCache[OpenedClip] = ByteLruCache(
            _BUDGET_BYTES, lambda opened: opened.nbytes, growing=True
        )
        pressure.add(self._opened)

    def clip(self, source: Source) -> OpenedClip:
        """Decode, check and draw a recording, once. Raises ``AudioError``."""
        return self._opened.get_or_make(source.key, lambda: _open(source))

    def waveforms(self, sources: Sequence[Source]) -> list[np.ndarray]:
        """The beginnings of clips, (samples,) each. Raises ``AudioError``."""
        return self.waveform_loader(sources)()

    def waveform_loader(self, sources: Sequence[Source]) -> Callable[[], list[np.ndarray]]:
        """``waveforms`` as a function for a job: recordings are opened now, examples are only synthesised then (seconds)."""
        opened = {source.key: self.clip(source).clip for source in sources if source.example is None}
        return lambda: [
            (example_clip(source.example) if source.example else opened[source.key]).beginning(
                CALIBRATION_SECONDS
            )
            for source in sources
        ]


def _open(source: Source) -> OpenedClip:
    clip: Clip
    if source.example is not None:
        clip = example_clip(source.example)
    else:
        clip = open_clip(source.data, name=source.name)
    if isinstance(clip, StreamedClip):
        trim_heap()  # what receiving and reading so many bytes has left over
    return OpenedClip(clip, clip_picture(clip.samples, clip.segments))
