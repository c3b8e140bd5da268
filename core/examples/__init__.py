"""Example clips that Pannscope synthesises from sines and noise, so that they need no licence and the page is never empty.

Every example belongs to an AudioSet class that synthesis can imitate. Each has a fixed seed: the same samples on every
call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from core.audio import DecodedClip, synthesized_clip
from core.errors import AudioError
from core.examples import nature, signals
from core.examples.blocks import Samples

__all__ = ["EXAMPLES", "Example", "example_clip", "synthesize"]


@dataclass(frozen=True)
class Example:
    """One example clip.

    Attributes
    ----------
    key : str
        Its name in links and on the command line.
    title : str
        Its name on a page.
    tags : tuple of str
        The AudioSet display names that apply to it, the most specific first.
    about : str
        One sentence on how it is synthesised.
    recipe : callable
        Makes the samples from a seeded random generator.
    seed : int
        Of that generator: an example keeps its samples wherever it stands.
    """

    key: str
    title: str
    tags: tuple[str, ...]
    about: str
    recipe: Callable[[np.random.Generator], Samples] = field(repr=False)
    seed: int


EXAMPLES = (
    Example(
        "clock",
        "Ticking clock",
        ("Clock", "Tick", "Tick-tock"),
        "Clicks of an escapement, tick and tock alternating, two a second, in a quiet room.",
        signals.clock,
        2020,
    ),
    Example(
        "siren",
        "Siren",
        ("Siren",),
        "A horn tone that sweeps between 620 and 1,450 Hz every four seconds, with a street's echo.",
        signals.siren,
        2021,
    ),
    Example(
        "rain",
        "Rain",
        ("Rain",),
        "Noise for the distant drops, and ninety near drops a second.",
        nature.rain,
        2022,
    ),
    Example(
        "smoke-alarm",
        "Smoke alarm",
        ("Smoke detector, smoke alarm", "Alarm", "Beep, bleep"),
        "A tone of 3,150 Hz in the standard pattern: three pulses, then a pause.",
        signals.smoke_alarm,
        2023,
    ),
    Example(
        "music",
        "Plucked strings",
        ("Music", "Plucked string instrument"),
        "A short tune in A minor, each string a sum of decaying partials.",
        signals.music,
        2024,
    ),
    Example(
        "waves",
        "Ocean waves",
        ("Waves, surf", "Ocean"),
        "Breakers of coloured noise that build up, break and run back.",
        nature.waves,
        2025,
    ),
    Example(
        "fire",
        "Wood fire",
        ("Fire", "Crackle"),
        "Bursts of short cracks over low-frequency noise.",
        nature.fire,
        2026,
    ),
    Example(
        "helicopter",
        "Helicopter",
        ("Helicopter", "Aircraft"),
        "Blade slap eleven times a second, a tail rotor's hum, engine and air noise.",
        nature.helicopter,
        2027,
    ),
    Example(
        "church-bell",
        "Church bell",
        ("Church bell", "Bell"),
        "Three strokes of a bell with a minor third, each partial a slowly beating pair.",
        signals.church_bell,
        2028,
    ),
    Example(
        "heartbeat",
        "Heartbeat",
        ("Heart sounds, heartbeat",),
        "A heart at rest, 66 beats a minute, as through a stethoscope.",
        nature.heartbeat,
        2029,
    ),
    Example(
        "dial-tone",
        "Dial tone",
        ("Dial tone", "Telephone"),
        "350 and 440 Hz together: North America's dial tone on a quiet line.",
        signals.dial_tone,
        2030,
    ),
    Example(
        "busy-signal",
        "Busy signal",
        ("Busy signal", "Telephone"),
        "480 and 620 Hz together, half a second on, half a second off.",
        signals.busy_signal,
        2031,
    ),
)
_BY_KEY = {example.key: example for example in EXAMPLES}


def synthesize(key: str) -> npt.NDArray[np.float32]:
    """Synthesise one example.

    Parameters
    ----------
    key : str
        Of one of ``EXAMPLES``.

    Returns
    -------
    (samples,) float32
        Mono at 32 kHz, 5 to 10 s, with a peak of at most 0.9: the same samples on every call.

    Raises
    ------
    AudioError
        There is no such example.

    Examples
    --------
    >>> from core.examples import synthesize
    >>> synthesize("dial-tone").shape
    (192000,)
    """
    if key not in _BY_KEY:
        raise AudioError(f'There is no example "{key}". Give one of: {", ".join(_BY_KEY)}.')
    example = _BY_KEY[key]
    return example.recipe(np.random.default_rng(example.seed)).astype(np.float32)


@lru_cache(maxsize=len(_BY_KEY))
def example_clip(key: str) -> DecodedClip:
    """One example as a clip, decoded from its own 16-bit WAV file.

    Parameters
    ----------
    key : str
        Of one of ``EXAMPLES``.

    Raises
    ------
    AudioError
        There is no such example.

    Examples
    --------
    >>> from core.examples import EXAMPLES, example_clip
    >>> [example.key for example in EXAMPLES][:3]
    ['clock', 'siren', 'rain']
    >>> clip = example_clip("busy-signal")
    >>> clip.name, clip.duration_s, clip.silent
    ('busy-signal.wav', 6.0, False)
    """
    return synthesized_clip(synthesize(key), name=f"{key}.wav")
