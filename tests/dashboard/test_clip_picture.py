"""Waveform envelope and pooled spectrogram of clips of any length, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from core.models.frontend import log_mel, mel_centers
from dashboard.charts import clip_picture as module
from dashboard.charts.clip import clip_alt, clip_figure
from dashboard.charts.clip_picture import ClipPicture, clip_picture
from dashboard.charts.palette import DARK

RATE = 32_000


def tone(seconds: float, hz: float = 1000.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def picture_of(waveform: np.ndarray) -> ClipPicture:
    return clip_picture(len(waveform), lambda spans: (waveform[start:end] for start, end in spans))


def test_the_envelope_holds_every_extreme() -> None:
    waveform = np.zeros(120_000, np.float32)  # 1200 bins of 100 samples
    waveform[77_777], waveform[12_345], waveform[12_400] = 0.9, -0.8, 0.1
    picture = picture_of(waveform)
    assert len(picture.low) == len(picture.high) == 1200
    assert {int(bin): round(float(picture.high[bin]), 6) for bin in np.flatnonzero(picture.high)} == {
        777: 0.9,
        124: 0.1,
    }
    assert {int(bin): round(float(picture.low[bin]), 6) for bin in np.flatnonzero(picture.low)} == {123: -0.8}
    assert picture.peak == np.float32(0.9)


def test_a_clip_of_one_sample_can_be_drawn() -> None:
    picture = picture_of(np.array([0.25], np.float32))
    assert picture.peak == 0.25
    assert picture.levels.shape[0] == 64


def test_max_pool_keeps_the_maximum_of_each_group() -> None:
    columns = np.arange(12, dtype=np.float32).reshape(1, 12)
    assert module.max_pool(columns, 4).tolist() == [[2.0, 5.0, 8.0, 11.0]]
    assert module.max_pool(columns, 12).tolist() == columns.tolist()
    assert module.max_pool(columns, 11).shape == (1, 11)
    assert module.max_pool(columns, 20).shape == (1, 12)


def test_decibels_are_rounded_and_clipped() -> None:
    levels = module.to_decibels(np.array([[-100.0, -12.6, 20.4]], np.float32))
    assert levels.dtype == np.int8
    assert levels.tolist() == [[-60, -13, 20]]


def test_a_tone_is_loudest_in_its_band_and_has_the_level_of_the_log_mel() -> None:
    waveform = tone(2.0, hz=float(mel_centers()[30]))
    picture = picture_of(waveform)
    assert set(np.argmax(picture.levels[:, 2:-2], axis=0).tolist()) == {30}
    assert np.abs(picture.levels[30] - log_mel(waveform).T[30]).max() <= 0.5


def test_a_long_clip_stays_small_and_keeps_its_time() -> None:
    waveform = np.concatenate([tone(95.0, level=0.001), tone(5.0)])
    picture = picture_of(waveform)
    assert picture.duration_s == 100.0
    assert picture.levels.shape[1] <= 1200
    loud = picture.levels.max(axis=0) > picture.levels.max() - 20
    assert abs(np.flatnonzero(loud)[0] / picture.levels.shape[1] - 0.95) < 0.01


def test_a_clip_is_read_in_parts_of_ten_seconds_and_looks_as_if_read_at_once() -> None:
    noise = np.random.default_rng(0).standard_normal(40 * RATE).astype(np.float32)
    lengths = []

    def parts(spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        for start, end in spans:
            lengths.append(end - start)
            yield noise[start:end]

    picture = clip_picture(len(noise), parts)
    assert lengths == [10 * RATE] * 4
    starts = np.linspace(0, len(noise), 1200, endpoint=False).astype(int)
    assert picture.low.tolist() == [interval.min() for interval in np.split(noise, starts[1:])]
    assert picture.high.tolist() == [interval.max() for interval in np.split(noise, starts[1:])]
    # 4001 frames: four to a column and one more; a frame at a seam is computed from the samples of its own part alone
    whole = np.rint(log_mel(noise).T[:, :4000]).reshape(64, 1000, 4).max(axis=2)
    columns = [column for column in range(750) if column % 250 not in (0, 249)]
    assert np.array_equal(picture.levels[:, columns], whole[:, columns])


def test_waveform_and_spectrogram_share_one_time_axis() -> None:
    figure = clip_figure(picture_of(tone(3.0)), palette=DARK)
    low, high, heatmap = figure.data
    assert figure.layout.xaxis.range == (0, 3.0)
    assert low.xaxis is high.xaxis is heatmap.xaxis is None
    assert heatmap.x0 + heatmap.dx * (heatmap.z.shape[1] - 0.5) == pytest.approx(3.0)
    assert figure.layout.xaxis.title.text == "time (s)"
    assert list(figure.layout.yaxis2.ticktext) == ["−0.50", "0", "0.50"]
    assert figure.layout.yaxis.ticktext[-1] == "10\u00a0kHz"
    # 1000 Hz lies between the centres of its neighbours
    thousand = figure.layout.yaxis.tickvals[list(figure.layout.yaxis.ticktext).index("1\u00a0kHz")]
    centres = mel_centers()
    assert centres[int(thousand)] <= 1000 <= centres[int(thousand) + 1]
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"


def test_silence_is_drawn_as_a_line() -> None:
    figure = clip_figure(picture_of(np.zeros(RATE, np.float32)), palette=DARK)
    assert list(figure.layout.yaxis2.range) == pytest.approx([-0.0105, 0.0105])


def test_the_alternative_text_gives_length_and_peak() -> None:
    waveform = np.zeros(2 * RATE, np.float32)
    waveform[5] = -0.75
    assert clip_alt("Siren", picture_of(waveform)) == (
        "Waveform and log-mel spectrogram of Siren: 2.0\u00a0s, peak 0.75."
    )
