"""What is accepted: sample rates, channels and lengths, and what a recording becomes."""

from __future__ import annotations

from typing import Protocol

from core.audio.messages import GIVE_SHORTER, audio_error
from core.units import plural

SAMPLE_RATE = 32_000  # Hz: what the PANNs are trained on (Kong et al. 2020, section IV-B)
MIN_RATE_HZ = 4_000  # half of telephony's 8 kHz
MAX_RATE_HZ = 384_000  # the highest rate of audio interfaces
MAX_CHANNELS = 64  # ambisonics of the seventh order; the largest microphone arrays in common use
MAX_SAMPLE_BYTES = 8  # 64-bit floats; no accepted codec takes more for a sample
SPARE_BYTES = 64 << 20  # for pictures and tags
BLOCK_FRAMES = 65_536  # frames decoded at a time: 16 MiB of float32 with 64 channels
TRUNCATION_SECONDS = 0.1  # a codec's padding may be missing at the end …
TRUNCATION_FRACTION = 0.01  # … and an index may be off by this fraction, before a file counts as truncated


def is_truncated(held_s: float, declared_s: float) -> bool:
    """Whether a file has lost its end: more than 0.1 s and more than 1 % of the declared length are missing."""
    return declared_s - held_s > max(TRUNCATION_SECONDS, TRUNCATION_FRACTION * declared_s)


def check_layout(name: str, sample_rate_hz: int, channels: int) -> None:
    """Raise ``AudioError`` for a sample rate outside 4 to 384 kHz and for channels outside 1 to 64."""
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        problem = (
            f"has a sample rate of {sample_rate_hz:,} Hz; {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz are accepted"
        )
        raise audio_error(name, problem, "Export it again at 32,000 or 44,100 Hz.")
    if not 1 <= channels <= MAX_CHANNELS:
        problem = f"has {channels:,} channels; 1 to {MAX_CHANNELS} are accepted"
        raise audio_error(name, problem, "Export it again in mono or stereo.")


def check_duration(name: str, frames: float, sample_rate_hz: int, max_seconds: float | None) -> None:
    """Raise ``AudioError`` for a length over the limit, declared by a header or decoded so far; None is no limit."""
    if max_seconds is None or frames <= max_seconds * sample_rate_hz:
        return
    duration_s = frames / sample_rate_hz
    lasts = f"{duration_s:,.0f} s" if duration_s >= max_seconds + 1 else "longer"
    problem = f"lasts {lasts}; recordings of up to {max_seconds:,.10g} s are accepted"
    raise audio_error(name, problem, GIVE_SHORTER)


def check_size(name: str, size: int, sample_rate_hz: int, channels: int, max_seconds: float | None) -> None:
    """Raise ``AudioError`` for a file of audio alone that is larger than the longest accepted recording of its layout.

    Most of such a file is not samples, and a decoder would search all of it for more.
    """
    if (
        max_seconds is None
        or size <= max_seconds * sample_rate_hz * channels * MAX_SAMPLE_BYTES + SPARE_BYTES
    ):
        return
    problem = (
        f"has {size / 1e9:,.1f} GB, more than {max_seconds:,.10g} s of {plural(channels, 'channel')} at {sample_rate_hz:,} Hz take; "
        f"recordings of up to {max_seconds:,.10g} s are accepted"
    )
    raise audio_error(name, problem, GIVE_SHORTER)


class _File(Protocol):
    size: int

    def tell(self) -> int: ...
    def seek(self, offset: int, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


def check_rest(name: str, file: _File, samples_bytes: int) -> None:
    """Raise ``AudioError`` for a WAV file, standing at its samples, after which much follows that is no chunk: FFmpeg would search all of it."""
    end = file.tell() + samples_bytes + samples_bytes % 2
    if file.size - end <= SPARE_BYTES:
        return
    file.seek(end)
    if not all(0x20 <= letter < 0x7F for letter in file.read(4)):
        problem = f"has {file.size / 1e9:,.1f} GB, of which its header declares {samples_bytes / 1e6:,.1f} MB as samples"
        raise audio_error(name, problem, "Cut off what follows them, or export it again.")
