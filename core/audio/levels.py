"""How loud a recording is, and what the user should know about that."""

from __future__ import annotations

import math
from collections.abc import Sequence

SILENT_PEAK = 2.0**-15  # one step of 16-bit samples
QUIET_DBFS = (
    -60.0
)  # the level of a 16-bit recording's last five bits: what is tagged there is mostly its noise
LOUD_PEAK = 1.5  # above the overshoot that lossy codecs and resampling make of a full-scale recording
MAX_PEAK = 2.0**32  # beyond float files that hold 32-bit integers; its power spectrum nears float32's end
MIXING_LOSS_DB = (
    5.0  # two channels of equal, unrelated sound lose 3 dB by averaging; one silent channel of two loses 6 dB
)


def dbfs(peak: float) -> float:
    """An amplitude in decibels relative to full scale; minus infinity for 0.

    >>> dbfs(1.0), round(dbfs(0.5), 2)
    (0.0, -6.02)
    """
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def formatted_db(decibels: float, unit: str = "dB") -> str:
    """A level as the notes print it, with a true minus sign.

    >>> formatted_db(-72.2, "dBFS")
    '−72 dBFS'
    """
    return f"{decibels:.0f} {unit}".replace("-", "−")


def level_notes(peak: float, channel_peak: float, mixed_rms: float, rms: Sequence[float]) -> tuple[str, ...]:
    """What the user should know about a recording's level, at most two notes.

    Parameters
    ----------
    peak : float
        The largest magnitude after mixing.
    channel_peak : float
        The largest magnitude of any channel.
    mixed_rms : float
        Root mean square after mixing.
    rms : sequence of float
        Root mean square of every channel that was mixed.
    """
    if channel_peak <= SILENT_PEAK:
        return ("it is silent",)
    if peak <= SILENT_PEAK:
        return ("its channels cancel each other: mixed to mono it is silent",)
    notes = []
    loudest = max(range(len(rms)), key=rms.__getitem__)
    lost_db = dbfs(rms[loudest]) - dbfs(mixed_rms)
    if len(rms) > 1 and lost_db > MIXING_LOSS_DB:
        below = f"{formatted_db(lost_db)} below the loudest, channel {loudest + 1}"
        notes.append(f"the mean of its {len(rms)} channels is {below}; one channel can be chosen instead")
    if channel_peak > LOUD_PEAK:
        notes.append(f"it peaks at {channel_peak:,.1f} times full scale, so that the tags may be wrong")
    elif dbfs(peak) < QUIET_DBFS:
        level = formatted_db(dbfs(peak), "dBFS")
        notes.append(f"it is very quiet: it peaks at {level}, so that the tags may be wrong")
    return tuple(notes)
