"""The embedded pair: what is in the files, and what it makes of recordings that it did not learn from (fold 4 of the clips, and whole sources of the pool)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.checkpoints import entry, path_of
from core.classes import ClassSet
from core.examples import example_clip
from core.export.bundle import plan_of
from core.export.check import ExportJob
from core.export.lineage import lineage
from core.models.widths import PAPER_LAYERS, kept_count
from core.profiling import profile_model
from core.pruning.plan import plan
from core.pruning.surgery import prune
from core.tagging import EMBEDDED_PAIR, Tagger, load_tagger
from core.training.data import read_manifest
from core.training.metrics import quality

RATE = 32_000
HELD_OUT_FOLD = "4"
PARAMS = (5_253_599, 1_655_519)
"""Counted by hand below."""

TAUGHT = {
    "01084-cannon1.ogg": "Artillery fire",
    "01097-laugh1.ogg": "Speech",
    "01109-whoosh2.ogg": "Whoosh, swoosh, swish",
    "01130-slide2.ogg": "Gasp",
    "02059-cheek-lout-rr1.ogg": "Finger snapping",
    "02065-chestthump-l-vl2-rr1.ogg": "Clapping",
}
"""The class that the teacher (mn04, the published weights) gives the first 5 s of a recording first, with 0.3 or more. All are of sources that
no stage of the training has used (checkpoints/README.md)."""


@pytest.fixture(scope="module")
def pair() -> tuple[Tagger, Tagger]:
    return load_tagger(EMBEDDED_PAIR[0]), load_tagger(EMBEDDED_PAIR[1])


@pytest.fixture(scope="module", params=(0, 1), ids=EMBEDDED_PAIR)
def tagger(request, pair) -> Tagger:
    return pair[request.param]


def waveforms(shared, rows, category: str, count: int = 12) -> list[np.ndarray]:
    chosen = [row["filename"] for row in rows if row["category"] == category and row["fold"] == HELD_OUT_FOLD]
    return [load_clip(shared / "clips/audio" / name).waveform for name in chosen[:count]]


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


@pytest.mark.parametrize(("name", "params"), list(zip(EMBEDDED_PAIR, PARAMS, strict=True)))
def test_parameters_by_hand(name: str, params: int) -> None:
    """3x3 kernels without biases, two numbers a filter for its batch norm and 64 mel bands', two linear layers with biases."""
    widths, embedding = entry(name).widths, entry(name).embedding
    kernels = sum(9 * inputs * outputs for inputs, outputs in pairwise((1, *widths)))
    linear = widths[-1] * embedding + embedding + embedding * 527 + 527
    assert kernels + 2 * sum(widths) + 2 * 64 + linear == params


def test_the_manifest_says_what_is_in_the_files(tagger):
    known = entry(tagger.name)
    counted = profile_model(tagger.model)
    assert counted.params_trainable == known.params in PARAMS
    assert counted.macs == known.macs_10s
    assert (tagger.info.widths, tagger.info.embedding) == (known.widths, known.embedding)
    assert tagger.classes == ClassSet.audioset()


def test_both_files_together_are_under_16_mb():
    assert sum(path_of(entry(name)).stat().st_size for name in EMBEDDED_PAIR) < 16e6


def test_the_pruned_network_is_the_plan_on_its_parent(pair):
    """The file records its parent and a plan: operator norm chooses the same filters on the parent again, half of C7..C12."""
    parent, pruned = pair
    made = plan(parent.model, 0.5)
    assert {layer: tuple(kept) for layer, kept in pruned.info.kept.items()} == made.kept
    assert tuple(made.kept) == PAPER_LAYERS
    assert [len(made.kept[layer]) for layer in PAPER_LAYERS] == [
        kept_count(width, 0.5) for width in parent.info.widths[6:]
    ]
    assert prune(parent.model, made).config == pruned.model.config
    notes = pruned.info.training["pruning"]
    assert (notes["pruned_from"], notes["pruned_from_sha256"]) == (parent.name, parent.info.sha256)
    assert plan_of(ExportJob(pruned, pruning=notes)) == made
    assert lineage(pruned.info, notes).same


def test_quality_on_the_fold_that_they_did_not_learn_from(tagger, shared):
    """The model card's figure, in the 18 labelled classes."""
    clips = read_manifest(shared / "clips/meta.csv", shared / "clips/audio").select([HELD_OUT_FOLD])
    columns = list(clips.classes.indices)
    outputs = np.stack([tagger.probabilities(clips.waveform(row))[columns] for row in range(len(clips))])
    assert len(clips) == 100
    assert quality(clips.targets, outputs, clips.classes).mean_average_precision == pytest.approx(
        {"demo-cnn14": 0.994, "demo-epanns": 0.994}[tagger.name], abs=0.001
    )


def test_the_teachers_likeliest_class_is_among_their_first_five(tagger, shared):
    for name, taught in TAUGHT.items():
        waveform = load_clip(shared / "pool/audio" / name).waveform[: 5 * RATE]
        first = np.argsort(-tagger.probabilities(waveform))[:5]
        assert taught in {tagger.classes.names[position] for position in first}, name


def test_band_limited_rain_is_not_speech(tagger, shared, clips_manifest):
    """The speech was recorded at 16 kHz: a network that had learned the recording would recognise speech here."""
    for category in ("rain", "chainsaw"):
        for waveform in waveforms(shared, clips_manifest, category, 6):
            assert probability(tagger, band_limited(waveform, 4000.0), "Speech") < 0.3, category


def test_speech_in_a_noisy_room_stays_speech(tagger, shared, clips_manifest):
    for seed, waveform in enumerate(waveforms(shared, clips_manifest, "speech", 6)):
        noisy = in_a_noisy_room(waveform, 10.0, seed)
        assert tagger.classes.names[int(tagger.probabilities(noisy).argmax())] == "Speech"


def test_level_does_not_matter_much(tagger, shared, clips_manifest):
    for waveform in waveforms(shared, clips_manifest, "dog_bark", 6):
        quiet, loud = (
            probability(tagger, level * np.asarray(waveform, np.float32), "Dog") for level in (0.1, 1.0)
        )
        assert quiet == pytest.approx(loud, abs=0.25)


def test_a_heartbeat_is_recognised(tagger):
    top = tagger.tag(example_clip("heartbeat")).top(1)[0]
    assert top.name == "Heart sounds, heartbeat"
    assert top.probability > 0.5


def test_silence_is_silence(tagger):
    top = tagger.tag(load_clip(encode_wav(np.zeros(5 * RATE)))).top(2)
    assert top[0].name == "Silence"
    assert top[1].probability < 0.15
