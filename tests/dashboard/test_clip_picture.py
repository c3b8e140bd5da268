"""Waveform envelopes and pooled spectrograms keep what must be seen."""

from __future__ import annotations

import numpy as np

from core.audio import SAMPLE_RATE
from core.models.frontend import log_mel, mel_centres
from dashboard.charts import clip_picture


def tone(seconds: float, hz: float = 1000.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(
        np.float32
    )


def test_envelope_holds_every_extreme() -> None:
    waveform = np.zeros(100_000, np.float32)
    waveform[77_777], waveform[12_345] = 0.9, -0.8
    low, high = clip_picture.envelope(waveform, 1000)
    assert len(low) == len(high) == 1000
    assert high[777] == np.float32(0.9)
    assert low[123] == np.float32(-0.8)
    assert np.count_nonzero(high) == np.count_nonzero(low) == 1


def test_a_clip_of_one_sample_can_be_drawn() -> None:
    picture = clip_picture.draw(np.array([0.25], np.float32))
    assert picture.peak == 0.25
    assert picture.levels.shape[0] == 64


def test_max_pool_keeps_the_loudest_of_each_group() -> None:
    columns = np.arange(12, dtype=np.float32).reshape(1, 12)
    assert clip_picture.max_pool(columns, 4).tolist() == [[2.0, 5.0, 8.0, 11.0]]
    assert clip_picture.max_pool(columns, 20).shape == (1, 12)


def test_decibels_are_rounded_and_bounded() -> None:
    levels = clip_picture.to_decibels(np.array([[-100.0, -12.6, 20.4]], np.float32))
    assert levels.dtype == np.int8
    assert levels.tolist() == [[-60, -13, 20]]


def test_the_picture_of_a_tone_is_loudest_at_its_band_and_equals_the_log_mel() -> None:
    waveform = tone(2.0, hz=float(mel_centres()[30]))
    picture = clip_picture.draw(waveform)
    assert set(np.argmax(picture.levels[:, 2:-2], axis=0).tolist()) == {30}
    assert np.abs(picture.levels[30] - log_mel(waveform).T[30]).max() <= 0.5


def test_a_long_clip_stays_small_and_keeps_its_time() -> None:
    waveform = np.concatenate([tone(95.0, level=0.001), tone(5.0)])
    picture = clip_picture.draw(waveform)
    assert picture.duration_s == 100.0
    assert picture.levels.shape[1] <= clip_picture.MAX_COLUMNS
    loud = picture.levels.max(axis=0) > picture.levels.max() - 20
    assert abs(np.flatnonzero(loud)[0] / picture.levels.shape[1] - 0.95) < 0.01


def test_a_picture_of_parts_is_that_of_the_whole() -> None:
    noise = np.random.default_rng(0).standard_normal(47 * 32_000 + 123).astype(np.float32)
    asked = []

    def parts(spans):
        for start, end in spans:
            asked.append(end - start)
            yield noise[start:end]

    picture, whole = clip_picture.draw_parts(len(noise), parts), clip_picture.draw(noise)
    low, high = clip_picture.envelope(noise)
    assert np.array_equal(picture.low, low)
    assert np.array_equal(picture.high, high)
    assert np.array_equal(picture.levels, whole.levels)
    assert sum(asked) == len(noise)
    assert max(asked) <= 10 * 32_000
