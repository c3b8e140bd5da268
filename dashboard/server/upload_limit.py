"""How large an uploaded file may be, chosen when the server starts by the memory that there is; how long; and what fits, in words."""

from __future__ import annotations

from streamlit import config

from core.runtime.machine import total_memory
from dashboard import formats

SMALL_MB, LARGE_MB = 50, 200
"""An upload is in memory twice while it arrives, and once while it is kept: 200 MB are too much for 1 GB. 200 MB hold ten minutes of 24-bit
stereo at 48 kHz (173 MB) and an hour of FLAC in mono at 32 kHz (90 MB, at most 200); 50 MB hold an hour of MP3 or M4A of up to 116 kbit/s."""

LONGEST_S = 5_400.0
"""The longest recording that is accepted, of more than ten minutes for tags over time. On a machine of 1 GB it takes some 200 MB: the file's
50, up to 50 for the player, 25 of rows (70 of networks with framewise output), and two decoders."""

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
    '50\xa0MB and 90\xa0min: about 55 minutes of MP3 or M4A at 128 kbit/s, 5 of 16-bit stereo, or 3 of 24-bit stereo at 48 kHz'
    """
    kilobits = (128, 44.1 * 16 * 2, 48 * 24 * 2)
    compressed, stereo, fine = (min(megabytes * 2**20 / 125 / rate, LONGEST_S) / 60 for rate in kilobits)
    return (
        f"{megabytes}{formats.NBSP}MB and {formats.seconds(LONGEST_S)}: about {compressed:.0f} minutes of MP3 or M4A at 128 kbit/s, "
        f"{stereo:.0f} of 16-bit stereo, or {fine:.0f} of 24-bit stereo at 48 kHz"
    )


def text() -> str:
    """What fits into an upload here, in one sentence for a page."""
    return f"A file may have up to {what_fits(config.get_option(_OPTION))}. For longer ones there is the command line."
