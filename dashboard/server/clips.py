"""Decoded recordings with their pictures, each opened once; of a long one the beginning alone is decoded, and jobs do the rest (``long_recordings``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np

from core.audio import (
    MAX_SECONDS,
    Clip,
    OnProgress,
    SoundEncoder,
    StreamedClip,
    UncheckedClip,
    encode_wav,
    open_clip,
)
from core.errors import AudioError
from core.examples import example_clip
from core.runtime.memory import drop_library_pages
from dashboard import formats
from dashboard.charts.clip_picture import MAX_COLUMNS, ClipPicture, clip_picture
from dashboard.server.cache import ByteLruCache
from dashboard.server.inference_queue import InferenceQueue, OnWait
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.source import Source
from dashboard.server.upload_limit import LONGEST_S

CALIBRATION_SECONDS = 30.0
"""Repair and measurements use at most this much of every clip, as much as one window of tagging."""

_BUDGET_BYTES = 160 * 2**20
_LONG_BYTES = 2**20

OnShare = Callable[[float, str], object]
"""Called with the share of a piece of work that is done, and what it is: "Decoding". It may raise to give up."""


@dataclass(frozen=True, eq=False)
class OpenedClip:
    """A clip with what the page draws and plays of it; ``encoded``, its player's file where that is no WAV, of ``sound_type``."""

    clip: Clip
    picture: ClipPicture
    encoded: bytes = b""
    sound_type: str = "audio/wav"

    @cached_property
    def sound(self) -> bytes:
        """The player's file; that of a short clip is a WAV, encoded when a page first shows one."""
        return self.encoded or encode_wav(self.clip.beginning(self.clip.duration_s))

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        drawn = self.picture.levels.nbytes + 2 * self.picture.low.nbytes
        return self.clip.nbytes + drawn + len(vars(self).get("sound", self.encoded))


class Clips:
    """Opens recordings and keeps the last ones."""

    def __init__(self, queue: InferenceQueue, pressure: MemoryPressure) -> None:
        self._queue = queue
        self._opened: ByteLruCache[OpenedClip] = ByteLruCache(
            _BUDGET_BYTES, lambda opened: opened.nbytes, growing=True
        )
        self._long: ByteLruCache[UncheckedClip] = ByteLruCache(_LONG_BYTES, lambda _clip: 4_096)
        pressure.add(self._opened)

    def clip(
        self, source: Source, on_wait: OnWait | None = None, on_share: OnShare | None = None
    ) -> OpenedClip:
        """Decode, check and draw a recording of up to ``MAX_SECONDS``, once. Raises ``AudioError``."""
        if (long := self._long.get(source.key)) is not None:
            raise _too_long(long)
        slot = None if source.example else self._queue.slot(on_wait)
        return self._opened.get_or_make(
            source.key, lambda: self._open(source, on_share or (lambda _share, _doing: None)), within=slot
        )

    def long_clip(
        self, source: Source, on_wait: OnWait | None = None, on_share: OnShare | None = None
    ) -> UncheckedClip | None:
        """A recording that is longer than ``clip`` takes; None for one that ``clip`` has opened. Raises ``AudioError``.

        Only so much of it has been decoded as shows that: it is an ``UncheckedClip``.
        """
        try:
            self.clip(source, on_wait, on_share)
        except AudioError:
            if (long := self._long.get(source.key)) is not None:
                return replace(long, source=source.data)
            raise
        return None

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

    def _open(self, source: Source, on_share: OnShare) -> OpenedClip:
        if source.example is not None:
            example = example_clip(source.example)
            return OpenedClip(example, clip_picture(example.samples, example.segments))
        clip = decoded(source, lambda share: on_share(share, "Decoding"), unchecked_from_s=MAX_SECONDS)
        if not isinstance(clip, StreamedClip):
            return OpenedClip(clip, clip_picture(clip.samples, clip.segments))
        if isinstance(clip, UncheckedClip):
            self._long.put(source.key, replace(clip, source=b""))  # whose bytes the visitor's recordings have
            raise _too_long(clip)
        return drawn(clip, "FLAC", MAX_COLUMNS, on_share)


def decoded(source: Source, on_progress: OnProgress, *, unchecked_from_s: float = math.inf) -> Clip:
    """A visitor's recording, see ``open_clip``. Raises ``AudioError``."""
    return open_clip(
        source.data,
        name=source.name,
        max_seconds=LONGEST_S,
        channel=source.channel,
        on_progress=on_progress,
        unchecked_from_s=unchecked_from_s,
    )


def drawn(
    clip: StreamedClip, container: Literal["FLAC", "OGG"], columns: int, on_share: OnShare
) -> OpenedClip:
    """A clip with its picture and its player's file, both of one pass over it: each pass decodes it again."""
    with closing(SoundEncoder(container)) as encoder:
        picture = clip_picture(clip.samples, partial(_encoded_parts, clip, encoder, on_share), columns)
        drop_library_pages()  # a long one takes tens of MB from now on
        return OpenedClip(clip, picture, encoder.data(), f"audio/{container.lower()}")


def _encoded_parts(
    clip: StreamedClip, encoder: SoundEncoder, on_share: OnShare, spans: Sequence[tuple[int, int]]
) -> Iterator[np.ndarray]:
    """The samples of every (start, end) of ``spans``, once they have passed the encoder."""
    with closing(clip.segments(spans)) as segments:
        for (start, _), part in zip(spans, encoder.through(segments), strict=True):
            on_share(start / clip.samples, "Drawing")
            yield part


def _too_long(clip: UncheckedClip) -> AudioError:
    return AudioError(
        f'"{clip.name}" lasts more than the {formats.seconds(MAX_SECONDS)} that are accepted here ({formats.about(clip.duration_s)}). '
        "Add a shorter part of it, or open it on the Compare page, for its tags over time."
    )
