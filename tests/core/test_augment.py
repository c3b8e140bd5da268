"""Waveform augmentation, SpecAugment and mixup: what they change, and what they must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.training.augment import Mixup, SpecAugment, WaveformAugmentation, WaveformAugmentationConfig

OFF = WaveformAugmentationConfig(
    shift=False,
    level_db=(0.0, 0.0),
    low_pass=0.0,
    high_pass=0.0,
    tilt_db=0.0,
    reverb=0.0,
    noise=0.0,
    speed=0.0,
)


def power(clips: int = 1) -> torch.Tensor:
    return torch.rand(clips, 100, 513, generator=torch.Generator().manual_seed(0)) + 0.1


def augment(config: WaveformAugmentationConfig, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return WaveformAugmentation(config, np.random.default_rng(seed))(x)


def test_everything_off_changes_nothing():
    assert torch.equal(augment(OFF, power()), power())


def test_level_is_in_decibels():
    louder = augment(replace(OFF, level_db=(-20.0, -20.0)), power())
    assert torch.allclose(louder, 0.01 * power())


def test_a_shift_wraps_round():
    moved = augment(replace(OFF, shift=True), power())
    assert not torch.equal(moved, power())
    assert torch.equal(moved[0, :, 7].sort().values, power()[0, :, 7].sort().values)


def test_a_low_pass_leaves_the_lows_and_takes_the_highs():
    """From 4 kHz down nothing changes; an octave up at least 12 dB (the gentlest slope) are gone."""
    cut = augment(replace(OFF, low_pass=1.0, low_pass_hz=(4000.0, 4000.0)), power()) / power()
    assert torch.allclose(cut[..., :128], torch.ones(1))
    assert cut[..., 256:].max() < 10**-1.19


def test_a_high_pass_takes_the_lows():
    cut = augment(replace(OFF, high_pass=1.0, high_pass_hz=(400.0, 400.0)), power()) / power()
    assert cut[..., 3].max() < 10**-0.6  # 94 Hz: two octaves under, at least 12 dB
    assert torch.allclose(cut[..., 13:], torch.ones(1))


def test_noise_has_the_level_it_should():
    flat = torch.ones(1, 100, 513)
    noisy = augment(replace(OFF, noise=1.0, noise_db=(10.0, 10.0)), flat)
    added = (noisy - flat).sum(dim=2).mean().item()
    assert added == pytest.approx(51.3, rel=0.3)  # a tenth of 513, but for chance


def test_a_room_adds_a_tail_after_the_sound_only():
    click = torch.zeros(1, 100, 513)
    click[:, 50] = 1.0
    wet = augment(replace(OFF, reverb=1.0, reverb_s=(0.5, 0.5), reverb_db=(0.0, 0.0)), click)[0, :, 100]
    assert wet[:50].max() < 1e-6
    assert wet[50].item() == pytest.approx(1.0, abs=1e-5)
    assert wet[51:].sum().item() == pytest.approx(
        1.0, rel=0.02
    )  # 0 dB: as much as the direct sound, cut at 0.49 s
    # 60 dB in 0.5 s: 1.2 dB a frame of 10 ms
    assert 10 * torch.log10(wet[52] / wet[72]).item() == pytest.approx(24.0, abs=0.2)


def test_speed_moves_frequencies_up():
    tone = torch.zeros(1, 100, 513)
    tone[..., 99:102] = torch.tensor([0.25, 1.0, 0.25])  # as wide as the window makes a tone
    peaks = {int(augment(replace(OFF, speed=0.1), tone, seed).sum(1).argmax()) for seed in range(20)}
    assert min(peaks) >= 89
    assert max(peaks) <= 111
    assert len(peaks) > 5


def test_spec_augment_blanks_stripes_of_the_published_width():
    x = torch.ones(50, 1, 500, 64)
    blanked = SpecAugment(np.random.default_rng(0))(x)
    for clip in blanked[:, 0]:
        frames = int((clip.sum(1) == 0).sum())
        bins = int((clip.sum(0) == 0).sum())
        assert frames <= 2 * 63
        assert bins <= 2 * 7
    rows = (blanked[:, 0].sum(2) == 0).sum(1).float().mean().item()
    assert rows == pytest.approx(61, rel=0.15)  # two stripes of mean width 31.5, seldom overlapping
    assert torch.equal(x, torch.ones_like(x))


def test_spec_augment_fits_a_short_clip():
    assert SpecAugment(np.random.default_rng(0))(torch.ones(2, 1, 32, 64)).shape == (2, 1, 32, 64)


def test_mixup_mixes_neighbours_alike_in_spectrograms_and_targets():
    mixup = Mixup(np.random.default_rng(0))
    mixup.draw(2)
    x = torch.tensor([1.0, 0.0, 0.0, 1.0])
    spectrograms, targets = mixup.mix(x.reshape(4, 1, 1, 1)), mixup.mix(x[:, None])
    assert spectrograms.shape == (2, 1, 1, 1)
    assert torch.equal(spectrograms.flatten(), targets.flatten())
    expected = np.random.default_rng(0).beta(1.0, 1.0, 2)
    assert np.allclose(targets.flatten().numpy(), [expected[0], 1 - expected[1]])
