"""Streams: every output against the tagger's full pass over the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from core import ModelError, load_tagger
from core.audio import SAMPLE_RATE
from core.errors import AudioError
from core.examples import example_clip
from core.profiling import resident_growth
from core.streaming import Stream, StreamOutput
from core.tagging import Tagger
from tests.core.networks import narrow, network

LEAST = 91_712 / SAMPLE_RATE


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return load_tagger("demo-epanns")


@pytest.fixture(scope="module")
def small(tagger: Tagger) -> Tagger:
    return Tagger(network((3, 5, 2, 7, 8, 6, 9, 9, 10, 11, 12, 13)), tagger.info, runtime="torch")


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Sounds, two seconds of digital silence, and sounds again: 8 s."""
    siren, rain = (example_clip(key).waveform for key in ("siren", "rain"))
    return np.concatenate([siren[:96_000], np.zeros(64_000, np.float32), rain[:96_000]])


def in_pieces(stream: Stream, waveform: np.ndarray, sizes: tuple[int, ...]) -> list[StreamOutput]:
    outputs, start, turn = [], 0, 0
    while start < len(waveform):
        size = sizes[turn % len(sizes)]
        outputs += stream.push(waveform[start : start + size])
        start, turn = start + size, turn + 1
    return outputs


def largest_difference(outputs: list[StreamOutput], tagger: Tagger, waveform: np.ndarray) -> float:
    spans = [
        (round(output.start_s * SAMPLE_RATE), round(output.end_s * SAMPLE_RATE), output) for output in outputs
    ]
    return max(
        float(np.abs(output.probabilities - tagger.probabilities(waveform[start:end])).max())
        for start, end, output in spans
    )


@pytest.mark.parametrize(
    ("which", "window_s", "hop_s"),
    [
        ("tagger", 4.0, 0.5),
        ("small", LEAST, 0.16),
        ("small", 3.0, 0.32),
        ("small", 5.0, 0.7),
        ("small", 3.1, 2.3),
    ],
)
def test_outputs_are_those_of_full_passes(
    which: str, window_s: float, hop_s: float, sound: np.ndarray, request: pytest.FixtureRequest
) -> None:
    """From the first, which is shorter than the network takes, over silence, pushed a sample, nothing and 1.25 s at a time."""
    chosen = request.getfixturevalue(which)
    stream = Stream(chosen, window_s, hop_s)
    outputs = in_pieces(stream, sound, (1, 0, 4_000, 40_000, 7))
    assert stream.incremental, stream.why
    hop, window = round(hop_s * SAMPLE_RATE), round(window_s * SAMPLE_RATE)
    ends = np.arange(hop, len(sound) + 1, hop)
    assert [output.end_s * SAMPLE_RATE for output in outputs] == ends.tolist()
    starts = np.ceil(np.maximum(ends - window, 0) / 10_240) * 10_240  # 0.32 s
    assert [output.start_s * SAMPLE_RATE for output in outputs] == starts.tolist()
    compared = outputs[:3] + outputs[3:-1:4] + outputs[-1:]
    assert largest_difference(compared, chosen, sound) < 5e-6
    assert (
        np.std([output.probabilities for output in outputs], axis=0).max() > 1e-3
    )  # not the same all the time


def test_an_output_of_every_push(small: Tagger, sound: np.ndarray) -> None:
    stream = Stream(small, 3.0, hop_s=None)
    sizes = (1, 0, 8_173, 40_000, 1, 33_000)
    outputs = in_pieces(stream, sound, sizes)
    ends = np.cumsum([size for size in sizes * 4 if size])
    ends = np.append(ends[ends < len(sound)], len(sound))
    assert [round(output.end_s * SAMPLE_RATE) for output in outputs] == ends.tolist()
    starts = np.ceil(np.maximum(ends - 96_000, 0) / 10_240) * 10_240  # 0.32 s
    assert [round(output.start_s * SAMPLE_RATE) for output in outputs] == starts.tolist()
    assert largest_difference(outputs, small, sound) < 5e-6


def test_long_runs_do_not_grow(small: Tagger) -> None:
    """A thousand hops."""
    tiny = Tagger(network((2,) * 12), small.info, runtime="torch")
    stream = Stream(tiny, 3.0, 0.05)
    noise = 0.1 * np.random.default_rng(0).standard_normal(100 * 1_600).astype(np.float32)
    stream.push(noise)
    kept = stream.nbytes
    grown = resident_growth(lambda: [stream.push(noise) for _ in range(9)])
    assert max(kept, stream.nbytes) < 20_000
    assert (grown or 0) < 4 * 2**20  # None where the system does not say it


@pytest.mark.parametrize(
    ("name", "window_s", "why", "spans"),
    [
        ("cnn14", 2.8, "both ends", [(0, 2), (1.2, 4)]),
        ("cnn14-16k", 3, "CNN14 at 16 kHz receives resampled sound", [(0, 2), (1, 4)]),
        ("cnn6", 3, "CNN6 is not CNN14", [(0, 2), (1, 4)]),
    ],
)
def test_full_passes_where_columns_cannot_be_kept(
    name: str, window_s: float, why: str, spans: list[tuple[float, float]], tagger: Tagger, sound: np.ndarray
) -> None:
    model = narrow(name, 3) if name == "cnn6" else network((2,) * 12)
    model.architecture = name
    other = Tagger(model, tagger.info, runtime="torch")
    stream = Stream(other, window_s, 2.0)
    assert not stream.incremental
    assert why in stream.why
    outputs = stream.push(sound[: 4 * SAMPLE_RATE])
    assert [output[:2] for output in outputs] == spans
    assert largest_difference(outputs, other, sound) == 0


def test_begins_again(tagger: Tagger, sound: np.ndarray) -> None:
    stream = Stream(tagger, 4.0, 0.5)
    first = stream.push(sound[:40_000])
    stream.reset()
    again = stream.push(sound[:40_000])
    assert [output[:2] for output in again] == [output[:2] for output in first]
    assert np.array_equal(again[-1].probabilities, first[-1].probabilities)


def test_bad_samples_are_refused_and_leave_nothing(small: Tagger, sound: np.ndarray) -> None:
    stream, plain = Stream(small, 4.0, 0.5), Stream(small, 4.0, 0.5)
    stream.push(sound[:8_000])
    for bad in (np.array([0.0, np.nan], np.float32), np.zeros(4, np.int16), np.zeros((2, 2), np.float32)):
        with pytest.raises(AudioError):
            stream.push(bad)
    plain.push(sound[:8_000])
    (output,), (expected,) = stream.push(sound[8_000:16_000]), plain.push(sound[8_000:16_000])
    assert output[:2] == expected[:2] == (0.0, 0.5)
    assert np.array_equal(output.probabilities, expected.probabilities)


def test_lengths_that_do_not_fit(tagger: Tagger) -> None:
    with pytest.raises(ModelError, match=r"Windows of 40 s do not fit CNN14; give 0\.31 to 30 s"):
        Stream(tagger, 40.0)
    with pytest.raises(ModelError, match=r"from 0\.01 s to the 1 s of its window; got 2"):
        Stream(tagger, 1.0, 2.0)
