"""From a stream of bytes to blocks of samples, with every check made before memory is spent."""

from __future__ import annotations

from typing import BinaryIO, cast

from core.audio.boxes import check_tables
from core.audio.containers import (
    Container,
    check_ogg_end,
    flac_frames,
    id3_length,
    mp3_tells_its_length,
    sniff,
)
from core.audio.limits import check_duration, refusal
from core.audio.riff import Finished, read_riff
from core.audio.soundfiles import SoundFileTrack
from core.audio.tracks import AvTrack

__all__ = ["AvTrack", "SoundFileTrack", "open_track"]


def open_track(
    stream: BinaryIO, name: str, max_seconds: float | None
) -> tuple[SoundFileTrack | AvTrack, tuple[str, ...]]:
    """Find out what a file is, check its header, and open the decoder that it is meant for.

    Parameters
    ----------
    stream : seekable binary file.
    name : what to call the file in a message.
    max_seconds : the longest recording that is accepted, None for any.

    Returns
    -------
    track : with `sample_rate_hz`, `channels` and `blocks()`, which yields (frames, channels) float32.
    notes : what a listener should know about the file.

    Raises
    ------
    AudioError
        It is empty, no accepted format, absurd, over the limit, damaged or cut short.
    """
    size = stream.seek(0, 2)
    if size == 0:
        raise refusal(name, "is empty (0 bytes)")
    container = sniff(stream, name)
    notes: tuple[str, ...] = ()
    by_soundfile = True
    if container is Container.WAV:
        header = read_riff(stream, size, name)
        check_duration(name, header.frames, header.sample_rate_hz, max_seconds)
        notes = header.notes
        if not header.finished:
            stream = cast(BinaryIO, Finished(stream, header))
    elif container is Container.OGG:
        notes = check_ogg_end(stream, size, name)
    elif container is Container.FLAC:
        by_soundfile = (
            flac_frames(stream) > 0
        )  # libsndfile does not find the end of a FLAC file of unknown length
    elif container is Container.MP3:
        by_soundfile = mp3_tells_its_length(
            stream, size, name, max_seconds
        )  # else it guesses, and loses the end
    else:
        by_soundfile = False
        if container is Container.MP4:
            check_tables(stream, size, name)
    if by_soundfile:
        return SoundFileTrack(stream, container, name, max_seconds), notes
    return AvTrack(stream, id3_length(stream), container, name, max_seconds), notes
