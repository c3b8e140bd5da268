"""Windows, tags and loading; parity with the reference is in test_parity.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.audio import DecodedClip, encode_wav, load_clip
from core.checkpoints import entry, path_of, save_checkpoint
from core.classes import ClassSet
from core.errors import AudioError, CheckpointError, ModelError
from core.models.cnn import Cnn14, Cnn14Config
from core.tagging import default_baseline, default_pair, load_tagger
from core.tags import Tags
from core.windows import mean_probabilities, windows

RATE = 32_000
CLASSES = ClassSet.from_names(["Dog", "Rain", "Speech"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    model = Cnn14(Cnn14Config((4,) * 6 + (8,) * 6, 3, 16)).eval()
    save_checkpoint(path, model, classes=CLASSES, name="small")
    return path


def clip(seconds: float) -> DecodedClip:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE))).astype(np.float32)
    return load_clip(encode_wav(waveform))


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [
        (0.5, [0.5]),
        (30.0, [30.0]),
        (31.0, [15.5, 15.5]),
        (45.0, [22.5, 22.5]),
        (600.0, [30.0] * 20),
        (90.001, [22.50025] * 4),
    ],
)
def test_windows_are_the_fewest_equal_ones_of_at_most_30_s(seconds, lengths):
    spans = windows(round(seconds * RATE))
    assert [(end - start) / RATE for start, end in spans] == pytest.approx(lengths, abs=1.1 / RATE)
    assert spans[0][0] == 0
    assert spans[-1][1] == round(seconds * RATE)
    assert all(left[1] == right[0] for left, right in pairwise(spans))


def test_probabilities_are_the_mean_over_the_windows():
    seen = []

    def network(waveform: torch.Tensor) -> torch.Tensor:
        seen.append(waveform.shape[1])
        return torch.full((1, 2), float(len(seen)))

    assert mean_probabilities(network, np.zeros(70 * RATE, np.float32)).tolist() == [
        2.0,
        2.0,
    ]  # (1 + 2 + 3) / 3
    assert sum(seen) == 70 * RATE


def test_a_short_clip_is_padded_and_says_so(checkpoint):
    tagger = load_tagger(checkpoint=checkpoint)
    short = clip(0.2)
    tags = tagger.tag(short)
    padded = np.pad(short.waveform, (0, 9920 - 6400))
    assert np.array_equal(tags.probabilities, tagger.probabilities(padded))
    assert tags.windows_s == ((0.0, 0.31),)
    assert "padded with silence to 0.31 s" in tags.notes[0]


def test_a_long_clip_says_its_windows(checkpoint):
    tags = load_tagger(checkpoint=checkpoint).tag(clip(45.0))
    assert tags.windows_s == ((0.0, 22.5), (22.5, 45.0))
    assert "2 windows of 22.5 s" in tags.notes[0]
    assert load_tagger(checkpoint=checkpoint).tag(clip(29.0)).notes == ()


def test_latency_is_the_sum_over_the_windows(checkpoint, monkeypatch):
    """Three windows of 1, 2 and 4 s by a clock that only the engine moves; loading between them takes no part."""
    now = [100.0]
    monkeypatch.setattr("core.tagging.time.perf_counter", lambda: now[0])
    tagger = load_tagger(checkpoint=checkpoint, runtime="torch")
    steps = iter([1.0, 2.0, 4.0])

    class Engine:
        name, why = "stub", ""

        def probabilities(self, waveform: torch.Tensor) -> torch.Tensor:
            now[0] += next(steps)
            return torch.zeros(1, 3)

    monkeypatch.setattr(tagger, "_engine", Engine())
    long = clip(70.0)
    segments = type(long).segments

    def decoded(self, spans):
        for part in segments(self, spans):
            now[0] += 50.0
            yield part

    monkeypatch.setattr(type(long), "segments", decoded)
    assert tagger.tag(long).latency_ms == pytest.approx(7_000.0)


def test_a_tag_exactly_at_the_threshold_is_above_it():
    tags = Tags("m", CLASSES, np.array([0.5, 0.4375, 0.5], np.float32), "torch", 1.0, ((0.0, 1.0),))
    assert [tag.name for tag in tags.above(0.5)] == ["Dog", "Speech"]  # of equals the class that comes first


@pytest.mark.parametrize(("samples", "padded"), [(9_919, True), (9_920, False)])
def test_only_clips_under_the_shortest_input_are_padded(checkpoint, samples, padded):
    notes = load_tagger(checkpoint=checkpoint, runtime="torch").tag(clip(samples / RATE)).notes
    assert bool(notes) == padded


@pytest.mark.parametrize(("samples", "count"), [(960_000, 1), (960_001, 2), (1, 1)])
def test_a_window_holds_thirty_seconds_and_not_a_sample_more(samples, count):
    assert len(windows(samples)) == count


def test_tags_are_sorted_and_cut():
    tags = Tags("m", CLASSES, np.array([0.2, 0.9, 0.5], np.float32), "torch", 1.0, ((0.0, 1.0),))
    assert [tag.name for tag in tags.top(2)] == ["Rain", "Speech"]
    assert [tag.name for tag in tags.above(0.5)] == ["Rain", "Speech"]
    assert tags.top(1)[0].index == CLASSES.indices[1]


@pytest.mark.parametrize("wrong", [np.zeros(0, np.float32), np.zeros((2, RATE), np.float32)])
def test_a_waveform_is_one_row_of_samples(checkpoint, wrong):
    with pytest.raises(AudioError, match="one row of samples"):
        load_tagger(checkpoint=checkpoint).probabilities(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros(RATE, np.int16), "got int16"),
        (np.zeros(RATE, complex), "got complex128"),
        (np.full(RATE, np.nan, np.float32), "NaN or infinite"),
        (np.full(RATE, 1e300), "NaN or infinite"),
    ],
)
def test_samples_are_finite_floats(checkpoint, wrong, said):
    """16-bit integers would otherwise be heard 90 dB too loud, and NaN would end as probabilities that are no numbers."""
    with pytest.raises(AudioError, match=said):
        load_tagger(checkpoint=checkpoint).probabilities(wrong)


def test_any_layout_of_the_samples_will_do(checkpoint):
    tagger, waveform = load_tagger(checkpoint=checkpoint), clip(1.0).waveform
    expected = tagger.probabilities(waveform)
    read_only = waveform.copy()
    read_only.setflags(write=False)
    strided = np.repeat(waveform, 2)[::2]
    for same in (read_only, strided, waveform.astype(np.float64), waveform.astype(">f4")):
        assert np.array_equal(tagger.probabilities(same), expected)


def test_threads_share_a_tagger(checkpoint):
    tagger = load_tagger(checkpoint=checkpoint)
    waveforms = [clip(seconds).waveform for seconds in (0.2, 0.5, 0.8, 1.1)]
    alone = [tagger.probabilities(waveform) for waveform in waveforms]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(tagger.probabilities, waveforms * 4))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(alone * 4, together, strict=True))


def test_what_cannot_be_loaded_says_why(checkpoint):
    with pytest.raises(CheckpointError, match="published figures only"):
        load_tagger("epanns-75")
    with pytest.raises(CheckpointError, match="give one of them"):
        load_tagger("demo-cnn14", checkpoint=checkpoint)
    with pytest.raises(ModelError, match="runtime 'tpu'"):
        load_tagger(checkpoint=checkpoint, runtime="tpu")


def test_official_models_must_be_fetched_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    assert default_pair() == ("demo-cnn14", "demo-epanns")
    with pytest.raises(CheckpointError, match="pannscope fetch cnn14"):
        load_tagger("cnn14")


def test_without_a_name_the_best_installed_baseline_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    assert default_baseline() == "demo-cnn14"
    official = entry("cnn14")
    with path_of(official).open("wb") as file:
        file.truncate(official.size_bytes)  # as long as the real file, and nothing in it
    assert default_baseline() == "cnn14"
    with pytest.raises(CheckpointError, match="Cnn14_mAP"):
        load_tagger()
    assert default_pair() == ("demo-cnn14", "demo-epanns")  # a comparison wants both
    with pytest.raises(CheckpointError, match="Unknown checkpoint ''"):
        load_tagger("")
