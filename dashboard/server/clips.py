"""Decoded recordings with their pictures, each opened once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.audio import Clip, FlacEncoder, StreamedClip, encode_wav, open_clip
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

OnShare = Callable[[float, str], object]
"""Called with the share of a piece of work that is done, and what it is: "Decoding". It may raise to give up."""


@dataclass(frozen=True, eq=False)
class OpenedClip:
    """A clip with what the page draws and plays of it; ``flac``, its player's file where it is long: half the size of WAV."""

    clip: Clip
    picture: ClipPicture
    flac: bytes = b""

    @cached_property
    def sound(self) -> bytes:
        """The player's file; that of a short clip is a WAV, encoded when a page first shows one."""
        return self.flac or encode_wav(self.clip.beginning(self.clip.duration_s))

    @property
    def sound_type(self) -> str:
        """Its media type."""
        return "audio/flac" if self.flac else "audio/wav"

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        drawn = self.picture.levels.nbytes + 2 * self.picture.low.nbytes
        return self.clip.nbytes + drawn + len(vars(self).get("sound", self.flac))


class Clips:
    """Opens recordings and keeps the last ones."""

    def __init__(self, queue: InferenceQueue, pressure: MemoryPressure) -> None:
        self._queue = queue
        self._opened: ByteLruCache[OpenedClip] = ByteLruCache(
            _BUDGET_BYTES, lambda opened: opened.nbytes, growing=True
        )
        pressure.add(self._opened)

    def clip(
        self, source: Source, on_wait: OnWait | None = None, on_share: OnShare | None = None
    ) -> OpenedClip:
        """Decode, check and draw a recording, once. Raises ``AudioError``."""
        slot = None if source.example else self._queue.slot(on_wait)
        return self._opened.get_or_make(
            source.key, lambda: _open(source, on_share or (lambda _share, _doing: None)), within=slot
        )

    def waveforms(self, sources: Sequence[Source]) -> list[np.ndarray]:
        """The beginnings of clips, (samples,) each. Raises ``AudioError``."""
        return self.waveform_loader(sources)()

    def waveform_loader(
        self, sources: Sequence[Source], longest_s: float = CALIBRATION_SECONDS
    ) -> Callable[[], list[np.ndarray]]:
        """``waveforms`` as a function for a job: recordings are opened now, examples are only synthesised then (seconds)."""
        opened = {source.key: self.clip(source).clip for source in sources if source.example is None}
        return lambda: [
            (example_clip(source.example) if source.example else opened[source.key]).beginning(longest_s)
            for source in sources
        ]


def _open(source: Source, on_share: OnShare) -> OpenedClip:
    if source.example is not None:
        example = example_clip(source.example)
        return OpenedClip(example, clip_picture(example.samples, example.segments))
    clip = open_clip(
        source.data,
        name=source.name,
        channel=source.channel,
        on_progress=lambda share: on_share(share, "Decoding"),
    )
    if not isinstance(clip, StreamedClip):
        return OpenedClip(clip, clip_picture(clip.samples, clip.segments))
    encoder = FlacEncoder()  # in the same pass: each pass over a long clip decodes it again

    def parts(spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        with closing(clip.segments(spans)) as segments:
            for (start, _), part in zip(spans, encoder.through(segments), strict=True):
                on_share(start / clip.samples, "Drawing")
                yield part

    picture = clip_picture(clip.samples, parts)
    drop_library_pages()  # a long one takes tens of MB from now on
    return OpenedClip(clip, picture, encoder.data())
