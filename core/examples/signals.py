"""Recipes of signals and instruments: telephone tones, alarms, a siren, a clock, a bell, a plucked tune."""

from __future__ import annotations

import numpy as np

from core.audio import SAMPLE_RATE
from core.examples.blocks import Samples, add, band, finish, gate, noise, reverberate, seconds

DIAL_TONE_HZ = (350.0, 440.0)  # ITU-T E.180 supplement 2: North America's precise tone plan
BUSY_TONE_HZ = (480.0, 620.0)  # the same plan: half a second on, half a second off
BUSY_SECONDS = 0.5
SMOKE_ALARM_HZ = 3_150.0  # a piezo sounder's resonance
TEMPORAL_THREE_S = (0.0, 1.0, 2.0)  # ISO 8201: three pulses of 0.5 s, 0.5 s apart, every 4 s
TICK_SECONDS = 0.5  # a seconds pendulum's half: tick and tock once a second
WAIL_HZ = (620.0, 1_450.0)
WAIL_SECONDS = 4.0


def clock(rng: np.random.Generator) -> Samples:
    """A pendulum clock: tick and tock alternating, an escapement in a wooden case, in a quiet room with a recorder's hiss."""
    time = seconds(8.0)
    dry = np.zeros_like(time)
    for beat in range(16):
        tock = beat % 2
        add(dry, _tick(rng, bright=not tock), 0.15 + beat * TICK_SECONDS, 0.78 if tock else 1.0)
    wet = reverberate(rng, dry, decay_s=0.35, wet=0.15)
    hiss = noise(rng, len(time), band(100, 9_000, 1))
    return finish(wet / np.abs(wet).max() + 0.015 * hiss)


def _tick(rng: np.random.Generator, bright: bool) -> Samples:
    """One knock: three contacts within 12 ms, each a click that rings the metal and, faintly, the case."""
    time = seconds(0.09)
    knock = np.zeros_like(time)
    metal = (2_750.0, 4_120.0, 5_630.0) if bright else (2_180.0, 3_350.0, 4_700.0)
    case, contact = (760.0, band(2_000, 9_000, 1)) if bright else (610.0, band(1_000, 5_000, 1))
    for at_s, level in ((0.0, 0.45), (0.0045, 1.0), (0.0118, 0.35)):
        ring = sum(
            rng.uniform(0.6, 1.0)
            * np.exp(-time / (0.0015 / (partial + 1) ** 0.4))
            * np.sin(2 * np.pi * hz * time)
            for partial, hz in enumerate(metal)
        )
        body = 0.1 * np.exp(-time / 0.011) * np.sin(2 * np.pi * case * time)
        click = 3.0 * np.exp(-time / 0.0011) * noise(rng, len(time), contact)
        add(knock, (ring + body + click) * np.minimum(1, time / 0.0004), at_s, level)
    return knock * gate(time, -1.0, 0.09, 0.02)


def siren(rng: np.random.Generator) -> Samples:
    """A wailing electronic siren: a horn tone that rises and falls in 4 s, with the echo of a street."""
    time = seconds(9.0)
    low, high = WAIL_HZ
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * time / WAIL_SECONDS)
    pitch = low * (high / low) ** (sweep**0.8)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    horn = np.zeros_like(time)
    for partial in range(1, 11):
        frequency = partial * pitch
        formant = np.exp(-((np.log2(frequency / 1_700.0)) ** 2) / 1.6)  # a horn loudspeaker's narrow band
        horn += formant / partial**0.6 * np.sin(partial * phase) * (frequency < 14_000)
    horn *= 1 + 0.06 * np.sin(2 * np.pi * 0.7 * time)
    street = reverberate(rng, horn, decay_s=1.1, wet=0.12)
    floor = noise(rng, len(time), band(60, 700, 1))
    return finish(street / np.abs(street).max() + 0.012 * floor, fade_in_s=0.4, fade_out_s=0.8)


def smoke_alarm(rng: np.random.Generator) -> Samples:
    """A smoke alarm's temporal-three pattern from a piezo sounder, in a hard-walled corridor."""
    time = seconds(8.2)
    envelope = np.zeros_like(time)
    for cycle_s in (0.1, 4.1):
        for pulse_s in TEMPORAL_THREE_S:
            envelope += gate(time, cycle_s + pulse_s, cycle_s + pulse_s + 0.5, 0.004)
    drift = SMOKE_ALARM_HZ * (1 + 0.0008 * np.sin(2 * np.pi * 0.4 * time))
    phase = 2 * np.pi * np.cumsum(drift) / SAMPLE_RATE
    tone = (
        np.sin(phase)
        + 0.16 * np.sin(2 * phase + 0.4)
        + 0.28 * np.sin(3 * phase + 1.1)
        + 0.05 * np.sin(4 * phase)
    )
    ringing = reverberate(rng, envelope * tone, decay_s=0.4, wet=0.05)
    return finish(ringing + 0.0015 * noise(rng, len(time), band(80, 900, 1)), peak=0.7)


def dial_tone(rng: np.random.Generator) -> Samples:
    """North America's dial tone, 350 and 440 Hz, over a telephone line with its hiss and hum."""
    time = seconds(6.0)
    tones = sum(
        np.sin(2 * np.pi * hz * time + phase) for hz, phase in zip(DIAL_TONE_HZ, (0.0, 1.3), strict=True)
    )
    line = 0.004 * noise(rng, len(time), band(300, 3_400, 4)) + 0.003 * np.sin(2 * np.pi * 60 * time)
    return finish(gate(time, 0.25, 7.0, 0.008) * tones + line, peak=0.6)


def busy_signal(rng: np.random.Generator) -> Samples:
    """North America's busy signal, 480 and 620 Hz, half a second on and half a second off."""
    time = seconds(6.0)
    tones = sum(
        np.sin(2 * np.pi * hz * time + phase) for hz, phase in zip(BUSY_TONE_HZ, (0.0, 0.9), strict=True)
    )
    pattern = sum(
        gate(time, start, start + BUSY_SECONDS, 0.006) for start in 0.1 + 2 * BUSY_SECONDS * np.arange(6)
    )
    return finish(pattern * tones + 0.004 * noise(rng, len(time), band(300, 3_400, 4)), peak=0.6)


def church_bell(rng: np.random.Generator) -> Samples:
    """Three strokes of a minor-third bell: hum, prime, tierce, quint, nominal and above, each doubled."""
    time = seconds(10.0)
    prime_hz = 262.0
    # ratio to the prime, level, seconds to fall to 1/e (the low partials last, the high ones make the stroke)
    partials = (
        (0.5, 0.55, 4.2), (1.0, 0.5, 2.6), (1.2, 0.62, 2.1), (1.5, 0.2, 1.2), (2.0, 0.85, 1.3),
        (2.5, 0.25, 0.6), (2.67, 0.25, 0.55), (3.0, 0.4, 0.5), (4.0, 0.3, 0.3), (5.33, 0.18, 0.18), (6.7,
        0.1, 0.12),
    )  # fmt: skip
    stroke = np.zeros_like(time)
    for ratio, level, decay_s in partials:
        beat_hz = rng.uniform(0.2, 0.9)  # a cast bell is never quite round: each partial is a close pair
        for hz, share in ((prime_hz * ratio, 0.6), (prime_hz * ratio + beat_hz, 0.4)):
            stroke += (
                share * level * np.exp(-time / decay_s) * np.sin(2 * np.pi * hz * time + rng.uniform(0, 6.28))
            )
    clapper = np.exp(-time / 0.006) * noise(rng, len(time), band(800, 6_000, 1))
    stroke = (stroke + 0.35 * clapper) * np.minimum(1, time / 0.002)
    dry = np.zeros_like(time)
    for at_s, level in ((0.2, 1.0), (3.3, 0.92), (6.5, 0.97)):
        add(dry, stroke, at_s, level)
    outside = reverberate(rng, dry, decay_s=2.2, wet=0.15)
    return finish(outside + 0.004 * noise(rng, len(time), band(80, 900, 1)), fade_out_s=1.5)


def music(rng: np.random.Generator) -> Samples:
    """A short tune in A minor on plucked strings, with a bass note and a chord to each bar."""
    time = seconds(10.0)
    dry = np.zeros_like(time)
    beat_s = 0.42
    melody = (69, 72, 76, 74, 72, 71, 69, 71, 72, 74, 76, 79, 77, 76, 74, 72, 71, 68, 69, 69)
    bars = ((45, 57, 60, 64), (41, 57, 60, 65), (48, 55, 60, 64), (43, 55, 59, 62), (45, 57, 60, 64))
    for beat, key in enumerate(melody):
        add(dry, _pluck(rng, key, 2.2, 0.55), 0.1 + beat * beat_s, rng.uniform(0.85, 1.0))
    for bar, keys in enumerate(bars):
        for voice, key in enumerate(keys):
            strum_s = 0.1 + (4 * bar + (0 if voice == 0 else 2)) * beat_s + 0.018 * voice
            add(dry, _pluck(rng, key, 3.0, 0.4), strum_s, 0.75 if voice == 0 else 0.35)
    hall = reverberate(rng, dry, decay_s=0.9, wet=0.12)
    return finish(hall, fade_out_s=1.2)


def _pluck(rng: np.random.Generator, key: int, duration_s: float, position: float) -> Samples:
    """A string of MIDI number `key`: the higher a partial the faster it decays; partials with a node at the finger are missing."""
    time = seconds(duration_s)
    base = 440.0 * 2 ** ((key - 69) / 12)
    tone = np.zeros_like(time)
    for partial in range(1, int(6_500 / base) + 1):
        hz = base * partial * np.sqrt(1 + 0.00012 * partial**2)  # a stiff string's partials run sharp
        level = abs(np.sin(np.pi * partial * 0.32 * position)) / partial**1.25
        decay_s = 0.95 * (220.0 / base) ** 0.3 / (1 + 0.18 * partial)
        audible = time[: round(8 * decay_s * SAMPLE_RATE)]  # the rest is more than 70 dB down
        tone[: len(audible)] += (
            level * np.exp(-audible / decay_s) * np.sin(2 * np.pi * hz * audible + rng.uniform(0, 0.3))
        )
    finger = 0.08 * np.exp(-time / 0.006) * noise(rng, len(time), band(300, 4_000, 1))
    return (tone + finger) * np.minimum(1, time / 0.0015) * gate(time, -1.0, duration_s, 0.2)
