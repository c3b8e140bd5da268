"""What is accepted at the door, and how a refusal is worded.

Every check that can be made on a header is made here, before a decoder has spent memory on what the header
promises.
"""

from __future__ import annotations

from core.errors import AudioError

MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 384_000
MAX_CHANNELS = 8
BLOCK_FRAMES = 65_536  # frames decoded at a time: at most 2 MiB of float32 with eight channels
TRUNCATION_SECONDS = 0.1  # a codec's padding may be missing at the end …
TRUNCATION_SHARE = 0.01  # … and an index may be off by this share, before a file counts as cut short
MAX_NAME = 120

ACCEPTED = "WAV, FLAC, OGG/Opus, MP3, M4A/AAC, MP4 or WebM"
GIVE_RECORDING = f"Give a recording as {ACCEPTED}."
GIVE_WHOLE = "Copy or upload the whole file again."
CONVERT = f"Convert it to 16-bit PCM WAV or FLAC ({ACCEPTED} are accepted)."


def display_name(name: str) -> str:
    """The last part of a file name, in one printable line, for messages and tables; never used as a path."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(letter if letter.isprintable() else " " for letter in last)
    shown = " ".join(printable.split())
    if len(shown) > MAX_NAME:
        shown = f"{shown[: MAX_NAME - 10]}…{shown[-9:]}"
    return shown or "recording"


def refusal(name: str, problem: str, remedy: str = GIVE_RECORDING) -> AudioError:
    """The error for one refused file: what was given, what is wrong with it, what to do, in one line."""
    return AudioError(" ".join(f'"{name}" {problem}. {remedy}'.split()))


def truncated(name: str, held_s: float, promised_s: float) -> AudioError:
    """The error for a file that ends before its header says."""
    return refusal(
        name, f"is cut short: its header promises {promised_s:.2f} s and it holds {held_s:.2f} s", GIVE_WHOLE
    )


def is_truncated(held_s: float, promised_s: float) -> bool:
    """Whether a file must have lost its end: more than 0.1 s and more than 1 % are missing."""
    return promised_s - held_s > max(TRUNCATION_SECONDS, TRUNCATION_SHARE * promised_s)


def too_long(name: str, duration_s: float, max_seconds: float) -> AudioError:
    """The error for a recording over the limit."""
    lasts = f"{duration_s:,.0f} s" if duration_s >= max_seconds + 1 else "longer"
    problem = f"lasts {lasts}; recordings of up to {max_seconds:,.10g} s are accepted"
    return refusal(name, problem, "Cut a shorter part out of it.")


def check_layout(name: str, sample_rate_hz: int, channels: int) -> None:
    """Refuse a sample rate or a number of channels that no recording has.

    Raises
    ------
    AudioError
        The rate is outside 4 to 384 kHz, or there are fewer than one or more than eight channels.
    """
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        problem = (
            f"has a sample rate of {sample_rate_hz:,} Hz; {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} Hz are accepted"
        )
        raise refusal(name, problem, "Export it again at 32,000 or 44,100 Hz.")
    if not 1 <= channels <= MAX_CHANNELS:
        problem = f"has {channels:,} channels; 1 to {MAX_CHANNELS} are accepted"
        raise refusal(name, problem, "Export it again in mono or stereo.")


def check_duration(name: str, frames: float, sample_rate_hz: int, max_seconds: float | None) -> None:
    """Refuse a length that is over the limit, from a header or from what has been decoded so far."""
    if max_seconds is not None and frames > max_seconds * sample_rate_hz:
        raise too_long(name, frames / sample_rate_hz, max_seconds)
