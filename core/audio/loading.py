"""Opening a recording, from a path or from the bytes of an upload: everything is checked before it becomes a clip."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from typing import Any

from core.audio.clip import Clip, DecodedClip, StreamedClip
from core.audio.decoding import SAMPLE_RATE, Decoder
from core.audio.formats import ACCEPTED
from core.audio.messages import audio_error, display_name, read_errors
from core.errors import AudioError

_Stream = io.BytesIO | io.BufferedReader

MAX_SECONDS = 600.0  # 77 MB of samples

DECODED_SECONDS = 60.0
"""Up to this length ``open_clip`` keeps the samples: 8 MB."""


def load_clip(
    source: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
) -> DecodedClip:
    """Decode a recording, check it, mix it to mono and resample it to 32 kHz.

    Parameters
    ----------
    source : bytes, str or path-like
        The bytes of a file, or its path.
    name : str, optional
        What to call it; by default the path's last part, or "recording". Never used as a path.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.

    Returns
    -------
    DecodedClip
        With ``waveform``, (samples,) float32 at 32 kHz, full scale at ±1.

    Raises
    ------
    AudioError
        In one line: the file is missing, unreadable, empty, not in an accepted format, truncated, over the limit, holds
        no samples or NaN or infinite ones, or its header is absurd.

    Examples
    --------
    >>> import numpy as np
    >>> from core.audio import encode_wav, load_clip
    >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 32_000)
    >>> clip = load_clip(encode_wav(tone), name="tone.wav")
    >>> clip.duration_s, clip.waveform.shape, clip.silent
    (0.5, (16000,), False)
    >>> load_clip(b"not audio", name="letter.txt")
    Traceback (most recent call last):
    core.errors.AudioError: "letter.txt" is not in a format that Pannscope reads. Give a recording as WAV, FLAC, ...
    """
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(
            f"A limit of {max_seconds} s accepts no recording. Give a positive number of seconds."
        )
    with _opened(source, name) as (stream, shown), read_errors(shown):
        decoder = Decoder(stream, shown, max_seconds)
        waveform = decoder.read()
        return DecodedClip(waveform=waveform, **_properties(decoder, stream))


def open_clip(data: bytes, *, name: str) -> Clip:
    """``load_clip`` for servers: of more than ``DECODED_SECONDS``, the file is kept in place of its samples.

    Raises
    ------
    AudioError
        As ``load_clip`` with its default limit.
    """
    limit = round(DECODED_SECONDS * SAMPLE_RATE)
    with _opened(data, name) as (stream, shown), read_errors(shown):
        decoder = Decoder(stream, shown, MAX_SECONDS)
        waveform = decoder.read(limit)
        properties = _properties(decoder, stream)
    if decoder.samples > limit:
        return StreamedClip(data=data, **properties)
    return DecodedClip(waveform=waveform, **properties)


def _properties(decoder: Decoder, stream: _Stream) -> dict[str, Any]:
    """The fields of ``Clip``, once every block has been decoded."""
    stream.seek(0)
    return {
        "name": decoder.name,
        "sample_rate_hz": decoder.sample_rate_hz,
        "channels": decoder.channels,
        "duration_s": decoder.duration_s,
        "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
        "samples": decoder.samples,
        "peak": decoder.peak,
        "notes": decoder.notes,
    }


@contextlib.contextmanager
def _opened(source: bytes | str | os.PathLike[str], name: str | None) -> Iterator[tuple[_Stream, str]]:
    """Open bytes or a regular file (a pipe or a device would never end); yields the stream and the name to show."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), display_name(name or "recording")
        return
    try:
        path = os.fspath(source)
    except TypeError:
        raise AudioError(
            f"A {type(source).__name__} is not a recording. Give the bytes or the path of one."
        ) from None
    shown = display_name(name or os.path.basename(os.fsdecode(path)) or os.fsdecode(path))
    give_file = f"Give the path of a recording ({ACCEPTED})."
    try:
        # By descriptor: what is checked is what is read, and no decoder goes by the file's name. Without O_NONBLOCK a pipe
        # would block the open; Windows has neither pipes as files nor the flag, but needs O_BINARY.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise audio_error(shown, "does not exist", give_file) from None
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # Windows opens no folder and reports a missing permission
            raise audio_error(shown, "is a folder", give_file) from None
        if isinstance(error, PermissionError):
            raise audio_error(
                shown, "cannot be read (permission denied)", "Change its permissions, or give another file."
            ) from None
        reason = getattr(error, "strerror", None) or str(error)
        raise audio_error(shown, f"cannot be opened ({reason})", give_file) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise audio_error(shown, f"is {kind}", give_file)
    with open(descriptor, "rb") as stream:
        yield stream, shown
