"""Long recordings that are decoded again instead of kept: equal to the decoded ones, whatever is read of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from core.audio import (
    SAMPLE_RATE,
    Clip,
    DecodedClip,
    SoundEncoder,
    StreamedClip,
    UncheckedClip,
    load_clip,
    open_clip,
)
from core.errors import AudioError

SECONDS = 60.3


def recording(frames: int, rate: int, channels: int = 1, container: str = "FLAC") -> bytes:
    noise = 0.1 * np.random.default_rng(0).standard_normal((frames, channels))
    out = io.BytesIO()
    soundfile.write(out, noise, rate, format=container)
    return out.getvalue()


@pytest.fixture(scope="module")
def data() -> bytes:
    return recording(round(SECONDS * 44_100), 44_100, channels=2)


@pytest.fixture(scope="module")
def decoded(data: bytes) -> DecodedClip:
    return load_clip(data, name="noise.flac")


@pytest.fixture(scope="module")
def streamed(data: bytes) -> StreamedClip:
    clip = open_clip(data, name="noise.flac")
    assert isinstance(clip, StreamedClip)
    return clip


def whole(clip: Clip) -> np.ndarray:
    return next(clip.segments([(0, clip.samples)]))


def test_a_streamed_clip_is_the_decoded_one_without_its_samples(
    data: bytes, streamed: StreamedClip, decoded: DecodedClip
) -> None:
    assert streamed.describe() == decoded.describe()
    assert streamed.samples == len(decoded.waveform) == round(SECONDS * SAMPLE_RATE)
    assert streamed.peak == decoded.peak == np.abs(decoded.waveform).max()
    assert (streamed.notes, streamed.silent) == (decoded.notes, decoded.silent) == ((), False)
    assert np.array_equal(whole(streamed), decoded.waveform)
    assert (streamed.nbytes, decoded.nbytes) == (len(data), 4 * decoded.samples)


def test_neither_prints_its_samples(streamed: StreamedClip, decoded: DecodedClip) -> None:
    assert len(repr(streamed)) < 300
    assert len(repr(decoded)) < 300


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 170_000)],
        [(0, 1), (1, 2), (2, 65_536), (65_536, 140_001), (140_001, 169_600)],
        [
            (47_553, 47_554),
            (47_554, 47_555),
        ],  # 65,536 frames at 44.1 kHz are 47,554 samples: where a block ends
        [(100, 200), (90_000, 90_001), (1_929_000, 1_929_600)],
        [(0, 0), (7, 7), (7, 64)],
    ],
)
def test_segments_are_slices_of_the_waveform(
    streamed: StreamedClip, decoded: DecodedClip, spans: list[tuple[int, int]]
) -> None:
    for clip in (streamed, decoded):
        for (start, end), segment in zip(spans, clip.segments(spans), strict=True):
            assert segment.dtype == np.float32
            assert np.array_equal(segment, decoded.waveform[start:end])


@pytest.mark.parametrize("edge", [65_535, 65_536, 65_537, 2 * 65_536])
def test_segments_meet_at_the_blocks_of_the_decoder(edge: int) -> None:
    """At 32 kHz nothing is resampled, so that a block is 65,536 samples: one sample before its end, at it, after it."""
    clip = open_clip(recording(61 * SAMPLE_RATE, SAMPLE_RATE), name="x")
    assert isinstance(clip, StreamedClip)
    expected, _ = soundfile.read(io.BytesIO(clip.source), dtype="float32")
    first, second = clip.segments([(edge - 3, edge), (edge, edge + 3)])
    assert np.array_equal(first, expected[edge - 3 : edge])
    assert np.array_equal(second, expected[edge : edge + 3])


def test_the_beginning_of_either_kind_is_the_same(streamed: StreamedClip, decoded: DecodedClip) -> None:
    for seconds in (0.5, 5.3, 120.0):
        expected = decoded.waveform[: round(seconds * SAMPLE_RATE)]
        assert np.array_equal(streamed.beginning(seconds), expected)
        assert np.array_equal(decoded.beginning(seconds), expected)


def test_recordings_of_up_to_a_minute_are_kept_decoded() -> None:
    minute = 60 * SAMPLE_RATE
    clip, loaded = (read(recording(minute, SAMPLE_RATE), name="a") for read in (open_clip, load_clip))
    assert isinstance(clip, DecodedClip)
    assert np.array_equal(clip.waveform, loaded.waveform)
    assert not clip.waveform.flags.writeable
    assert clip.describe() == loaded.describe()
    assert isinstance(open_clip(recording(minute + 1, SAMPLE_RATE), name="a"), StreamedClip)


def test_of_a_longer_recording_no_more_is_decoded() -> None:
    """Of one sample more than is to be decoded at once the length is what the header declares, and nothing else is known."""
    longest = 61 * SAMPLE_RATE
    whole = open_clip(recording(longest, SAMPLE_RATE), name="a", unchecked_from_s=61)
    assert not isinstance(whole, UncheckedClip)
    data = recording(longest + 1, SAMPLE_RATE)
    begun = open_clip(data, name="a", unchecked_from_s=61)
    assert isinstance(begun, UncheckedClip)
    assert (begun.samples, begun.sha256) == (longest + 1, "")
    assert np.array_equal(np.concatenate(list(begun.blocks())), load_clip(data).waveform)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_are_kept(kind: type) -> None:
    data = recording(61 * SAMPLE_RATE, SAMPLE_RATE)
    clip = open_clip(kind(data), name="a")
    assert isinstance(clip, StreamedClip)
    assert clip.source == data
    assert clip.beginning(1.0).shape == (SAMPLE_RATE,)


@pytest.mark.parametrize("data", [b"not audio", b"", recording(601 * 4_000, 4_000)])
def test_both_ways_in_raise_the_same_errors(data: bytes) -> None:
    with pytest.raises(AudioError) as first:
        load_clip(data, name="x.wav")
    with pytest.raises(AudioError) as second:
        open_clip(data, name="x.wav")
    assert str(first.value) == str(second.value)


def test_the_limits_end_is_still_accepted() -> None:
    """600 s are, and one frame more is not."""
    assert open_clip(recording(600 * 4_000, 4_000), name="x").duration_s == 600
    with pytest.raises(AudioError, match="lasts longer; recordings of up to 600 s are accepted"):
        open_clip(recording(600 * 4_000 + 1, 4_000), name="x")


def test_the_flac_for_players_holds_the_clip(streamed: StreamedClip, decoded: DecodedClip) -> None:
    encoder = SoundEncoder("FLAC")
    spans = [(0, 100_000), (100_000, streamed.samples)]
    passed = np.concatenate(list(encoder.through(streamed.segments(spans))))
    assert np.array_equal(passed, decoded.waveform)
    samples, rate = soundfile.read(io.BytesIO(encoder.data()), dtype="int16")
    expected = np.clip(decoded.waveform, -1, 1)
    assert rate == SAMPLE_RATE
    assert samples.shape == expected.shape
    assert np.abs(samples / 32_768 - expected).max() <= 1.01 / 32_768
