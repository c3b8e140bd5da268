"""Opening a recording, from a path or from the bytes of an upload: everything is checked before it becomes a clip."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from core.audio.clip import Clip, DecodedClip, StreamedClip, UncheckedClip
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
    opening = Opening(source, name=name, max_seconds=max_seconds, channel=channel)
    waveform = _joined(opening.blocks())
    assert waveform is not None
    return DecodedClip(waveform=waveform, **opening.properties)


class Opening:
    """The first pass over a recording, which checks it: its samples on the way, and the clip at the end.

    Parameters
    ----------
    source, name, max_seconds, channel
        As ``load_clip`` takes them.
    on_progress : callable, optional
        Called with the share that is decoded; it may raise to give up.

    Attributes
    ----------
    properties : dict
        The fields of ``Clip``, once all blocks have been read.

    Examples
    --------
    >>> from core.audio import encode_wav
    >>> opening = Opening(encode_wav(np.zeros(32_000)), name="silence.wav")
    >>> [len(block) for block in opening.blocks()], opening.clip.silent
    ([32000], True)
    """

    properties: dict[str, Any]

    def __init__(
        self,
        source: bytes | str | os.PathLike[str],
        *,
        name: str | None = None,
        max_seconds: float | None = MAX_SECONDS,
        channel: Channel = "mean",
        on_progress: OnProgress | None = None,
    ) -> None:
        self._source, self._name = source, name
        self._max_seconds, self._channel, self._on_progress = max_seconds, channel, on_progress

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """Mono blocks at 32 kHz, (samples,) each, in order. Closing the iterator stops the work. Raises ``AudioError``."""
        with _opened(self._source, self._name) as (stream, shown), read_errors(shown):
            self._job = _job(stream, shown, self._max_seconds, self._channel)
            self._decoding = Decoding(stream, self._job, self._on_progress)
            with contextlib.closing(self._decoding.blocks()) as blocks:
                yield from blocks
            self.properties = _properties(stream, self._job, self._decoding.facts)

    @property
    def unchecked(self) -> UncheckedClip:
        """What is known of it while its blocks are read."""
        header, duration_s = self._decoding.header, self._decoding.expected_s
        return UncheckedClip(
            source=_kept(self._source),
            job=self._job,
            name=self._job.name,
            sample_rate_hz=header.sample_rate_hz,
            channels=header.channels,
            duration_s=duration_s,
            sha256="",
            samples=round(duration_s * SAMPLE_RATE),
            peak=1.0,
            channel_rms=(1.0,) * header.channels,
            channel=self._job.channel,
        )

    @property
    def clip(self) -> StreamedClip:
        """The recording, once all blocks have been read: its file or path, which each further pass decodes again."""
        return StreamedClip(source=_kept(self._source), job=self._job, **self.properties)


def open_clip(
    source: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
    channel: Channel = "mean",
    on_progress: OnProgress | None = None,
    unchecked_from_s: float = math.inf,
) -> Clip:
    """``load_clip`` in bounded memory: of more than ``DECODED_SECONDS``, the file or its path is kept in place of its samples.

    Of a recording that lasts longer than ``unchecked_from_s``, no more than that is decoded: it becomes an ``UncheckedClip``.

    Raises
    ------
    AudioError
        As ``load_clip``.
    """
    limit = round(DECODED_SECONDS * SAMPLE_RATE)
    opening = Opening(source, name=name, max_seconds=max_seconds, channel=channel, on_progress=on_progress)
    with contextlib.closing(opening.blocks()) as blocks:
        waveform = _joined(blocks, limit, unchecked_from_s * SAMPLE_RATE)
    if waveform is None:
        return opening.unchecked
    if opening.properties["samples"] > limit:
        return opening.clip
    return DecodedClip(waveform=waveform, **opening.properties)


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
    decoding = Decoding(stream, job)
    for _ in decoding.blocks():
        pass
    return replace(job, channel=1 + int(np.argmax(decoding.facts.channel_rms)))


def _joined(
    blocks: Iterable[npt.NDArray[np.float32]], most_kept: float = math.inf, most: float = math.inf
) -> npt.NDArray[np.float32] | None:
    """The samples as one read-only array, (samples,); of more than ``most_kept``, none are kept, and None of more than ``most``."""
    joined = bytearray()  # grows in place; joining a list of blocks would need twice the memory
    samples = 0
    for block in blocks:
        samples += len(block)
        if samples > most:
            return None
        if samples <= most_kept:
            joined += block.tobytes()
        else:
            joined.clear()
    waveform = np.frombuffer(joined, dtype=np.float32)
    waveform.setflags(write=False)
    return waveform


def _kept(source: bytes | str | os.PathLike[str]) -> bytes | Path:
    """What a clip keeps in place of its samples."""
    return bytes(source) if isinstance(source, bytes | bytearray | memoryview) else Path(os.fsdecode(source))


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
