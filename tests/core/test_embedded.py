"""The embedded pair: what it is, how it was made, and that it learned sounds and not recordings.

The shared clips trained it, so what is asserted on them is not its quality (checkpoints/README.md has that, per held-out fold)
but that disguising a recording does not turn it into another sound.
"""

from __future__ import annotations

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.checkpoints import entry, path_of
from core.examples import example_clip
from core.models.widths import PAPER_LAYERS, kept_count
from core.profiling import profile_model
from core.pruning.plan import plan
from core.pruning.surgery import prune
from core.tagging import EMBEDDED_PAIR, Tagger, load_tagger

RATE = 32_000


@pytest.fixture(scope="module", params=("torch", "ncnn"))
def runtime(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=EMBEDDED_PAIR)
def tagger(request, runtime) -> Tagger:
    return load_tagger(request.param, runtime=runtime)


@pytest.fixture(scope="module")
def pair(runtime) -> tuple[Tagger, Tagger]:
    return load_tagger(EMBEDDED_PAIR[0], runtime=runtime), load_tagger(EMBEDDED_PAIR[1], runtime=runtime)


def waveforms(shared, rows, category: str, count: int = 12) -> list[np.ndarray]:
    chosen = [row["filename"] for row in rows if row["category"] == category][::3][:count]
    return [load_clip(shared / "clips/audio" / name).waveform for name in chosen]


def probability(tagger: Tagger, waveform: np.ndarray, name: str) -> float:
    return float(tagger.probabilities(waveform)[tagger.classes.names.index(name)])


def band_limited(waveform: np.ndarray, cutoff_hz: float) -> np.ndarray:
    spectrum = np.fft.rfft(waveform)
    spectrum[np.fft.rfftfreq(len(waveform), 1 / RATE) > cutoff_hz] = 0
    return np.fft.irfft(spectrum, len(waveform)).astype(np.float32)


def in_a_noisy_room(waveform: np.ndarray, snr_db: float, seed: int) -> np.ndarray:
    """Pink noise over the full band, so that nothing is left of the clip's own bandwidth."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(waveform)))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(len(waveform), 1 / RATE), 50.0))
    noise = np.fft.irfft(spectrum, len(waveform))
    noise *= np.sqrt(np.mean(waveform**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (waveform + noise).astype(np.float32)


def test_band_limited_rain_is_not_speech(tagger, shared, clips_manifest):
    """The speech was recorded at 16 kHz: a network that had learned the recording would hear speech here."""
    for category in ("rain", "sea_waves", "chainsaw"):
        for cutoff in (8000.0, 4000.0):
            found = [
                probability(tagger, band_limited(w, cutoff), "Speech")
                for w in waveforms(shared, clips_manifest, category)
            ]
            assert found
            assert max(found) < 0.5, category


def test_speech_in_a_noisy_room_stays_speech(tagger, shared, clips_manifest):
    found = [
        probability(tagger, in_a_noisy_room(w, 10.0, seed), "Speech")
        for seed, w in enumerate(waveforms(shared, clips_manifest, "speech"))
    ]
    assert np.mean(np.array(found) > 0.5) >= 0.9


def test_level_does_not_matter_much(tagger, shared, clips_manifest):
    for waveform in waveforms(shared, clips_manifest, "dog_bark", 6):
        assert probability(tagger, 0.1 * waveform, "Dog") > 0.5


def test_the_first_example_is_recognised(tagger):
    """A newcomer sees the ticking clock first."""
    top = [tag.name for tag in tagger.tag(example_clip("clock")).top(3)]
    assert set(top) == {"Clock", "Tick", "Tick-tock"}


def test_the_pruned_network_is_the_plan_on_its_parent(pair):
    """The kept filters in the file are those that operator norm chooses on the embedded parent, half of C7..C12."""
    parent, pruned = pair
    made = plan(parent.model, 0.5)
    assert {layer: tuple(kept) for layer, kept in pruned.info.kept.items()} == made.kept
    assert tuple(made.kept) == PAPER_LAYERS
    assert [len(made.kept[layer]) for layer in PAPER_LAYERS] == [
        kept_count(width, 0.5) for width in parent.info.widths[6:]
    ]
    assert prune(parent.model, made).config == pruned.model.config


def test_the_manifest_says_what_is_in_the_files(tagger):
    known = entry(tagger.name)
    assert known.widths == tagger.info.widths
    assert known.embedding == tagger.info.embedding
    assert set(known.classes) == set(tagger.classes.names)
    counted = profile_model(tagger.model)
    assert counted.params_trainable == known.params
    assert counted.macs == known.macs_10s


def test_both_files_together_are_under_16_mb():
    assert sum(path_of(entry(name)).stat().st_size for name in EMBEDDED_PAIR) < 16e6


def test_nobody_hears_anything_in_silence(tagger):
    silence = load_clip(encode_wav(np.zeros(5 * RATE)))
    assert tagger.tag(silence).top(1)[0].probability < 0.5
