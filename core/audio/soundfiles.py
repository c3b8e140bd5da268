"""WAV, FLAC, Ogg and MP3 by libsndfile, block by block.

The containers have been checked before (`riff`, `containers`); what libsndfile finds in them is checked
once more, so that a file which two parsers read differently is refused too.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from core.audio.containers import Container
from core.audio.limits import (
    BLOCK_FRAMES,
    GIVE_WHOLE,
    check_duration,
    check_layout,
    is_truncated,
    refusal,
    truncated,
)

SUBTYPES = {
    Container.WAV: ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    Container.FLAC: ("PCM_S8", "PCM_16", "PCM_24", "PCM_32"),
    Container.OGG: ("VORBIS", "OPUS", "PCM_16", "PCM_24", "PCM_S8"),  # the last three: FLAC in Ogg
    Container.MP3: ("MPEG_LAYER_III",),
}


class SoundFileTrack:
    """An open recording: its layout, and its samples as an iterator of blocks.

    Attributes
    ----------
    sample_rate_hz, channels : int

    Raises
    ------
    AudioError
        On opening or while reading: it cannot be decoded, its header is absurd, it is over the limit or cut
        short.
    """

    def __init__(self, stream: BinaryIO, container: Container, name: str, max_seconds: float | None) -> None:
        self._name = name
        stream.seek(0)
        try:
            self._file: Any = soundfile.SoundFile(stream)
        except (
            Exception
        ) as error:  # libsndfile's errors come as several classes, python-soundfile's own as more
            raise self._damaged(0, container.name) from error
        try:
            if self._file.subtype not in SUBTYPES[container]:
                raise refusal(
                    name, f"holds {self._file.subtype} samples, which are not accepted in {container.name}"
                )
            self.sample_rate_hz, self.channels = int(self._file.samplerate), int(self._file.channels)
            check_layout(name, self.sample_rate_hz, self.channels)
            self._frames = int(self._file.frames)
            check_duration(name, self._frames, self.sample_rate_hz, max_seconds)
        except BaseException:
            self._file.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """The samples as blocks of (frames, channels), at most 65,536 frames each; closes the file."""
        held = 0
        with self._file:
            while True:
                try:
                    block = self._file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
                except Exception as error:
                    raise self._damaged(held) from error
                if len(block) == 0:
                    break
                held += len(block)
                yield block
        held_s, promised_s = held / self.sample_rate_hz, self._frames / self.sample_rate_hz
        if is_truncated(held_s, promised_s):
            raise truncated(self._name, held_s, promised_s)

    def _damaged(self, held: int, container: str | None = None) -> Exception:
        if container is not None:
            return refusal(
                self._name,
                f"starts like {container} but cannot be decoded: it is damaged or cut short",
                GIVE_WHOLE,
            )
        held_s, promised_s = held / self.sample_rate_hz, self._frames / self.sample_rate_hz
        problem = f"is damaged or cut short: decoding stopped after {held_s:.2f} s of {promised_s:.2f} s"
        return refusal(self._name, problem, GIVE_WHOLE)
