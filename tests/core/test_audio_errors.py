"""What is not accepted: broken, hostile and absurd files, in one line and without spending memory on them."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio import MAX_SECONDS, SAMPLE_RATE, DecodedClip, load_clip
from core.audio.facts import Job
from core.audio.pool import Decoding
from core.errors import AudioError
from tests.core.recordings import CODED, header, muxed, peak_rss_kb, tone, written


def message_of(source: bytes | str | os.PathLike[str], **options: Any) -> str:
    with pytest.raises(AudioError) as refused:
        load_clip(source, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_the_forged_header_is_sound_where_nothing_is_wrong() -> None:
    assert load_clip(header()).duration_s == pytest.approx(0.1)
    guid = struct.pack("<HHI", 22, 16, 4) + b"\x01\x00" + bytes.fromhex("000000001000800000aa00389b71")
    assert load_clip(header(tag=0xFFFE, more=guid)).duration_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\x00", "not in a format"),
        (b"hello, I am a text file\n" * 100, "not in a format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(1_000), "not in a format"),
        (b"%PDF-1.7" + bytes(1_000), "not in a format"),
        (np.random.default_rng(1).bytes(100_000), "not in a format"),
        (b"\xff\xfb\x90\x00" + bytes(100_000), "not in a format"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "not in a format"),
        (b"RIFF", "not in a format"),
        (header()[:18], "not in a format"),
        (header()[:30], "not in a format"),
        (header()[:36], "starts like WAV but cannot be opened"),
        (header()[:44], "is truncated: its header declares 0.10 s and it holds 0.00 s"),
        (written(np.zeros(0), 44_100, "WAV"), "holds no samples (0 frames)"),
        (written(np.zeros(0), 44_100, "FLAC"), "is empty (0 bytes)"),
        (header(tag=2), "holds 0.00 s"),
        (header(tag=0x55), "holds no samples"),
        (header(tag=0x161), "is encoded as wmav2, which is not accepted"),
        (header(tag=0x1234), "an unknown codec"),
        (header(tag=0xFFFE), "an unknown codec"),
        (header(tag=0xFFFE, more=bytes(24)), "an unknown codec"),
        (header(rate=1), "sample rate of 1 Hz"),
        (header(rate=3_999), "3,999 Hz"),
        (header(rate=384_001), "384,001 Hz"),
        (header(rate=2**31 - 1), "2,147,483,647 Hz"),
        (header(channels=0), "(1 to 64)"),
        (header(channels=65), "65 channels; 1 to 64"),
        (header(channels=1_024), "(1 to 64)"),
        (header(bits=0), "an unknown codec"),
        (header(tag=3, bits=16), "an unknown codec"),
        (muxed(tone(44_100), 44_100, "avi", "pcm_s16le"), "not in a format"),
        (muxed(tone(44_100), 44_100, "matroska", "tta"), "is encoded as tta, which is not accepted"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "not in a format"),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", "not in a format"),
        (b"OggS" + bytes(2_000_000), "starts like OGG or Opus"),
        (b"fLaC" + bytes(2_000_000), "cannot be opened"),
        (b"\x1a\x45\xdf\xa3" + bytes(2_000_000), "not in a format"),
        (bytes(4) + b"ftypM4A " + bytes(2_000), "starts like M4A or MP4 or MOV or 3GP but cannot be opened"),
    ],
)
def test_bad_input_is_refused_in_one_line(data: bytes, said: str) -> None:
    message = message_of(data, name="given.wav")
    assert message.startswith('"given.wav"')
    assert said in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused_with_their_place(bad: float) -> None:
    samples = tone(44_100, channels=2)
    samples[66_150, 1] = bad
    assert "from 1.50 s on" in message_of(written(samples, 44_100, "WAV", "FLOAT"))


@pytest.mark.parametrize("make", CODED)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_refused_or_says_so(make: Callable[[], bytes], share: float) -> None:
    """Refused where the header declares the length; streams that declare none (ADTS, Ogg) give what is there, with a note."""
    whole = make()
    cut = whole[: round(share * len(whole))]
    if whole[:2] == b"\xff\xf1" or whole[:4] == b"OggS" or whole[:2] == b"\xff\xfb":
        try:
            clip = load_clip(cut, name="cut")
        except AudioError as error:
            assert str(error).startswith('"cut"')  # noqa: PT017 (either outcome is right)
        else:
            assert "may be truncated" in clip.notes[0]
            assert clip.duration_s <= 2.05 * share + 0.15
    else:
        assert message_of(cut, name="cut").startswith('"cut"')


@pytest.mark.parametrize("container", ["WAV", "RF64"])
def test_a_wav_that_lost_too_little_to_be_refused_says_so(container: str) -> None:
    whole = written(tone(44_100), 44_100, container, "PCM_16")  # 2 s of 16-bit mono, the samples last
    clip = load_clip(whole[: len(whole) - 2 * 2_205])
    assert (clip.duration_s, clip.notes) == (1.95, ("its last 0.05 s are missing",))
    assert load_clip(whole).notes == ()


def test_ogg_that_ends_between_pages_is_played_with_a_note() -> None:
    whole = written(np.random.default_rng(2).uniform(-0.3, 0.3, 20 * 44_100), 44_100, "OGG", "VORBIS")
    clip = load_clip(whole[: whole.rindex(b"OggS")])
    assert 1 < clip.duration_s < 20
    assert "no end-of-stream mark" in clip.notes[0]


def test_the_limit_is_a_parameter() -> None:
    two_seconds = written(tone(44_100), 44_100, "WAV")
    assert "up to 1 s are accepted" in message_of(two_seconds, max_seconds=1.0)
    assert "up to 0.5 s are accepted" in message_of(two_seconds, max_seconds=0.5)
    assert load_clip(two_seconds, max_seconds=2.0).duration_s == 2.0
    assert load_clip(two_seconds, max_seconds=None).duration_s == 2.0
    for limit in (0.0, -1.0, float("nan")):
        assert "positive" in message_of(two_seconds, max_seconds=limit)


@pytest.mark.parametrize("make", CODED)
def test_every_format_is_held_to_the_limit(make: Callable[[], bytes]) -> None:
    assert "lasts" in message_of(make(), max_seconds=1.5)


def test_a_small_file_that_decodes_to_gigabytes_is_refused_by_its_header() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 32_000, 8, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(90):
            flac.write(np.zeros((320_000, 8), dtype=np.int16))  # 15 minutes of eight silent channels
    bomb = file.getvalue()
    assert len(bomb) < 1_200_000
    tracemalloc.start()
    started = time.perf_counter()
    message = message_of(bomb)
    took, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "lasts 900 s" in message
    assert took < 0.5
    assert peak < 2_000_000


def test_a_header_that_lies_is_stopped_while_decoding() -> None:
    """The same bomb with an unknown length: found by counting, long before it is all decoded."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 32_000, 8, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(60):
            flac.write(np.zeros((320_000, 8), dtype=np.int16))
    bomb = bytearray(file.getvalue())
    bomb[18:26] = (int.from_bytes(bomb[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    before = peak_rss_kb()
    assert "recordings of up to 20 s" in message_of(bytes(bomb), max_seconds=20.0)
    assert peak_rss_kb() - before < 60_000  # kB


def test_ten_minutes_need_little_more_than_the_result() -> None:
    data = written(np.zeros((int(MAX_SECONDS) * 8_000, 2), dtype=np.int16), 8_000, "FLAC")
    tracemalloc.start()
    clip = load_clip(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clip.waveform.nbytes == pytest.approx(600 * SAMPLE_RATE * 4, abs=64)
    assert peak < 1.35 * clip.waveform.nbytes


def test_the_systems_errors_while_reading() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    job = Job(name="a.wav", suffix="", size=1_000, channel=0, max_seconds=None)
    with pytest.raises(AudioError, match=r'"a\.wav" cannot be read \(Input/output error\)'):
        list(Decoding(Failing(), job).blocks())


def test_broken_bytes_never_raise_anything_else() -> None:
    """Every format with random damage (seeded): a clip or an AudioError in one line, quickly."""
    rng = np.random.default_rng(11)
    wholes = [make() for make in CODED]
    started = time.perf_counter()
    for trial in range(330):
        data = bytearray(wholes[trial % len(wholes)])
        span = len(data) if trial % 3 else 300
        for at in rng.integers(0, span, rng.integers(1, 10)):
            data[at] = rng.choice(np.array([0, 127, 128, 255, int(rng.integers(256))]))
        try:
            assert isinstance(load_clip(bytes(data)), DecodedClip)
        except AudioError as error:
            assert "\n" not in str(error)  # noqa: PT017 (either outcome is right)
    assert time.perf_counter() - started < 30
