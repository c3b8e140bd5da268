"""Recordings in every accepted format against the sine that went into them."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from core.audio import SAMPLE_RATE, load_clip
from core.audio.track import Track
from tests.core.recordings import TONE_HZ, muxed, tone, written


def tone_in(waveform: NDArray[np.float32]) -> tuple[float, float]:
    """Frequency and amplitude of the strongest sinusoid in the middle half second (Hann window)."""
    middle = waveform[len(waveform) // 2 - SAMPLE_RATE // 4 :][: SAMPLE_RATE // 2].astype(np.float64)
    window = np.hanning(len(middle) + 1)[:-1]
    spectrum = np.abs(np.fft.rfft(middle * window))
    peak = int(spectrum.argmax())
    left, centre, right = np.log(spectrum[peak - 1 : peak + 2])
    offset = 0.5 * (left - right) / (left - 2 * centre + right)
    frequency = (peak + offset) * SAMPLE_RATE / len(middle)
    basis = np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / SAMPLE_RATE)
    return frequency, 2 * abs((middle * window * basis).sum()) / window.sum()


PLAIN: list[tuple[str, str, int, float]] = [
    ("WAV", "PCM_U8", 8_000, 2e-2),
    ("WAV", "PCM_16", 44_100, 1e-4),
    ("WAV", "PCM_24", 48_000, 1e-4),
    ("WAV", "PCM_32", 96_000, 1e-4),
    ("WAV", "FLOAT", 22_050, 1e-4),
    ("WAV", "DOUBLE", 384_000, 1e-4),
    ("WAVEX", "PCM_16", 32_000, 1e-4),
    ("WAVEX", "FLOAT", 4_000, 1e-4),
    ("RF64", "PCM_24", 44_100, 1e-4),
    *[("W64", "PCM_16", 44_100, 1e-4), ("AIFF", "PCM_16", 44_100, 1e-4), ("AU", "FLOAT", 48_000, 1e-4)],
    *[("CAF", "PCM_24", 48_000, 1e-4), ("WAV", "ULAW", 8_000, 3e-2)],
    *[("WAV", "ALAW", 8_000, 3e-2), ("AIFF", "ULAW", 8_000, 3e-2)],
    ("FLAC", "PCM_16", 44_100, 1e-4),
    ("FLAC", "PCM_24", 192_000, 1e-4),
    ("OGG", "VORBIS", 44_100, 4e-2),
    ("OGG", "OPUS", 48_000, 4e-2),
    ("MP3", "MPEG_LAYER_III", 44_100, 4e-2),
    ("MP3", "MPEG_LAYER_III", 16_000, 4e-2),
]


@pytest.mark.parametrize(("container", "subtype", "rate", "tolerance"), PLAIN)
@pytest.mark.parametrize("channels", [1, 2])
def test_soundfile_formats_keep_the_tone(
    container: str, subtype: str, rate: int, tolerance: float, channels: int
) -> None:
    samples = tone(rate, channels=channels)
    data = written(samples, rate, container, subtype)
    clip = load_clip(data, name="tone")
    assert (clip.sample_rate_hz, clip.channels) == (rate, channels)
    vorbis = 0.004 if subtype == "VORBIS" else 0.0  # libsndfile's last block of a stream
    assert clip.duration_s == pytest.approx(2.0, abs=1e-6 + vorbis)
    assert len(clip.waveform) == pytest.approx(2 * SAMPLE_RATE, abs=2 + vorbis * SAMPLE_RATE)
    frequency, amplitude = tone_in(clip.waveform)
    assert frequency == pytest.approx(TONE_HZ, abs=0.05)
    assert amplitude == pytest.approx(samples.max(axis=0).mean(), rel=max(tolerance, 5e-4))
    assert clip.notes == ()


AV: list[tuple[str, str, int, str, dict[str, str]]] = [
    ("ipod", "aac", 44_100, "mono", {}),
    ("ipod", "aac", 48_000, "stereo", {}),
    ("ipod", "alac", 44_100, "stereo", {}),
    ("mp4", "aac", 32_000, "5.1", {}),
    ("mp4", "aac", 48_000, "7.1", {}),  # eight planes: PyAV's own conversion to numpy reads beyond them
    ("mp4", "aac", 48_000, "mono", {"movflags": "frag_keyframe+empty_moov"}),
    ("mp4", "libmp3lame", 44_100, "stereo", {}),
    ("webm", "libopus", 48_000, "mono", {}),
    ("webm", "libopus", 48_000, "stereo", {"live": "1"}),
    ("matroska", "flac", 44_100, "mono", {}),
    ("adts", "aac", 44_100, "stereo", {}),
]


@pytest.mark.parametrize(("container", "codec", "rate", "layout", "options"), AV)
def test_av_formats_keep_the_tone(
    container: str, codec: str, rate: int, layout: str, options: dict[str, str]
) -> None:
    channels = {"mono": 1, "stereo": 2, "5.1": 6, "7.1": 8}[layout]
    samples = tone(rate, channels=channels)
    if channels > 2:
        samples[:, 3] = 0.0  # the low-frequency channel takes no tone of 1 kHz
    clip = load_clip(muxed(samples, rate, container, codec, layout, options))
    assert (clip.sample_rate_hz, clip.channels) == (rate, channels)
    assert clip.duration_s == pytest.approx(2.0, abs=0.08)  # an encoder's padding
    frequency, amplitude = tone_in(clip.waveform)
    assert frequency == pytest.approx(TONE_HZ, abs=0.05)
    assert amplitude == pytest.approx(
        samples.max(axis=0).mean(), rel=0.06
    )  # lossy at the codec's default bit rate


def test_samples_at_32_khz_pass_unchanged(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).uniform(-1, 1, (SAMPLE_RATE, 3)).astype(np.float32)
    path = tmp_path / "three channels.wav"
    path.write_bytes(written(samples, SAMPLE_RATE, "WAV", "FLOAT"))
    for source in (path, str(path), path.read_bytes()):
        clip = load_clip(source)
        np.testing.assert_allclose(clip.waveform, samples.mean(axis=1), atol=1e-7)
    assert clip.waveform.dtype == np.float32


def test_blocks_leave_no_seams() -> None:
    samples = tone(44_100, duration_s=6.0)[:, 0]  # four blocks of 65,536 frames and a rest
    clip = load_clip(written(samples, 44_100, "WAV", "FLOAT"))
    expected = tone(SAMPLE_RATE, duration_s=6.0)[:, 0]
    np.testing.assert_allclose(
        clip.waveform[2_000:-2_000], expected[2_000 : len(clip.waveform) - 2_000], atol=2e-5
    )


def test_resampling_lets_nothing_fold_back() -> None:
    time_s = np.arange(96_000) / 96_000
    clip = load_clip(written(0.5 * np.sin(2 * np.pi * 20_000 * time_s), 96_000, "WAV", "FLOAT"))
    assert (
        np.abs(clip.waveform[2_000:-2_000]).max() < 1e-4
    )  # 20 kHz is above 16 kHz and would come back as 12 kHz


def test_resampling_keeps_the_front_ends_highest_frequency() -> None:
    """The mel bands reach to 14 kHz, which a resampler of lower quality attenuates."""
    time_s = np.arange(88_200) / 44_100
    clip = load_clip(written(0.5 * np.sin(2 * np.pi * 14_000 * time_s), 44_100, "WAV", "FLOAT"))
    assert tone_in(clip.waveform) == pytest.approx((14_000, 0.5), rel=1e-3)


def test_clip_describes_itself(tmp_path: Path) -> None:
    data = written(tone(44_100, channels=2), 44_100, "WAV")
    path = tmp_path / "My tone.wav"
    path.write_bytes(data)
    clip = load_clip(path)
    assert clip.describe() == {
        "name": "My tone.wav",
        "duration_s": 2.0,
        "sample_rate_hz": 44_100,
        "channels": 2,
        "channel": "mean",
        "sha256": hashlib.sha256(data).hexdigest(),
        "silent": False,
        "peak_dbfs": -8.5,  # the mean of 0.25 and 0.5 is 0.375: 20 log10(0.375)
    }
    assert not clip.waveform.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        clip.waveform[0] = 1.0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\song.wav", "song.wav"),
        ("two\nlines\x1b[31m.wav", "two lines [31m.wav"),
        ("", "recording"),
        ("///", "recording"),
        ("\u202egnp.wav", "gnp.wav"),
    ],
)
def test_a_name_is_shown_and_never_opened(given: str, shown: str) -> None:
    assert load_clip(written(tone(32_000), 32_000, "WAV"), name=given).name == shown


def test_long_name_is_shortened_but_keeps_its_ending() -> None:
    name = load_clip(written(tone(32_000), 32_000, "WAV"), name="x" * 5_000 + ".wav").name
    assert len(name) == 120
    assert name.endswith(".wav")


def test_contents_decide_and_not_the_ending(tmp_path: Path) -> None:
    for ending in ("mp3", "raw", "txt"):
        path = tmp_path / f"tone.{ending}"
        path.write_bytes(written(tone(44_100), 44_100, "FLAC"))
        assert load_clip(path).duration_s == 2.0


def test_a_tag_before_the_sound_is_skipped() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
    for container, subtype in (("MP3", None), ("FLAC", None)):
        assert load_clip(tag + written(tone(44_100), 44_100, container, subtype)).duration_s == pytest.approx(
            2.0
        )
    plain = muxed(tone(44_100), 44_100, "adts", "aac")
    assert load_clip(tag + plain).duration_s == load_clip(plain).duration_s


@pytest.mark.parametrize("count", [1, 2])
def test_ffmpeg_receives_no_id3_tag_and_no_path(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    title = b"TIT2" + struct.pack(">I", 6) + b"\0\0" + b"\x03bomb\0"
    tag = b"ID3\x04\0\0" + bytes([0, 0, 0, len(title)]) + title
    tagged = count * tag + muxed(tone(44_100), 44_100, "adts", "aac")
    with av.open(io.BytesIO(tagged)) as container:
        assert container.metadata == {"title": "bomb"}  # what FFmpeg makes of it where it gets the tag
    opened, av_open = [], av.open

    def spy(file: Any, **options: Any) -> Any:
        container = av_open(file, **options)
        opened.append((container.metadata, container.name))
        return container

    monkeypatch.setattr(av, "open", spy)
    Track(io.BytesIO(tagged), "../a.aac", ".aac", None)
    assert opened == [({}, "recording.aac")]


def test_flac_and_mp3_that_do_not_tell_their_length() -> None:
    flac = bytearray(written(tone(44_100), 44_100, "FLAC"))
    word = int.from_bytes(flac[18:26], "big")
    assert word & (1 << 36) - 1 == 88_200
    flac[18:26] = (word >> 36 << 36).to_bytes(8, "big")
    assert load_clip(bytes(flac)).duration_s == 2.0

    rng = np.random.default_rng(0)
    uneven = np.concatenate([level * rng.standard_normal(3 * 44_100) for level in (1e-3, 0.2, 1e-3)])
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", 44_100, 1, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE"
    ) as mp3:
        mp3.write(uneven)
    whole = file.getvalue()
    without = whole[whole.index(b"\xff\xfb", 4) :]  # without the first frame, which holds the length
    assert b"Xing" in whole[:60]
    assert b"Xing" not in without
    assert load_clip(whole).duration_s == pytest.approx(9.0)
    assert load_clip(without).duration_s == pytest.approx(9.0, abs=0.06)


def test_silence_is_allowed_and_said() -> None:
    silent = load_clip(written(np.zeros(32_000), 44_100, "WAV"))
    assert silent.silent
    assert silent.notes == ("it is silent",)
    opposed = load_clip(written(tone(44_100) * [1.0, -1.0], 44_100, "WAV"))
    assert opposed.silent
    assert "cancel" in opposed.notes[0]
    assert not load_clip(written(tone(44_100, amplitude=0.001), 44_100, "WAV")).silent


def test_a_float_file_beyond_full_scale_is_said() -> None:
    clip = load_clip(written(tone(44_100) * 32_768, 44_100, "WAV", "FLOAT"))
    assert "16,383.9 times full scale" in clip.notes[0]


def test_unfinished_wav_headers_are_read_to_the_end() -> None:
    whole = bytearray(written(tone(44_100), 44_100, "WAV"))
    finished = load_clip(bytes(whole))
    at = whole.index(b"data") + 4
    for size in (0, 0xFFFF_FFFF, 0x7FFF_F000):
        whole[at : at + 4] = struct.pack("<I", size)
        clip = load_clip(bytes(whole))
        np.testing.assert_array_equal(clip.waveform, finished.waveform)
        assert clip.sha256 == hashlib.sha256(whole).hexdigest()
        assert clip.notes
