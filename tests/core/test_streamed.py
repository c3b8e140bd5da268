"""Long recordings that are decoded again instead of kept: equal to the whole, whatever is asked of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from core.audio import SAMPLE_RATE, LongClip, encode_flac, load_clip, open_clip
from core.errors import AudioError


def recording(seconds: float, rate: int = 44_100, channels: int = 2, container: str = "FLAC") -> bytes:
    noise = 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))
    out = io.BytesIO()
    soundfile.write(out, noise, rate, format=container)
    return out.getvalue()


@pytest.fixture(scope="module")
def data() -> bytes:
    return recording(5.3)


@pytest.fixture(scope="module")
def long(data: bytes) -> LongClip:
    clip = open_clip(data, name="noise.flac", whole_seconds=1.0)
    assert isinstance(clip, LongClip)
    return clip


def test_a_long_clip_is_the_whole_one_without_its_samples(data: bytes, long: LongClip) -> None:
    whole = load_clip(data, name="noise.flac")
    assert long.describe() == whole.describe()
    assert (long.samples, long.notes, long.silent) == (len(whole.waveform), whole.notes, whole.silent)
    assert np.array_equal(long.waveform, whole.waveform)
    assert (long.nbytes, whole.nbytes) == (len(data), 4 * whole.samples)


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 170_000)],
        [(0, 1), (1, 2), (2, 65_536), (65_536, 140_001), (140_001, 169_600)],
        [(100, 200), (90_000, 90_001), (169_000, 169_599)],
        [(0, 0), (7, 7), (7, 64)],
    ],
)
def test_parts_are_slices_of_the_whole(data: bytes, long: LongClip, spans: list[tuple[int, int]]) -> None:
    whole = load_clip(data).waveform
    assert len(whole) == round(5.3 * SAMPLE_RATE)
    for (start, end), part in zip(spans, long.parts(spans), strict=True):
        assert part.dtype == np.float32
        assert np.array_equal(part, whole[start:end])


def test_the_beginning_of_either_kind_is_the_same(data: bytes, long: LongClip) -> None:
    whole = load_clip(data)
    for seconds in (0.5, 5.3, 60.0):
        assert np.array_equal(long.beginning(seconds), whole.waveform[: round(seconds * SAMPLE_RATE)])
        assert np.array_equal(whole.beginning(seconds), long.beginning(seconds))


def test_short_recordings_are_kept_whole(data: bytes) -> None:
    clip, loaded = open_clip(data, name="a.flac"), load_clip(data, name="a.flac")
    assert type(clip) is type(loaded)
    assert np.array_equal(clip.waveform, loaded.waveform)
    assert not clip.waveform.flags.writeable
    assert clip.describe() == loaded.describe()


def test_what_load_clip_refuses_is_refused_alike() -> None:
    for given, limit in ((b"no recording", 600.0), (recording(3.0, 8_000, 1), 2.0), (b"", 600.0)):
        with pytest.raises(AudioError) as first:
            load_clip(given, name="x.wav", max_seconds=limit)
        with pytest.raises(AudioError) as second:
            open_clip(given, name="x.wav", max_seconds=limit, whole_seconds=0.5)
        assert str(first.value) == str(second.value)


def test_the_players_flac_holds_the_clip(long: LongClip) -> None:
    samples, rate = soundfile.read(io.BytesIO(encode_flac(long)), dtype="int16")
    expected = np.clip(long.waveform, -1, 1)
    assert rate == SAMPLE_RATE
    assert samples.shape == expected.shape
    assert np.abs(samples / 32_768 - expected).max() <= 1.01 / 32_768
