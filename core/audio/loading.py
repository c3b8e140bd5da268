"""Opening a recording, from a path or from the bytes of an upload: everything is checked before it becomes a clip."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from core.audio.clip import Clip, DecodedClip, StreamedClip
from core.audio.facts import Facts, Job
from core.audio.formats import ACCEPTED, SUFFIXES
from core.audio.limits import SAMPLE_RATE
from core.audio.messages import audio_error, display_name, read_errors
from core.audio.pool import Decoding
from core.errors import AudioError

_Stream = io.BytesIO | io.BufferedReader

Channel: TypeAlias = int | Literal["mean", "loudest"]
"""Which channel of a recording is used: one, counted from 1; the mean of all; or the one with the highest level."""

OnProgress = Callable[[float], object]
"""Called with the share that is decoded, many times a second; it may raise to give up."""

MAX_SECONDS = 600.0  # 77 MB of samples

DECODED_SECONDS = 60.0
"""Up to this length ``open_clip`` keeps the samples: 8 MB."""


def load_clip(
    source: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
    channel: Channel = "mean",
) -> DecodedClip:
    """Decode a recording, check it, mix it to mono and resample it to 32 kHz, in a process of its own (``pool``).

    Parameters
    ----------
    source : bytes, str or path-like
        The bytes of a file, or its path.
    name : str, optional
        What to call it; by default the path's last part, or "recording". Never used as a path.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.
    channel : int, "mean" or "loudest"
        What to use of several channels: one, counted from 1, their mean, or the one with the highest level.

    Returns
    -------
    DecodedClip
        With ``waveform``, (samples,) float32 at 32 kHz, full scale at ±1.

    Raises
    ------
    AudioError
        In one line: the file is missing, unreadable, empty, not in an accepted format, truncated, over the limit, holds
        no samples or NaN or infinite ones, has no such channel, its header is absurd, or decoding it takes more time or
        memory than any recording does.

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
    core.errors.AudioError: "letter.txt" is not in a format that Pannscope reads. Give a recording as WAV, W64, ...
    """
    with _opened(source, name) as (stream, shown), read_errors(shown):
        job = _job(stream, shown, max_seconds, channel)
        waveform, facts = _read(stream, job, max_samples=None)
        return DecodedClip(waveform=waveform, **_properties(stream, job, facts))


def open_clip(
    source: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
    channel: Channel = "mean",
    on_progress: OnProgress | None = None,
) -> Clip:
    """``load_clip`` in bounded memory: of more than ``DECODED_SECONDS``, the file or its path is kept in place of its samples.

    Raises
    ------
    AudioError
        As ``load_clip``.
    """
    limit = round(DECODED_SECONDS * SAMPLE_RATE)
    with _opened(source, name) as (stream, shown), read_errors(shown):
        job = _job(stream, shown, max_seconds, channel)
        waveform, facts = _read(stream, job, max_samples=limit, on_progress=on_progress)
        properties = _properties(stream, job, facts)
    if facts.samples > limit:
        kept = source if isinstance(source, bytes) else Path(os.fsdecode(source))
        return StreamedClip(source=kept, job=job, **properties)
    return DecodedClip(waveform=waveform, **properties)


def _job(stream: _Stream, shown: str, max_seconds: float | None, channel: Channel) -> Job:
    """What the decoder is to do; the loudest channel is determined by a pass over the recording."""
    if not (channel in ("mean", "loudest") or (isinstance(channel, int) and channel >= 1)):
        raise AudioError(f'There is no channel {channel!r}. Give a number from 1 on, "mean" or "loudest".')
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(
            f"A limit of {max_seconds} s accepts no recording. Give a positive number of seconds."
        )
    suffix = PurePath(shown).suffix.lower()
    job = Job(
        name=shown,
        suffix=suffix if suffix in SUFFIXES else "",
        size=stream.seek(0, 2),
        channel=channel if isinstance(channel, int) else 0,
        max_seconds=max_seconds,
    )
    if job.size == 0:
        raise audio_error(shown, "is empty (0 bytes)")
    if channel != "loudest":
        return job
    _, facts = _read(stream, job, max_samples=0)
    return replace(job, channel=1 + int(np.argmax(facts.channel_rms)))


def _read(
    stream: _Stream, job: Job, *, max_samples: int | None, on_progress: OnProgress | None = None
) -> tuple[npt.NDArray[np.float32], Facts]:
    """The samples as one read-only array, (samples,), and what was measured; of more than ``max_samples``, none are kept."""
    joined = bytearray()  # grows in place; joining a list of blocks would need twice the memory
    samples = 0
    decoding = Decoding(stream, job, on_progress)
    with contextlib.closing(decoding.blocks()) as blocks:
        for block in blocks:
            samples += len(block)
            if max_samples is None or samples <= max_samples:
                joined += block.tobytes()
            else:
                joined.clear()
    waveform = np.frombuffer(joined, dtype=np.float32)
    waveform.setflags(write=False)
    return waveform, decoding.facts


def _properties(stream: _Stream, job: Job, facts: Facts) -> dict[str, Any]:
    """The fields of ``Clip``."""
    stream.seek(0)
    return {
        "name": job.name,
        "sample_rate_hz": facts.sample_rate_hz,
        "channels": facts.channels,
        "duration_s": facts.frames / facts.sample_rate_hz,
        "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
        "samples": facts.samples,
        "peak": facts.peak,
        "channel_rms": facts.channel_rms,
        "channel": job.channel,
        "notes": facts.notes,
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
