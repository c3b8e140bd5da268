"""Texts on the engine behind a measured time: its name beside the figure, the reason for it in the help text."""

from __future__ import annotations

from collections.abc import Sequence

from core.runtime.machine import threads
from dashboard import formats
from dashboard.server.models import TIMED_SECONDS
from dashboard.server.timing import Timed


def conditions(measured: Sequence[Timed]) -> str:
    """What was timed, how, and on which engine, in sentences."""
    used = formats.plural(threads(), "thread")
    whys = dict.fromkeys(timed.why.rstrip(".") for timed in measured)
    return (
        f"Waveform to probabilities for {TIMED_SECONDS:.0f} s of audio, measured on this machine ({used}), alternating, never two at "
        f"once: median of {measured[0].latency.repeats} runs after a warm-up. Engine: {formats.without_folders('; '.join(whys))}."
    )


def fallback(measured: Sequence[Timed]) -> str | None:
    """The line that says that the fast engine cannot be used here; None where it can."""
    if not any(timed.fell_back for timed in measured):
        return None
    return "A faster engine than torch could not be used here; the help beside the time says why."
