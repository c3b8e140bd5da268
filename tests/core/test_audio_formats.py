"""The one table of accepted formats: what it has, that every row is decoded, and that everything uses it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.audio import SUFFIXES, load_clip
from core.audio.containers import first_mpeg_frame, id3_length, mp3_declares_length, mpeg_frame, sniff
from core.audio.formats import ACCEPTED, FORMATS
from core.cli.calibration import recordings
from core.errors import AudioError, DataError
from tests.core.recordings import header, muxed, tone, written

ROOT = Path(__file__).resolve().parents[2]

MADE: dict[str, Callable[[], bytes]] = {
    "WAV": lambda: written(tone(44_100), 44_100, "WAV"),
    "FLAC": lambda: written(tone(44_100), 44_100, "FLAC"),
    "OGG": lambda: written(tone(44_100), 44_100, "OGG", "VORBIS"),
    "Opus": lambda: written(tone(48_000), 48_000, "OGG", "OPUS"),
    "MP3": lambda: written(tone(44_100), 44_100, "MP3"),
    "M4A": lambda: muxed(tone(44_100), 44_100, "ipod", "aac"),
    "AAC": lambda: muxed(tone(44_100), 44_100, "adts", "aac"),
    "MP4": lambda: muxed(tone(44_100), 44_100, "mp4", "aac"),
    "WebM": lambda: muxed(tone(48_000), 48_000, "webm", "libopus"),
}


def test_what_is_accepted() -> None:
    """A suffix or a format is added or removed on purpose only."""
    assert (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
        *(".m4a", ".aac", ".mp4", ".webm"),
    ) == SUFFIXES
    assert ACCEPTED == "WAV, FLAC, OGG, Opus, MP3, M4A, AAC, MP4 or WebM"


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.title)
def test_every_row_is_decoded_and_in_its_container(row) -> None:
    data = MADE[row.title]()
    assert sniff(io.BytesIO(data), "x") is row.container
    assert load_clip(data).duration_s == pytest.approx(2.0, abs=0.08)
    assert row.title in row.container.title.split(" or ")


def test_the_suffixes_stand_nowhere_else() -> None:
    literal = re.compile(r"""["']\.?(webm|m4a|opus|oga)["']""")
    files = [path for package in ("core", "dashboard") for path in (ROOT / package).rglob("*.py")]
    tables = {path.name for path in files if literal.search(path.read_text(encoding="utf-8"))}
    assert tables - {"av_track.py"} == {"formats.py"}  # av_track names codecs, one of which is called opus


@pytest.mark.parametrize("page", ["README.md", "docs/command-line.md", "core/cli/tagging.py"])
def test_prose_lists_the_same_formats(page: str) -> None:
    """Where the list is written out: for readers, and in a help text that must not wait for numpy."""
    titles = [row.title for row in FORMATS]
    text = (ROOT / page).read_text(encoding="utf-8")
    (listed,) = re.findall(r"WAV(?: \(PCM and float\))?, FLAC, [\w, /]*WebM", text)
    assert [name for name in re.findall(r"\w+", listed) if name in titles] == titles


def test_the_documented_suffixes_are_the_tables() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`(\.wav .*?)`", text)
    assert tuple(listed.split()) == SUFFIXES


def test_a_folder_gives_the_files_with_an_accepted_suffix(tmp_path: Path) -> None:
    for suffix in (*SUFFIXES, ".WAV", ".Mp3", ".txt", ".csv", ".wave", ""):
        (tmp_path / f"clip{suffix}").touch()
    names = {path.name for path in recordings([tmp_path])}
    assert names == {f"clip{suffix}" for suffix in (*SUFFIXES, ".WAV", ".Mp3")}
    assert recordings([tmp_path / "clip.txt"]) == [tmp_path / "clip.txt"]  # a named file is given as it is


def test_an_empty_folder_says_which_suffixes_count(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.wav, \.flac, .*\.aac, \.mp4, \.webm"):
        recordings([tmp_path])


def test_the_page_offers_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit as st

    from dashboard.widgets import clip_input

    offered: list[list[str]] = []
    monkeypatch.setattr(st, "file_uploader", lambda *_, type, **__: offered.append(type))
    monkeypatch.setattr(st, "audio_input", lambda *_, **__: None)
    with pytest.raises(AttributeError):  # no place for the examples: the page is not drawn further
        clip_input.choose(None)  # type: ignore[arg-type]
    assert [tuple(types) for types in offered] == [SUFFIXES]


def test_a_tag_before_a_wav_is_not_skipped() -> None:
    """Only formats that carry ID3 tags are searched behind one."""
    with pytest.raises(AudioError, match="not in a format"):
        load_clip(b"ID3\x04\0\0\0\0\0\0" + written(np.zeros(44_100), 44_100, "WAV"))


def test_a_tag_with_a_footer_is_skipped_with_it() -> None:
    flac = written(tone(44_100), 44_100, "FLAC")
    body = bytes(40)
    tag = b"ID3\x04\0\x10\0\0\0" + bytes([len(body)]) + body + b"3DI\x04\0\x10\0\0\0" + bytes([len(body)])
    assert sniff(io.BytesIO(tag + flac), "x").name == "FLAC"


def test_an_id3_length_has_seven_bits_a_byte() -> None:
    """The eighth is not part of the length, whatever a writer put there."""
    tag = b"ID3\x04\0\0" + bytes([0x80, 0x80, 0x81, 0x82]) + bytes(130)
    assert id3_length(io.BytesIO(tag)) == 10 + 1 * 128 + 2


@pytest.mark.parametrize(("second", "accepted"), [(0x90, True), (0x94, False)])
def test_an_mp3_does_not_change_its_rate(second: int, accepted: bool) -> None:
    """128 kbit/s at 44.1 kHz are frames of 417 bytes; 0x94 would be 48 kHz."""
    data = b"\xff\xfb\x90\0" + bytes(413) + b"\xff\xfb" + bytes([second, 0]) + bytes(413)
    assert (first_mpeg_frame(io.BytesIO(data)) is not None) is accepted


def test_an_mp3_is_compared_with_the_bytes_that_it_declares() -> None:
    mp3 = MADE["MP3"]()
    assert mp3_declares_length(io.BytesIO(mp3), len(mp3), "x", None)
    with pytest.raises(AudioError, match="is truncated: its header declares 2"):
        mp3_declares_length(io.BytesIO(mp3), len(mp3) // 2, "x", None)


def test_a_wav_chunk_of_odd_length_is_padded() -> None:
    whole = header()
    assert load_clip(whole[:36] + b"note\x03\0\0\0odd\0" + whole[36:]).duration_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("head", "kbps"),
    [
        (b"\xff\xfb", (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)),  # MPEG-1 at 48 kHz
        (b"\xff\xf3", (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)),  # MPEG-2 at 24 kHz
    ],
)
def test_the_bit_rates_of_layer_iii(head: bytes, kbps: tuple[int, ...]) -> None:
    """ISO 11172-3 and 13818-3, bit_rate_index 1 to 14. A frame lasts 24 ms at both rates: 3 bytes for each kbit/s."""
    frames = [mpeg_frame(head + bytes([index << 4 | 4, 0])) for index in range(1, 15)]
    assert [frame.length if frame else None for frame in frames] == [3 * rate for rate in kbps]
    assert mpeg_frame(head + b"\x04\0") is mpeg_frame(head + b"\xf4\0") is None  # "free" and forbidden


@pytest.mark.parametrize(("frames", "accepted"), [(253, True), (254, False)])
def test_an_mp3s_declared_length_has_three_frames_of_padding(frames: int, accepted: bool) -> None:
    """128 kbit/s at 32 kHz, mono: 576 bytes a frame, Xing from byte 21; 250 frames of 1152 samples are 9 s."""
    xing = b"Xing" + struct.pack(">III", 1, frames, 0)
    data = (b"\xff\xfb\x98\xc0" + bytes(17) + xing).ljust(576, b"\0")
    if accepted:
        assert mp3_declares_length(io.BytesIO(data), len(data), "x", 9.0)
    else:
        with pytest.raises(AudioError, match="lasts longer; recordings of up to 9 s are accepted"):
            mp3_declares_length(io.BytesIO(data), len(data), "x", 9.0)
