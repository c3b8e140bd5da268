"""Recipes of water, fire, a heart and a helicopter: noise in bands and bursts."""

from __future__ import annotations

import numpy as np

from core.audio import SAMPLE_RATE
from core.examples.blocks import Samples, add, band, finish, noise, random_curve, reverberate, seconds

HEART_RATE_BPM = 66.0
SYSTOLE_S = 0.31  # from the first heart sound to the second at rest
BLADE_HZ = 11.0  # a two-bladed rotor of a light helicopter at 330 revolutions a minute
WAVE_SECONDS = 4.6


def rain(rng: np.random.Generator) -> Samples:
    """Steady rain: the hiss of countless far drops, and some 90 a second close by, each a short ring."""
    time = seconds(8.0)
    hiss = noise(rng, len(time), band(900, 7_500, 1)) + 0.35 * noise(rng, len(time), band(150, 900, 1))
    hiss *= 0.85 + 0.3 * random_curve(rng, len(time), 1.5)
    drops = np.zeros_like(time)
    grain = seconds(0.03)
    for at_s in rng.uniform(0, 8.0, 720):
        hz = rng.uniform(1_200, 9_000)
        decay_s = rng.uniform(0.0006, 0.004)
        splash = np.exp(-grain / decay_s) * np.sin(2 * np.pi * hz * grain + rng.uniform(0, 6.28))
        add(drops, splash * np.minimum(1, grain / 0.0003), at_s, rng.pareto(2.2) + 0.2)
    return finish(hiss + 1.1 * np.tanh(drops / 3) * 3, peak=0.7, fade_in_s=0.3, fade_out_s=0.6)


def waves(rng: np.random.Generator) -> Samples:
    """Surf: breakers that build up as a dull roar, break bright, and hiss back over the sand."""
    time = seconds(10.0)
    roar = noise(rng, len(time), band(80, 450, 1))
    wash = noise(rng, len(time), band(300, 2_500, 1))
    foam = noise(rng, len(time), band(1_800, 9_000, 1))
    sea = 0.16 * roar + 0.05 * wash
    for crest in (-2.6, 2.0, 2.0 + WAVE_SECONDS, 2.3 + 2 * WAVE_SECONDS):
        strength = rng.uniform(0.85, 1.1)
        since = time - crest
        build = np.where(since < 0, np.exp(since / 0.9), np.exp(-since / 1.5))
        breaking = np.where(since < 0, np.exp(since / 0.35), np.exp(-since / 1.0))
        backwash = np.clip(since / 0.5, 0, 1) * np.exp(-np.maximum(since, 0) / 1.7)
        sea += strength * (0.7 * build * roar + 0.75 * breaking * wash + 0.34 * backwash * foam)
    sea *= 0.9 + 0.2 * random_curve(rng, len(time), 9.0)
    return finish(sea, peak=0.75, fade_in_s=0.4, fade_out_s=0.8)


def fire(rng: np.random.Generator) -> Samples:
    """A wood fire: a low flutter of flames, and cracks in bursts, most of them small and a few sharp."""
    time = seconds(8.0)
    flames = noise(rng, len(time), band(40, 260, 1)) * (0.35 + 0.65 * random_curve(rng, len(time), 7.0) ** 2)
    hiss = noise(rng, len(time), band(1_500, 8_000, 1)) * random_curve(rng, len(time), 2.0) ** 2
    cracks = np.zeros_like(time)
    grain = seconds(0.045)
    at_s = 0.05
    while at_s < 7.95:
        level = min(0.1 + 0.22 * rng.pareto(1.7), 1.6)
        decay_s = rng.uniform(0.0005, 0.0035)
        snap = np.exp(-grain / decay_s) * noise(rng, len(grain), band(rng.uniform(700, 2_500), 11_000, 1))
        knock = 0.5 * np.exp(-grain / 0.006) * np.sin(2 * np.pi * rng.uniform(350, 1_100) * grain)
        add(cracks, (snap + knock * (level > 0.5)) * np.minimum(1, grain / 0.0002), at_s, level)
        at_s += rng.exponential(0.012) if rng.random() < 0.55 else rng.exponential(0.12)
    hearth = reverberate(rng, cracks, decay_s=0.25, wet=0.06)
    return finish(hearth + 0.09 * flames + 0.012 * hiss, peak=0.85, fade_in_s=0.1, fade_out_s=0.4)


def helicopter(rng: np.random.Generator) -> Samples:
    """A light helicopter hovering near: blade slap eleven times a second, tail rotor, engine and wash."""
    time = seconds(8.0)
    rotation = np.cumsum(BLADE_HZ * (1 + 0.012 * (random_curve(rng, len(time), 0.6) - 0.5))) / SAMPLE_RATE
    phase = rotation % 1.0 - 0.3
    slap = np.exp(-((phase / np.where(phase < 0, 0.09, 0.2)) ** 2))
    slap *= 1 + 0.15 * np.cos(np.pi * np.floor(rotation))  # the two blades are never in the same plane
    thump = sum(np.cos(2 * np.pi * n * rotation - 0.13 * n * n) * n * np.exp(-n / 7.0) for n in range(4, 30))
    tail = sum(np.sin(2 * np.pi * 7.3 * n * rotation) / n for n in range(1, 7))
    air = noise(rng, len(time), band(110, 320, 2))
    wash = noise(rng, len(time), band(250, 1_100, 2))
    engine = noise(rng, len(time), band(1_500, 4_500, 2))
    near = 0.75 + 0.25 * np.sin(2 * np.pi * time / 8.0 - 0.8)
    body = (0.45 + 0.75 * slap) * (0.9 * air + 0.2 * wash) + 0.02 * thump + 0.12 * tail
    return finish(near * (body + 0.1 * wash + (0.02 + 0.03 * slap) * engine), fade_in_s=0.5, fade_out_s=0.8)


def heartbeat(rng: np.random.Generator) -> Samples:
    """A heart at rest through a stethoscope: a low first sound, a shorter, higher second, skin noise."""
    time = seconds(8.0)
    heart = np.zeros_like(time)
    at_s = 0.2
    while at_s < 7.6:
        add(heart, _thud(rng, 52.0, 0.14), at_s, rng.uniform(0.93, 1.0))
        add(heart, _thud(rng, 74.0, 0.09), at_s + SYSTOLE_S, 0.62)
        at_s += 60.0 / HEART_RATE_BPM + rng.normal(0, 0.008)
    skin = noise(rng, len(time), band(30, 300, 1)) * (0.6 + 0.4 * random_curve(rng, len(time), 3.0))
    return finish(heart + 0.006 * skin, peak=0.85)


def _thud(rng: np.random.Generator, hz: float, length_s: float) -> Samples:
    """One valve's closing: a few cycles that swell and decay, with a faint snap an octave and a half above."""
    time = seconds(2.5 * length_s)
    swell = (time / (0.22 * length_s)) * np.exp(1 - time / (0.22 * length_s))
    low = np.sin(2 * np.pi * hz * time * (1 - 0.12 * time / time[-1]) + rng.uniform(-0.2, 0.2))
    snap = 0.3 * np.sin(2 * np.pi * 2.7 * hz * time) * np.exp(-time / (0.12 * length_s))
    return swell * (low + snap) * np.cos(np.pi / 2 * time / time[-1]) ** 2
