"""Example clips that Pannscope makes itself: the first page is never empty, and nothing needs a licence.

Every example is an AudioSet class that synthesis can honestly make. Each has its own fixed seed: the same
samples on every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from core.audio import DecodedClip, encode_wav, load_clip
from core.errors import AudioError
from core.examples import nature, signals
from core.examples.blocks import Samples

__all__ = ["EXAMPLES", "Example", "example_clip", "synthesise"]


@dataclass(frozen=True)
class Example:
    """One example sound.

    Attributes
    ----------
    key : its name in links and on the command line.
    title : its name on a page.
    tags : the AudioSet display names that it honestly makes, the plainest first.
    about : one sentence on how it is made.
    """

    key: str
    title: str
    tags: tuple[str, ...]
    about: str


_ABOUT: tuple[tuple[Example, Callable[[np.random.Generator], Samples]], ...] = (
    (
        Example(
            "clock",
            "Ticking clock",
            ("Clock", "Tick", "Tick-tock"),
            "Knocks of an escapement, tick and tock in turn, two a second, in a quiet room.",
        ),
        signals.clock,
    ),
    (
        Example(
            "siren",
            "Siren",
            ("Siren",),
            "A horn tone that wails between 620 and 1,450 Hz every four seconds, with a street's echo.",
        ),
        signals.siren,
    ),
    (
        Example(
            "rain",
            "Rain",
            ("Rain",),
            "The hiss of far drops, and ninety near ones a second.",
        ),
        nature.rain,
    ),
    (
        Example(
            "smoke-alarm",
            "Smoke alarm",
            ("Smoke detector, smoke alarm", "Alarm", "Beep, bleep"),
            "A 3,150 Hz sounder in the standard pattern of three pulses, then a pause.",
        ),
        signals.smoke_alarm,
    ),
    (
        Example(
            "music",
            "Plucked strings",
            ("Music", "Plucked string instrument"),
            "A short tune in A minor, each string a sum of decaying partials.",
        ),
        signals.music,
    ),
    (
        Example(
            "waves",
            "Ocean waves",
            ("Waves, surf", "Ocean"),
            "Breakers of coloured noise that build up, break and run back.",
        ),
        nature.waves,
    ),
    (
        Example(
            "fire",
            "Wood fire",
            ("Fire", "Crackle"),
            "Bursts of small cracks over a low flutter.",
        ),
        nature.fire,
    ),
    (
        Example(
            "helicopter",
            "Helicopter",
            ("Helicopter", "Aircraft"),
            "Blade slap eleven times a second, a tail rotor's hum, engine and wash.",
        ),
        nature.helicopter,
    ),
    (
        Example(
            "church-bell",
            "Church bell",
            ("Church bell", "Bell"),
            "Three strokes of a bell with a minor third, each partial a slowly beating pair.",
        ),
        signals.church_bell,
    ),
    (
        Example(
            "heartbeat",
            "Heartbeat",
            ("Heart sounds, heartbeat",),
            "A heart at rest, 66 beats a minute, as a stethoscope hears it.",
        ),
        nature.heartbeat,
    ),
    (
        Example(
            "dial-tone",
            "Dial tone",
            ("Dial tone", "Telephone"),
            "350 and 440 Hz together: North America's dial tone on a quiet line.",
        ),
        signals.dial_tone,
    ),
    (
        Example(
            "busy-signal",
            "Busy signal",
            ("Busy signal", "Telephone"),
            "480 and 620 Hz together, half a second on, half a second off.",
        ),
        signals.busy_signal,
    ),
)
EXAMPLES: tuple[Example, ...] = tuple(example for example, _ in _ABOUT)
_RECIPES = {example.key: (seed, recipe) for seed, (example, recipe) in enumerate(_ABOUT, start=2_020)}


def synthesise(key: str) -> npt.NDArray[np.float32]:
    """Make one example.

    Parameters
    ----------
    key : of one of ``EXAMPLES``.

    Returns
    -------
    (samples,) float32, mono at 32 kHz, 5 to 10 s, no larger than 0.9: the same samples on every call.

    Raises
    ------
    AudioError
        There is no such example.
    """
    if key not in _RECIPES:
        raise AudioError(f'There is no example "{key}". Give one of: {", ".join(_RECIPES)}.')
    seed, recipe = _RECIPES[key]
    return recipe(np.random.default_rng(seed)).astype(np.float32)


@lru_cache(maxsize=len(_RECIPES))
def example_clip(key: str) -> DecodedClip:
    """One example as a clip: what its 16-bit WAV file gives when it is dropped in again.

    Raises
    ------
    AudioError
        There is no such example.
    """
    return load_clip(encode_wav(synthesise(key)), name=f"{key}.wav")
