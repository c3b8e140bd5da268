"""Streams: every output against the tagger on the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from core import ModelError, load_tagger
from core.audio import SAMPLE_RATE
from core.errors import AudioError
from core.examples import example_clip
from core.streaming import Stream, StreamOutput
from core.tagging import Tagger


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return load_tagger("demo-epanns")


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Sounds, three seconds of digital silence, and sounds again: 13 s."""
    siren, rain = (example_clip(key).waveform for key in ("siren", "rain"))
    return np.concatenate([siren[:160_000], np.zeros(96_000, np.float32), rain[:160_000]])


def in_pieces(stream: Stream, waveform: np.ndarray, sizes: tuple[int, ...]) -> list[StreamOutput]:
    outputs, start, turn = [], 0, 0
    while start < len(waveform):
        size = sizes[turn % len(sizes)]
        outputs += stream.push(waveform[start : start + size])
        start, turn = start + size, turn + 1
    return outputs


def test_outputs_are_those_of_the_tagger(tagger: Tagger, sound: np.ndarray) -> None:
    outputs = in_pieces(Stream(tagger, 4.0, 0.5), sound, (1, 0, 4_000, 40_000, 7))
    assert [output.end_s for output in outputs] == [0.5 * (hop + 1) for hop in range(26)]
    for output in outputs:
        start, end = round(output.start_s * SAMPLE_RATE), round(output.end_s * SAMPLE_RATE)
        assert end - start == min(end, 4 * SAMPLE_RATE)
        assert np.abs(output.probabilities - tagger.probabilities(sound[start:end])).max() < 1e-4


def test_begins_again(tagger: Tagger, sound: np.ndarray) -> None:
    stream = Stream(tagger, 1.0, 0.5)
    first = stream.push(sound[:40_000])
    stream.reset()
    again = stream.push(sound[:40_000])
    assert [output[:2] for output in again] == [output[:2] for output in first]
    assert np.array_equal(again[-1].probabilities, first[-1].probabilities)


def test_bad_samples_are_refused_and_leave_nothing(tagger: Tagger, sound: np.ndarray) -> None:
    stream, plain = Stream(tagger, 1.0, 0.5), Stream(tagger, 1.0, 0.5)
    stream.push(sound[:8_000])
    for bad in (np.array([0.0, np.nan], np.float32), np.zeros(4, np.int16), np.zeros((2, 2), np.float32)):
        with pytest.raises(AudioError):
            stream.push(bad)
    plain.push(sound[:8_000])
    assert np.array_equal(
        stream.push(sound[8_000:16_000])[0].probabilities, plain.push(sound[8_000:16_000])[0].probabilities
    )


def test_lengths_that_do_not_fit(tagger: Tagger) -> None:
    with pytest.raises(ModelError, match=r"Windows of 40 s do not fit CNN14; give 0\.31 to 30 s"):
        Stream(tagger, 40.0)
    with pytest.raises(ModelError, match=r"from 0\.01 s to the 1 s of its window; got 2"):
        Stream(tagger, 1.0, 2.0)
