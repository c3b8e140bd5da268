"""Recordings in every accepted format against the sine that went into them; and every refusal."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from core.audio import MAX_SECONDS, SAMPLE_RATE, DecodedClip, encode_wav, load_clip
from core.errors import AudioError

TONE_HZ = 1_000.0


def tone(
    sample_rate: int, duration_s: float = 2.0, amplitude: float = 0.5, channels: int = 1
) -> NDArray[np.float64]:
    """(frames, channels) sine; channel c has (c + 1) / channels of the amplitude: a known mean."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    levels = amplitude * np.arange(1, channels + 1) / channels
    return np.sin(2 * np.pi * TONE_HZ * time_s)[:, None] * levels


def written(samples: NDArray[Any], sample_rate: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=container, subtype=subtype)
    return file.getvalue()


def muxed(
    samples: NDArray[np.float64],
    sample_rate: int,
    container: str,
    codec: str,
    layout: str = "mono",
    options: dict[str, str] | None = None,
) -> bytes:
    """Encode (frames, channels) with FFmpeg's libraries."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream: Any = output.add_stream(codec, rate=sample_rate, layout=layout)
        to_codec = av.AudioResampler(format=stream.codec_context.format.name, layout=layout, rate=sample_rate)
        for start in range(0, len(samples), 960):
            packed = samples[start : start + 960].astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts = sample_rate, start
            for converted in to_codec.resample(frame):
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return file.getvalue()


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


def refusal(source: bytes | str | os.PathLike[str], **options: Any) -> str:
    with pytest.raises(AudioError) as refused:
        load_clip(source, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


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
    assert clip.duration_s == pytest.approx(2.0, abs=1e-6)
    assert len(clip.waveform) == pytest.approx(2 * SAMPLE_RATE, abs=2)
    frequency, amplitude = tone_in(clip.waveform)
    assert frequency == pytest.approx(TONE_HZ, abs=0.05)
    assert amplitude == pytest.approx(samples.max(axis=0).mean(), rel=max(tolerance, 5e-4))
    assert clip.notes == ()


CODED: list[tuple[str, str, int, str, dict[str, str]]] = [
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


@pytest.mark.parametrize(("container", "codec", "rate", "layout", "options"), CODED)
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
        "sha256": hashlib.sha256(data).hexdigest(),
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


@pytest.mark.parametrize("from_path", [False, True])
def test_ffmpeg_receives_neither_an_id3_tag_nor_a_path(
    from_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = b"TIT2" + struct.pack(">I", 6) + b"\0\0" + b"\x03bomb\0"
    tagged = (
        b"ID3\x04\0\0" + bytes([0, 0, 0, len(title)]) + title + muxed(tone(44_100), 44_100, "adts", "aac")
    )
    with av.open(io.BytesIO(tagged)) as container:
        assert container.metadata == {"title": "bomb"}  # what FFmpeg makes of it where it gets the tag
    opened, av_open = [], av.open

    def spy(file: Any, **options: Any) -> Any:
        container = av_open(file, **options)
        opened.append((container.metadata, container.name))
        return container

    monkeypatch.setattr(av, "open", spy)
    path = tmp_path / "a.aac"
    path.write_bytes(tagged)
    assert load_clip(path if from_path else tagged).duration_s == pytest.approx(2.0, abs=0.08)
    assert opened == [({}, "recording")]


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


# Refusals


def header(tag: int = 1, channels: int = 1, rate: int = 44_100, bits: int = 16, more: bytes = b"") -> bytes:
    """A WAV file of 0.1 s with any format chunk."""
    block = channels * bits // 8 & 0xFFFF
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * block & 0xFFFF_FFFF, block, bits) + more
    samples = bytes(8_820)
    chunks = (
        b"WAVEfmt "
        + struct.pack("<I", len(body))
        + body
        + b"data"
        + struct.pack("<I", len(samples))
        + samples
    )
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


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
        (b"RIFF\x24\x00\x00\x00AVI LIST", "not a WAVE recording"),
        (b"RIFF", "not a WAVE recording"),
        (header()[:18], "without a format chunk"),
        (header()[:30], "broken format chunk"),
        (header()[:36], "no data chunk"),
        (header()[:44], "truncated"),
        (written(np.zeros(0), 44_100, "WAV"), "holds no samples (0 frames)"),
        (written(np.zeros(0), 44_100, "FLAC"), "FLAC"),
        (header(tag=2), "0x0002 (MS ADPCM)"),
        (header(tag=0x55), "0x0055 (MP3)"),
        (header(tag=0x31), "0x0031 (GSM 6.10)"),
        (header(tag=0x1234), "0x1234"),
        (written(tone(44_100), 44_100, "WAV", "IMA_ADPCM"), "IMA ADPCM"),
        (written(tone(44_100), 44_100, "WAV", "ULAW"), "µ-law"),
        (header(tag=0xFFFE), "broken extensible"),
        (header(tag=0xFFFE, more=bytes(24)), "unknown subformat"),
        (
            header(tag=0xFFFE, more=bytes(8) + b"\x02\0" + bytes.fromhex("000000001000800000aa00389b71")),
            "MS ADPCM",
        ),
        (header(rate=1), "sample rate of 1 Hz"),
        (header(rate=3_999), "3,999 Hz"),
        (header(rate=384_001), "384,001 Hz"),
        (header(rate=2**31 - 1), "2,147,483,647 Hz"),
        (header(channels=0), "0 channels"),
        (header(channels=9), "9 channels"),
        (header(channels=1_024), "1,024 channels"),
        (header(bits=0), "0 bits"),
        (header(bits=17), "17 bits"),
        (header(tag=3, bits=16), "16 bits"),
        (written(tone(44_100), 44_100, "AIFF"), "not in a format"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "not in a format"),
        (b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", "not in a format"),
        (b"OggS" + bytes(2_000_000), "Ogg"),
        (b"fLaC" + bytes(2_000_000), "cannot be opened"),
        (b"\x1a\x45\xdf\xa3" + bytes(2_000_000), "cannot be opened"),
        (bytes(4) + b"ftypM4A " + bytes(2_000), "table of contents"),
    ],
)
def test_bad_input_is_refused_in_one_line(data: bytes, said: str) -> None:
    message = refusal(data, name="given.wav")
    assert message.startswith('"given.wav"')
    assert said in message


def test_two_format_chunks_or_data_chunks_are_refused() -> None:
    whole = header()
    assert "two format chunks" in refusal(whole[:12] + whole[12:36] + whole[12:])
    assert "two data chunks" in refusal(whole + whole[36:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused_with_their_place(bad: float) -> None:
    samples = tone(44_100, channels=2)
    samples[66_150, 1] = bad
    assert "from 1.50 s on" in refusal(written(samples, 44_100, "WAV", "FLOAT"))


TRUNCATED: list[Callable[[], bytes]] = [
    lambda: written(tone(44_100), 44_100, "WAV"),
    lambda: written(tone(44_100), 44_100, "WAV", "FLOAT"),
    lambda: written(tone(44_100), 44_100, "RF64", "PCM_16"),
    lambda: written(tone(44_100), 44_100, "FLAC"),
    lambda: written(tone(44_100), 44_100, "OGG", "VORBIS"),
    lambda: written(tone(48_000), 48_000, "OGG", "OPUS"),
    lambda: written(tone(44_100), 44_100, "MP3"),
    lambda: muxed(tone(44_100), 44_100, "ipod", "aac"),
    lambda: muxed(tone(44_100), 44_100, "mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    lambda: muxed(tone(48_000), 48_000, "webm", "libopus"),
    lambda: muxed(tone(44_100), 44_100, "adts", "aac"),
]


@pytest.mark.parametrize("make", TRUNCATED)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_refused(make: Callable[[], bytes], share: float) -> None:
    whole = make()
    message = refusal(whole[: round(share * len(whole))], name="cut")
    assert message.startswith('"cut"')


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
    assert "up to 1 s are accepted" in refusal(two_seconds, max_seconds=1.0)
    assert "up to 0.5 s are accepted" in refusal(two_seconds, max_seconds=0.5)
    assert load_clip(two_seconds, max_seconds=2.0).duration_s == 2.0
    assert load_clip(two_seconds, max_seconds=None).duration_s == 2.0
    for limit in (0.0, -1.0, float("nan")):
        assert "positive" in refusal(two_seconds, max_seconds=limit)


@pytest.mark.parametrize("make", TRUNCATED)
def test_every_format_is_held_to_the_limit(make: Callable[[], bytes]) -> None:
    assert "lasts" in refusal(make(), max_seconds=1.5)


def test_a_small_file_that_decodes_to_gigabytes_is_refused_by_its_header() -> None:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 32_000, 8, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(90):
            flac.write(np.zeros((320_000, 8), dtype=np.int16))  # 15 minutes of eight silent channels
    bomb = file.getvalue()
    assert len(bomb) < 1_200_000
    tracemalloc.start()
    started = time.perf_counter()
    message = refusal(bomb)
    took, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "lasts 900 s" in message
    assert took < 0.5
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("table", "at", "words"),
    [
        (b"stsz", 4, (1, 0x00FF_FFFF)),  # one size for 16 million packets
        (b"stts", 8, (0x7FFF_FFFF,)),
        (b"stsc", 12, (0x0FFF_FFFF,)),
        (b"elst", 4, (0x0FFF_FFFF,)),
        (b"trun", 4, (0x0FFF_FFFF,)),
    ],
)
def test_mp4_tables_that_would_make_a_huge_index(table: bytes, at: int, words: tuple[int, ...]) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if table == b"trun" else {}
    data = bytearray(muxed(tone(44_100), 44_100, "mp4", "aac", options=options))
    place = data.index(table) + 4 + at
    data[place : place + 4 * len(words)] = struct.pack(f">{len(words)}I", *words)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "more than any recording has" in refusal(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_header_that_lies_is_stopped_while_decoding() -> None:
    """The same bomb with an unknown length: found by counting, long before it is all decoded."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 32_000, 8, format="FLAC", subtype="PCM_16") as flac:
        for _ in range(60):
            flac.write(np.zeros((320_000, 8), dtype=np.int16))
    bomb = bytearray(file.getvalue())
    bomb[18:26] = (int.from_bytes(bomb[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "recordings of up to 20 s" in refusal(bytes(bomb), max_seconds=20.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_ten_minutes_need_little_more_than_the_result() -> None:
    data = written(np.zeros((int(MAX_SECONDS) * 8_000, 2), dtype=np.int16), 8_000, "FLAC")
    tracemalloc.start()
    clip = load_clip(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert clip.waveform.nbytes == pytest.approx(600 * SAMPLE_RATE * 4, abs=64)
    assert peak < 1.35 * clip.waveform.nbytes


def test_paths_that_are_no_recordings(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "missing.wav")
    assert "cannot be opened" in refusal("a\0b.wav")
    assert "cannot be opened" in refusal("x" * 5_000)
    assert "does not exist" in refusal("")
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is not a regular file" in refusal(tmp_path / "pipe.wav")
    assert "is not a regular file" in refusal("/dev/zero")
    with pytest.raises(AudioError, match="int is not a recording"):
        load_clip(3)  # type: ignore[arg-type]


def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.wav"
    path.write_bytes(header())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "permission denied" in refusal(path)


def test_broken_bytes_never_raise_anything_else() -> None:
    """Every format with random damage (seeded): a clip or an AudioError in one line, quickly."""
    rng = np.random.default_rng(11)
    wholes = [make() for make in TRUNCATED]
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


# Writing


def test_encode_wav_is_plain_16_bit_pcm() -> None:
    waveform = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0], dtype=np.float32)
    data = encode_wav(waveform)
    assert data[:4] == b"RIFF"
    assert struct.unpack("<HHI", data[20:28]) == (1, 1, SAMPLE_RATE)
    stored = np.frombuffer(data[44:], dtype="<i2")
    np.testing.assert_allclose(stored / 32_768, [0, 0.5, -0.5, 1, -1, 1, -1], atol=1 / 32_768)


def test_encode_wav_and_load_clip_agree() -> None:
    waveform = tone(SAMPLE_RATE)[:, 0].astype(np.float32)
    clip = load_clip(encode_wav(waveform))
    np.testing.assert_allclose(clip.waveform, waveform, atol=2 / 32_768)


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros((2, 2)), np.array([np.nan])])
def test_encode_wav_refuses_what_is_no_waveform(waveform: NDArray[np.float64]) -> None:
    with pytest.raises(AudioError):
        encode_wav(waveform)
