"""The example sounds, measured: pitches by spectrum, patterns by envelope, and the manners of all of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from core.audio import SAMPLE_RATE, encode_wav, load_clip
from core.classes import ClassSet
from core.errors import AudioError
from core.examples import EXAMPLES, Example, example_clip, synthesize
from core.examples.blocks import add

KEYS = [example.key for example in EXAMPLES]
ENVELOPE_RATE = 1_000  # values a second


@cache
def samples_of(key: str) -> NDArray[np.float32]:
    """An example, synthesised once for all tests."""
    return synthesize(key)


def spectrum(samples: NDArray[np.float32]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Frequencies in Hz and power, under a Hann window."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE), power


def peaks(samples: NDArray[np.float32], count: int, apart_hz: float = 20.0) -> list[float]:
    """The frequencies of the strongest peaks, in rising order."""
    frequency, power = spectrum(samples)
    strongest: list[float] = []
    while len(strongest) < count:
        strongest.append(float(frequency[power.argmax()]))
        power[np.abs(frequency - strongest[-1]) < apart_hz] = 0
    return sorted(strongest)


def envelope(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Root mean square of every millisecond."""
    step = SAMPLE_RATE // ENVELOPE_RATE
    return np.sqrt((samples[: len(samples) // step * step].astype(float).reshape(-1, step) ** 2).mean(axis=1))


def pulses(samples: NDArray[np.float32], share: float = 0.3) -> list[tuple[float, float]]:
    """Begin and end in s of the stretches where the 20 ms level is over a share of its highest."""
    level = np.convolve(envelope(samples), np.ones(20) / 20, "same")
    on = np.concatenate([[0], (level > share * level.max()).astype(int), [0]])
    edges = np.flatnonzero(np.diff(on)) / ENVELOPE_RATE
    return list(zip(edges[::2], edges[1::2], strict=True))


def periods(samples: NDArray[np.float32], low_s: float, high_s: float) -> float:
    """The lag in s between two bounds at which the onsets agree best with themselves."""
    onset = np.maximum(np.diff(np.convolve(envelope(samples), np.ones(15) / 15, "same")), 0)
    onset -= onset.mean()
    agreement = np.correlate(onset, onset, "full")[len(onset) - 1 :]
    low = round(low_s * ENVELOPE_RATE)
    return (low + int(agreement[low : round(high_s * ENVELOPE_RATE)].argmax())) / ENVELOPE_RATE


def share_of_power(samples: NDArray[np.float32], low_hz: float, high_hz: float) -> float:
    frequency, power = spectrum(samples)
    return float(power[(frequency >= low_hz) & (frequency < high_hz)].sum() / power.sum())


def test_there_are_enough_and_the_first_is_one_that_the_embedded_models_know() -> None:
    assert len(EXAMPLES) >= 8
    assert len(set(KEYS)) == len(KEYS)
    assert EXAMPLES[0].tags == ("Clock", "Tick", "Tick-tock")


@pytest.mark.parametrize("example", EXAMPLES, ids=KEYS)
def test_every_tag_is_an_audioset_class(example: Example) -> None:
    assert ClassSet.from_names(example.tags).names == example.tags


@pytest.mark.parametrize("key", KEYS)
def test_manners(key: str) -> None:
    samples = samples_of(key)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 5 * SAMPLE_RATE <= len(samples) <= 10 * SAMPLE_RATE
    assert np.isfinite(samples).all()
    assert 0.5 <= np.abs(samples).max() <= 0.9
    assert abs(samples.mean(dtype=np.float64)) < 1e-6
    assert max(abs(samples[0]), abs(samples[-1])) < 1e-4  # no click at either end
    assert share_of_power(samples, 0, 20) < 0.01
    assert np.abs(envelope(samples)[300:-300]).min() > 1e-5  # a room is never digitally silent


def test_every_sound_is_another() -> None:
    assert len({samples_of(key)[:SAMPLE_RATE].tobytes() for key in KEYS}) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_example_clip_is_what_its_wav_file_gives(key: str) -> None:
    clip = example_clip(key)  # synthesised once more: the same samples, or the digests would differ
    again = load_clip(encode_wav(samples_of(key)), name=clip.name)
    assert clip.name == f"{key}.wav"
    assert clip.describe() == again.describe()
    assert clip.notes == ()
    np.testing.assert_allclose(clip.waveform, samples_of(key), atol=2 / 32_768)
    assert example_clip(key) is clip


def test_unknown_example() -> None:
    for make in (synthesize, example_clip):
        with pytest.raises(AudioError, match="Give one of: clock, "):
            make("dinosaur")


def test_clock_ticks_twice_a_second() -> None:
    samples = samples_of("clock")
    assert periods(samples, 0.3, 0.8) == pytest.approx(0.5, abs=0.003)
    ticks = [begin for begin, _ in pulses(samples, 0.3)]
    np.testing.assert_allclose(np.diff(ticks), 0.5, atol=0.01)
    assert len(ticks) == 16
    # tick and tock differ: every second one agrees better with itself than neighbours do
    cut = [samples[round(at * SAMPLE_RATE) :][: SAMPLE_RATE // 40].astype(float) for at in ticks]
    colour = np.log(np.array([np.abs(np.fft.rfft(one))[:400].reshape(-1, 20).mean(axis=1) for one in cut]))
    distance = np.abs(colour[:, None] - colour[None]).mean(axis=2)
    assert distance[0, 2::2].mean() < 0.7 * distance[0, 1::2].mean()


def test_dial_tone_and_busy_signal_have_their_standard_frequencies() -> None:
    assert peaks(samples_of("dial-tone"), 2) == pytest.approx([350, 440], abs=0.5)
    assert share_of_power(samples_of("dial-tone"), 340, 450) > 0.99
    busy = samples_of("busy-signal")
    assert peaks(busy[round(0.15 * SAMPLE_RATE) : round(0.55 * SAMPLE_RATE)], 2) == pytest.approx(
        [480, 620], abs=3
    )
    on = pulses(busy, 0.5)
    assert len(on) == 6
    np.testing.assert_allclose([end - begin for begin, end in on], 0.5, atol=0.03)
    np.testing.assert_allclose(np.diff([begin for begin, _ in on]), 1.0, atol=0.01)


def test_smoke_alarm_is_temporal_three() -> None:
    samples = samples_of("smoke-alarm")
    on = pulses(samples)
    assert len(on) == 6
    np.testing.assert_allclose([end - begin for begin, end in on], 0.5, atol=0.06)
    np.testing.assert_allclose(np.diff([begin for begin, _ in on]), [1, 1, 2, 1, 1], atol=0.02)
    assert peaks(samples, 1)[0] == pytest.approx(3_150, abs=10)


def test_siren_wails_between_its_pitches() -> None:
    samples = samples_of("siren")
    track = []
    for start in range(SAMPLE_RATE // 2, len(samples) - 2 * SAMPLE_RATE // 3, 1_600):
        frequency, power = spectrum(samples[start : start + 3_200])
        strong = (frequency > 550) & (power > 0.05 * power.max())
        first = int(strong.argmax())  # the lowest strong partial: overtones of a low wail can be louder
        track.append(frequency[first + power[first : first + 8].argmax()])
    pitch = np.array(track)
    assert pitch.max() == pytest.approx(1_450, rel=0.04)
    assert pitch.min() == pytest.approx(620, rel=0.08)
    centred = pitch - pitch.mean()
    agreement = np.correlate(centred, centred, "full")[len(centred) - 1 :]
    assert 2 + agreement[40:120].argmax() * 0.05 == pytest.approx(4.0, abs=0.15)  # 0.05 s a step


def test_heart_beats_66_times_a_minute_with_two_sounds() -> None:
    samples = samples_of("heartbeat")
    assert periods(samples, 0.6, 1.2) == pytest.approx(60 / 66, abs=0.04)
    sounds = [begin for begin, _ in pulses(samples, 0.3)]
    gaps = np.diff(sounds)
    np.testing.assert_allclose(gaps[::2], 0.31, atol=0.04)
    np.testing.assert_allclose(gaps[1::2], 60 / 66 - 0.31, atol=0.06)
    assert share_of_power(samples, 20, 250) > 0.95


def test_helicopter_slaps_eleven_times_a_second() -> None:
    samples = samples_of("helicopter")
    level = envelope(samples)
    level = level - level.mean()
    power = np.abs(np.fft.rfft(level * np.hanning(len(level)))) ** 2
    rate = np.fft.rfftfreq(len(level), 1 / ENVELOPE_RATE)
    band = (rate > 3) & (rate < 20)
    assert rate[band][power[band].argmax()] == pytest.approx(11.0, abs=0.3)
    assert share_of_power(samples, 40, 1_300) > 0.9


def test_bell_has_the_partials_of_a_minor_third_bell() -> None:
    samples = samples_of("church-bell")[round(0.4 * SAMPLE_RATE) : 3 * SAMPLE_RATE]
    frequency, power = spectrum(samples)
    for ratio in (0.5, 1.0, 1.2, 1.5, 2.0):
        near = np.abs(frequency - 262 * ratio) < 2
        beside = (np.abs(frequency - 262 * ratio) > 8) & (np.abs(frequency - 262 * ratio) < 20)
        assert power[near].max() > 1_000 * np.median(power[beside])
    whole = samples_of("church-bell")
    assert len(pulses(whole, 0.9)) >= 1
    strokes = np.convolve(whole.astype(float) ** 2, np.ones(160), "same")
    for at_s in (0.2, 3.3, 6.5):  # each stroke is at least 6 dB over the ringing just before it
        at = round(at_s * SAMPLE_RATE)
        assert strokes[at : at + 1_600].max() > 4 * strokes[at - 1_600 : at - 320].max()


def test_tune_has_its_notes() -> None:
    """The first bar of the melody: A4, C5, E5, D5 on beats of 0.42 s."""
    samples = samples_of("music")
    for beat, pitch in enumerate((440.0, 523.25, 659.26, 587.33)):
        start = round((0.1 + 0.42 * beat + 0.02) * SAMPLE_RATE)
        frequency, power = spectrum(samples[start : start + round(0.38 * SAMPLE_RATE)])
        near = np.abs(frequency - pitch) < 6
        octave = (frequency > pitch * 0.92) & (frequency < pitch * 1.08)
        assert power[near].max() == power[octave].max()


def test_rain_is_steady_broad_noise() -> None:
    samples = samples_of("rain")[SAMPLE_RATE:-SAMPLE_RATE]
    level = envelope(samples).reshape(-1, 100).mean(axis=1)
    assert level.std() / level.mean() < 0.2
    assert share_of_power(samples, 1_000, 16_000) > 0.8
    frequency, power = spectrum(samples)
    inside = power[(frequency > 1_000) & (frequency < 7_000)]
    flatness = np.exp(np.log(inside).mean()) / inside.mean()
    assert flatness > 0.45  # white noise has 0.56, a tone 0


def test_waves_swell_slowly() -> None:
    level = envelope(samples_of("waves")).reshape(-1, 250).mean(axis=1)
    assert level[4:-4].max() > 3 * level[4:-4].min()
    crests = [at / 4 for at in range(4, 36) if level[at] == level[at - 4 : at + 5].max()]
    assert 2 <= len(crests) <= 3
    np.testing.assert_allclose(np.diff(crests), 4.7, atol=0.8)


def test_fire_crackles() -> None:
    samples = samples_of("fire").astype(float)
    kurtosis = np.mean(samples**4) / np.mean(samples**2) ** 2
    assert kurtosis > 50  # Gaussian noise has 3
    level = envelope(samples.astype(np.float32))
    cracks = np.flatnonzero(
        (level[1:-1] > 5 * np.median(level)) & (level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])
    )
    assert 30 < len(cracks) < 600
    gaps = np.diff(cracks)
    assert gaps.std() / gaps.mean() > 0.9  # at random or in bursts, never in a beat


def test_sounds_are_mixed_by_hand() -> None:
    """0.1 ms are 3.2 samples: from the third on, at half the level; what exceeds the end is dropped."""
    target = np.ones(6)
    add(target, np.array([2.0, 4.0, 6.0, 8.0]), 1e-4, 0.5)
    assert target.tolist() == [1, 1, 1, 2, 3, 4]
