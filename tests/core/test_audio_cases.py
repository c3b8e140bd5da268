"""Recordings as people have them, beside FFmpeg's own program: chained, joined, stopped, tagged, compressed in WAV, of many channels.

The lengths are known from how the files are made; where ``ffmpeg`` is installed, rate, channels and samples are compared with its output
as well (mean of the channels, resampled to 32 kHz).
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from core.audio import SAMPLE_RATE, DecodedClip, load_clip
from core.audio.levels import dbfs
from core.errors import AudioError
from tests.core.recordings import header, muxed, peak_rss_kb, tone, written

RNG = np.random.default_rng(5)
NOISE = (0.2 * RNG.standard_normal((96_000, 1))).clip(-0.9, 0.9)  # 2 s at 48 kHz


def beside_ffmpeg(clip: DecodedClip, data: bytes, tmp_path: Path) -> None:
    """Compare a clip with what FFmpeg's program decodes of the same file; nothing where it is not installed."""
    program, probe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if program is None or probe is None:
        return
    file = tmp_path / "file.bin"
    file.write_bytes(data)
    command = [probe, "-v", "quiet", "-select_streams", "a:0", "-show_streams", "-of", "json", str(file)]
    (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    rate, channels = int(stream["sample_rate"]), int(stream["channels"])
    command = [program, "-v", "quiet", "-i", str(file), "-map", "0:a:0", "-f", "f32le", "-"]
    raw = np.frombuffer(subprocess.run(command, capture_output=True, check=False).stdout, np.float32)
    mono = raw.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    expected = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    assert (clip.sample_rate_hz, clip.channels) == (rate, channels)
    assert clip.samples == pytest.approx(
        len(expected), abs=0.03 * SAMPLE_RATE
    )  # versions trim padding differently
    length = min(clip.samples, len(expected))
    off = np.abs(clip.waveform[:length] - expected[:length]) > 5e-3
    assert off.mean() < 2e-3  # and differ where a chained stream begins anew


SHARED: dict[str, tuple[float, str]] = {
    "12_in_16.wav": (2.0, ""),
    "a.m4b": (2.0, ""),
    "a.mov": (2.0, ""),
    "a.weba": (2.0, ""),
    "chained_same_serial.ogg": (4.0, ""),
    "chained_two_serials.ogg": (10.0, ""),
    "cut.aac": (1.5, "may be truncated"),
    "flac.oga": (2.0, ""),
    "id3.wav": (2.0, ""),
    "joined.mp3": (4.08, ""),
    "mid_frame.mp3": (2.0, ""),
    "pcm16.mov": (2.0, ""),
    "says_0.opus": (2.0, ""),
    "says_48000.opus": (2.0, ""),
    "says_8000.opus": (2.0, ""),
    "second_id3_100kB.mp3": (2.0, ""),
    "speex.ogg": (6.0, ""),
    "whole.aac": (2.03, ""),
    "zeros.mp3": (2.06, ""),
}


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_cases(shared: Path, name: str, tmp_path: Path) -> None:
    seconds, note = SHARED[name]
    path = shared / "cases" / "audio" / name
    clip = load_clip(path)
    assert clip.duration_s == pytest.approx(seconds, abs=0.03)
    assert [note in given for given in clip.notes] == [True] * bool(note)
    beside_ffmpeg(clip, path.read_bytes(), tmp_path)


def test_the_headers_input_rate_of_opus_changes_nothing(shared: Path) -> None:
    first, *others = (
        load_clip(shared / "cases" / "audio" / f"says_{rate}.opus") for rate in (0, 8_000, 48_000)
    )
    for other in others:
        np.testing.assert_array_equal(other.waveform, first.waveform)


def ape_tag(at_end: bool) -> bytes:
    """An APEv2 tag with one item, whose header or footer alone says where it is (http://wiki.hydrogenaud.io/index.php?title=APEv2)."""
    item = struct.pack("<II", 5, 0) + b"Title\0hello"
    ends = [
        b"APETAGEX" + struct.pack("<IIII", 2_000, len(item) + 32, 1, flags) + bytes(8)
        for flags in (0xA000_0000, 0x8000_0000)
    ]
    return ends[0] + item + ends[1] if at_end else ends[0] + item


ID3 = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
NO_XING = {"write_xing": "0", "id3v2_version": "0"}


def mp3(options: dict[str, str] | None = None) -> bytes:
    return muxed(NOISE, 48_000, "mp3", "libmp3lame", options=options)


def aac() -> bytes:
    return muxed(NOISE, 48_000, "adts", "aac")


def twenty_in_24() -> bytes:
    """WAVE_FORMAT_EXTENSIBLE of 24-bit samples of which 20 are said to be valid; the others are 0."""
    samples = (NOISE[:, 0] * 2**19).astype(np.int32) << 12
    data = b"".join(int(value >> 8).to_bytes(3, "little", signed=True) for value in samples[:32_000])
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    body = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 48_000, 144_000, 3, 24, 22, 20, 4) + guid
    chunks = b"WAVEfmt " + struct.pack("<I", len(body)) + body + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


MEMBERS: dict[str, tuple[Callable[[], bytes], float, float]] = {  # what, how long, how exactly
    "Opus chain": (lambda: 2 * written(NOISE, 48_000, "OGG", "OPUS"), 4.0, 0.01),
    "Vorbis chain": (lambda: 2 * written(NOISE, 48_000, "OGG", "VORBIS"), 4.0, 0.01),
    "FLAC and FLAC": (lambda: 2 * written(NOISE, 48_000, "FLAC"), 4.0, 0.0),
    "MP3 with Xing first": (lambda: 2 * mp3(), 4.0, 0.15),
    "MP3 with tags between": (lambda: ID3 + mp3(NO_XING) + ID3 + mp3(NO_XING), 4.0, 0.15),
    "APE tag before an MP3": (lambda: ape_tag(False) + mp3(NO_XING), 2.0, 0.1),
    "APE tag after an MP3": (lambda: mp3() + ape_tag(True), 2.0, 0.03),
    "ID3v1 after an MP3": (lambda: mp3() + b"TAG" + bytes(125), 2.0, 0.03),
    "two ID3 before FLAC": (lambda: 2 * ID3 + written(NOISE, 48_000, "FLAC"), 2.0, 0.0),
    "ID3 before WAV": (lambda: ID3 + written(NOISE, 48_000, "WAV"), 2.0, 0.0),
    "ID3 before Ogg": (lambda: ID3 + written(NOISE, 48_000, "OGG", "OPUS"), 2.0, 0.0),
    "ADTS from mid-frame": (lambda: aac()[150:], 2.0, 0.1),
    "ADTS and ADTS": (lambda: 2 * aac(), 4.0, 0.15),
    "20 in 24": (twenty_in_24, 32_000 / 48_000, 0.0),
    "FLAC in Ogg": (lambda: muxed(NOISE, 48_000, "ogg", "flac"), 2.0, 0.0),
    "PCM in Matroska": (lambda: muxed(NOISE, 48_000, "matroska", "pcm_s24le"), 2.0, 0.0),
    "PCM in MOV, big-endian": (lambda: muxed(NOISE, 48_000, "mov", "pcm_s16be"), 2.0, 0.0),
    "PCM of floats in MOV": (lambda: muxed(NOISE, 48_000, "mov", "pcm_f32le"), 2.0, 0.0),
    "AC-3 in MP4": (lambda: muxed(NOISE, 48_000, "mp4", "ac3"), 2.0, 0.04),
    "MP3 in WAV": (lambda: muxed(NOISE, 48_000, "wav", "libmp3lame"), 2.0, 0.1),
    "mu-law": (lambda: written(NOISE, 48_000, "WAV", "ULAW"), 2.0, 0.0),
    "A-law": (lambda: written(NOISE, 48_000, "WAV", "ALAW"), 2.0, 0.0),
    "IMA ADPCM": (lambda: written(NOISE, 48_000, "WAV", "IMA_ADPCM"), 2.0, 0.05),
    "MS ADPCM": (lambda: written(NOISE, 48_000, "WAV", "MS_ADPCM"), 2.0, 0.05),
    "GSM": (lambda: written(NOISE[:16_000], 8_000, "WAV", "GSM610"), 2.0, 0.05),
    "W64": (lambda: written(NOISE, 48_000, "W64", "PCM_24"), 2.0, 0.0),
    "AIFF": (lambda: written(NOISE, 48_000, "AIFF", "PCM_16"), 2.0, 0.0),
    "AIFF of floats": (lambda: written(NOISE, 48_000, "AIFF", "FLOAT"), 2.0, 0.0),
    "AU": (lambda: written(NOISE, 48_000, "AU", "PCM_16"), 2.0, 0.0),
    "CAF": (lambda: written(NOISE, 48_000, "CAF", "PCM_16"), 2.0, 0.0),
    "16 channels": (lambda: written(np.tile(NOISE, (1, 16)), 48_000, "WAV"), 2.0, 0.0),
}


UNLIKE_FFMPEG_5 = (
    *("FLAC and FLAC", "Opus chain", "MP3 with Xing first", "APE tag after an MP3", "ID3v1 after an MP3"),
)
"""Debian's FFmpeg 5.1 loses the end of the first FLAC, and leaves the encoder's padding in; PyAV's FFmpeg 8 does not, and gives the length
that was encoded."""


@pytest.mark.parametrize("name", MEMBERS)
def test_other_members_of_the_kinds(name: str, tmp_path: Path) -> None:
    make, seconds, within = MEMBERS[name]
    data = make()
    clip = load_clip(data)
    assert clip.duration_s == pytest.approx(seconds, abs=within + 1e-6)
    assert (
        clip.notes == () or name == "Opus chain"
    )  # FFmpeg's Opus decoder overshoots where a stream begins anew
    stripped = data
    while stripped[:3] == b"ID3" and name != "MP3 with tags between":
        stripped = stripped[len(ID3) :]
    if name not in UNLIKE_FFMPEG_5:
        beside_ffmpeg(clip, stripped, tmp_path)


@pytest.mark.parametrize("options", [NO_XING, None])
def test_an_mp3_that_was_stopped_gets_a_note(options: dict[str, str] | None) -> None:
    """Cut in the last frame: little is missing. Far from the end, a declared length (Xing) refuses it."""
    whole = mp3(options)
    assert load_clip(whole).notes == ()
    (note,) = load_clip(whole[:-40]).notes
    assert note == "it ends in the middle of a frame and may be truncated"
    if options is not None:
        clip = load_clip(whole[: len(whole) // 2])
        assert (clip.notes, clip.duration_s) == ((note,), pytest.approx(1.0, abs=0.05))


def test_further_audio_tracks_are_noted() -> None:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        streams = [container.add_stream("pcm_s16le", rate=32_000, layout="mono") for _ in range(2)]
        for level, stream in zip((0.1, 0.4), streams, strict=True):
            frame = av.AudioFrame.from_ndarray(
                np.full((1, 32_000), round(level * 32_768), np.int16), format="s16", layout="mono"
            )
            frame.sample_rate = 32_000
            container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    clip = load_clip(out.getvalue())
    assert clip.notes == ("it has 2 audio tracks, of which track 1 is used",)
    assert clip.peak == pytest.approx(0.1, abs=1e-3)


def test_a_chain_of_another_rate_is_converted_and_noted() -> None:
    """FFmpeg's program converts what follows to the first part's layout, too."""
    clip = load_clip(
        written(tone(44_100), 44_100, "FLAC") + written(tone(22_050, channels=2), 22_050, "FLAC")
    )
    assert clip.sample_rate_hz == 44_100
    assert clip.duration_s == pytest.approx(4.0, abs=0.01) or "change in the middle" in clip.notes[0]


def id3_bomb(megabytes: int) -> bytes:
    """A second of sound behind an ID3 tag whose one compressed frame unpacks to so many MB."""

    def synchsafe(number: int) -> bytes:
        return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))

    raw = b"\x03d\0" + b"A" * (megabytes << 20)
    packed = synchsafe(len(raw)) + zlib.compress(raw, 9)
    body = b"TXXX" + synchsafe(len(packed)) + b"\x00\x09" + packed
    return b"ID3\x04\x00\x00" + synchsafe(len(body)) + body


@pytest.mark.parametrize("before", [1, 2])
def test_an_id3_bomb_is_never_unpacked(before: int) -> None:
    from core.audio import POOL

    data = before * id3_bomb(100) + mp3(NO_XING)
    here = peak_rss_kb()
    assert load_clip(data).duration_s == pytest.approx(2.0, abs=0.1)
    assert peak_rss_kb() - here < 20_000  # kB
    status = Path(f"/proc/{POOL.idle_pid()}/status")
    if status.exists():
        (peak,) = [
            int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")
        ]
        assert peak < 150_000  # kB


CHANNELS = np.stack([level * NOISE[:, 0] for level in (0.1, 0.0, 1.0, 0.1)], axis=1)


@pytest.mark.parametrize(("channel", "level"), [(1, 0.1), (3, 1.0), ("loudest", 1.0), ("mean", 0.3)])
def test_a_channel_can_be_chosen(channel, level: float) -> None:
    clip = load_clip(written(CHANNELS, 48_000, "WAV", "FLOAT"), channel=channel)
    expected = soxr.resample((level * NOISE[:, 0]).astype(np.float32), 48_000, SAMPLE_RATE, quality="HQ")
    np.testing.assert_allclose(clip.waveform, expected, atol=1e-6)
    assert clip.describe()["channel"] == {"loudest": 3, "mean": "mean"}.get(channel, channel)
    assert clip.channel_spread_db == np.inf
    note = (
        "the mean of its 4 channels is 10 dB below the loudest, channel 3; one channel can be chosen instead"
    )
    assert clip.notes == ((note,) if channel == "mean" else ())  # 20 log10(1 / 0.3) is 10.5


def test_equal_channels_lose_nothing() -> None:
    clip = load_clip(written(np.tile(NOISE, (1, 2)), 48_000, "WAV", "FLOAT"))
    assert (clip.notes, clip.channel_spread_db) == ((), 0.0)
    assert dbfs(clip.channel_rms[0]) == pytest.approx(dbfs(float(np.sqrt((NOISE**2).mean()))), abs=0.01)


@pytest.mark.parametrize(("lost_db", "noted"), [(4.9, False), (5.1, True)])
def test_a_loss_is_noted_from_5_db_on(lost_db: float, noted: bool) -> None:
    """Two channels a and b of the same noise have a mean of (a + b) / 2."""
    second = 2 * 10 ** (-lost_db / 20) - 1
    clip = load_clip(written(NOISE * [1.0, second], 48_000, "WAV", "FLOAT"))
    assert bool(clip.notes) is noted


@pytest.mark.parametrize("channel", [0, -1, 5, "left", 1.5])
def test_a_channel_that_is_not_there(channel) -> None:
    with pytest.raises(AudioError, match="channel"):
        load_clip(header(channels=4), channel=channel)


def test_libsndfile_reads_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decoder of IMA-ADPCM has a known hole."""
    monkeypatch.setattr(soundfile, "SoundFile", None)
    assert load_clip(muxed(NOISE, 48_000, "wav", "adpcm_ima_wav")).duration_s == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", ""),
        ("RF64", ""),
        ("aiff", ""),
        ("caf", ""),
        ("w64", ""),
        ("ipod", "aac"),
        ("mov", "pcm_s16le"),
    ],
)
def test_a_second_file_behind_the_first_is_used_or_noted(container: str, codec: str) -> None:
    one = (
        muxed(tone(32_000), 32_000, container, codec)
        if codec
        else written(tone(32_000), 32_000, container, "PCM_16")
    )
    alone, joined = load_clip(one), load_clip(one + one)
    assert alone.notes == ()
    assert joined.notes == ("another recording follows in the same file, which is not used",)
    assert joined.samples == alone.samples


def test_what_only_looks_like_a_second_file_is_not_noted() -> None:
    one = written(tone(32_000), 32_000, "wav", "PCM_16")
    text = b"RIFF is what this file is made of"
    listed = one + b"LIST" + struct.pack("<I", len(text) + 1) + text + b"\0"
    assert load_clip(listed).notes == ()
