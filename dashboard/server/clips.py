"""Decoded recordings with their pictures, each opened once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.audio import Clip, DecodedClip, OnProgress, StreamedClip, encode_flac, encode_wav, open_clip
from core.examples import example_clip
from core.runtime.memory import drop_library_pages
from dashboard.charts.clip_picture import ClipPicture, clip_picture
from dashboard.server.cache import ByteLruCache
from dashboard.server.inference_queue import InferenceQueue, OnWait
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

    def __init__(self, queue: InferenceQueue, pressure: MemoryPressure) -> None:
        self._queue = queue
        self._opened: ByteLruCache[OpenedClip] = ByteLruCache(
            _BUDGET_BYTES, lambda opened: opened.nbytes, growing=True
        )
        pressure.add(self._opened)

    def clip(
        self, source: Source, on_wait: OnWait | None = None, on_progress: OnProgress | None = None
    ) -> OpenedClip:
        """Decode, check and draw a recording, once; ``on_progress`` is called with the share that is decoded. Raises ``AudioError``."""
        slot = None if source.example else self._queue.slot(on_wait)
        return self._opened.get_or_make(source.key, lambda: _open(source, on_progress), within=slot)

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


def _open(source: Source, on_progress: OnProgress | None) -> OpenedClip:
    clip: Clip
    if source.example is not None:
        clip = example_clip(source.example)
    else:
        clip = open_clip(source.data, name=source.name, channel=source.channel, on_progress=on_progress)
    if isinstance(clip, StreamedClip):
        drop_library_pages()  # a long one takes tens of MB from now on
    return OpenedClip(clip, clip_picture(clip.samples, clip.segments))
