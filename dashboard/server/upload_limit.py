"""How large an uploaded file may be: chosen when the server starts, by the memory that there is, and what fits, in words."""

from __future__ import annotations

from streamlit import config

from core.audio import MAX_SECONDS
from core.runtime.machine import total_memory

SMALL_MB, LARGE_MB = 50, 200
"""An upload is in memory twice while it arrives, and once while it is kept: 200 MB are too much for 1 GB. 200 MB hold the ten minutes
that a clip may last as 24-bit stereo at 48 kHz (173 MB)."""

LARGE_FROM_BYTES = 3 * 2**29
"""1.5 GB: above Streamlit Community Cloud's 1 GB and the smallest machines of other hosts."""

_OPTION = "server.maxUploadSize"


def choose() -> None:
    """Set Streamlit's limit, unless the operator has, by an option, a variable or a configuration file."""
    if config.get_where_defined(_OPTION) == config.ConfigOption.DEFAULT_DEFINITION:
        config.set_option(_OPTION, limit_mb(total_memory()), "the memory of this machine")


def limit_mb(memory: int | None) -> int:
    """The limit in MB for a machine with so many bytes of memory; where that is unknown (macOS, Windows) it is a computer of today.

    >>> limit_mb(2**30), limit_mb(2**31), limit_mb(None)
    (50, 200, 200)
    """
    return SMALL_MB if memory is not None and memory < LARGE_FROM_BYTES else LARGE_MB


def what_fits(megabytes: int) -> str:
    """A limit as lengths of recordings; Streamlit's MB are 2**20 bytes.

    >>> what_fits(50)
    '50 MB and 10 minutes: about 5 minutes of 16-bit stereo or 3 of 24-bit at 48 kHz, or 10 minutes of MP3 or M4A'
    >>> what_fits(200)
    '200 MB and 10 minutes: any WAV of up to 24-bit stereo at 48 kHz, and FLAC, MP3 or M4A'
    """
    limit = MAX_SECONDS / 60
    minutes = [megabytes * 2**20 / (2 * width * rate) / 60 for width, rate in ((2, 44_100), (3, 48_000))]
    if min(minutes) >= limit:
        fits = "any WAV of up to 24-bit stereo at 48 kHz, and FLAC, MP3 or M4A"
    else:
        stereo, fine = (min(limit, number) for number in minutes)
        fits = f"about {stereo:.0f} minutes of 16-bit stereo or {fine:.0f} of 24-bit at 48 kHz, or {limit:.0f} minutes of MP3 or M4A"
    return f"{megabytes} MB and {limit:.0f} minutes: {fits}"


def text() -> str:
    """What fits into an upload here, in one sentence for a page."""
    return f"A file may have up to {what_fits(config.get_option(_OPTION))}. For longer ones there is the command line."
