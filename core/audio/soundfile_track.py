"""WAV, FLAC, Ogg and MP3 by libsndfile, block by block.

The containers have been checked before (``wav``, ``containers``); what libsndfile reads in them is checked once more, so
that a file which two parsers read differently is not accepted either.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from core.audio.formats import Container
from core.audio.limits import BLOCK_FRAMES, check_duration, check_layout, is_truncated
from core.audio.messages import GIVE_WHOLE, audio_error, damaged_error, truncated_error

SUBTYPES = {
    Container.WAV: ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    Container.FLAC: ("PCM_S8", "PCM_16", "PCM_24", "PCM_32"),
    Container.OGG: ("VORBIS", "OPUS", "PCM_16", "PCM_24", "PCM_S8"),  # the last three: FLAC in Ogg
    Container.MP3: ("MPEG_LAYER_III",),
}


class SoundFileTrack:
    """An open recording: its layout, and its samples as an iterator of blocks.

    Parameters
    ----------
    stream : seekable binary file
    container : Container
    name : str
        What to call the file in a message.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.

    Attributes
    ----------
    sample_rate_hz, channels : int

    Raises
    ------
    AudioError
        On opening or while reading: it cannot be decoded, its header is absurd, it is over a limit or truncated.
    """

    def __init__(self, stream: BinaryIO, container: Container, name: str, max_seconds: float | None) -> None:
        self._name = name
        stream.seek(0)
        try:
            self._file: Any = soundfile.SoundFile(stream)
        except (
            Exception
        ) as error:  # libsndfile's errors come as several classes, python-soundfile's own as more
            problem = f"starts like {container.title} but cannot be decoded: it is damaged or truncated"
            raise audio_error(name, problem, GIVE_WHOLE) from error
        try:
            if self._file.subtype not in SUBTYPES[container]:
                problem = f"holds {self._file.subtype} samples, which are not accepted in {container.title}"
                raise audio_error(name, problem)
            self.sample_rate_hz, self.channels = int(self._file.samplerate), int(self._file.channels)
            check_layout(name, self.sample_rate_hz, self.channels)
            self._frames = int(self._file.frames)
            check_duration(name, self._frames, self.sample_rate_hz, max_seconds)
        except BaseException:
            self._file.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """The samples as blocks of (frames, channels), at most 65,536 frames each; closes the file."""
        held, declared_s = 0, self._frames / self.sample_rate_hz
        with self._file:
            while True:
                try:
                    block = self._file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
                except Exception as error:
                    raise damaged_error(self._name, held / self.sample_rate_hz, declared_s) from error
                if len(block) == 0:
                    break
                held += len(block)
                yield block
        if is_truncated(held / self.sample_rate_hz, declared_s):
            raise truncated_error(self._name, held / self.sample_rate_hz, declared_s)
