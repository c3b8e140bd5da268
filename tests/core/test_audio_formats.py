"""The one table of accepted formats: what it has, that every row is decoded, and that everything uses it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from core.audio import SUFFIXES, load_clip
from core.audio.containers import Untagged, mp3_frame_bytes
from core.audio.formats import ACCEPTED, FORMATS, titles_of
from core.cli.calibration import recordings
from core.errors import DataError
from tests.core.recordings import header, muxed, tone, written

ROOT = Path(__file__).resolve().parents[2]

MADE: dict[str, Callable[[], bytes]] = {
    "WAV": lambda: written(tone(44_100), 44_100, "WAV"),
    "W64": lambda: written(tone(44_100), 44_100, "W64"),
    "AIFF": lambda: written(tone(44_100), 44_100, "AIFF"),
    "AU": lambda: written(tone(44_100), 44_100, "AU"),
    "CAF": lambda: written(tone(44_100), 44_100, "CAF"),
    "FLAC": lambda: written(tone(44_100), 44_100, "FLAC"),
    "OGG": lambda: written(tone(44_100), 44_100, "OGG", "VORBIS"),
    "Opus": lambda: written(tone(48_000), 48_000, "OGG", "OPUS"),
    "MP3": lambda: written(tone(44_100), 44_100, "MP3"),
    "AAC": lambda: muxed(tone(44_100), 44_100, "adts", "aac"),
    "M4A": lambda: muxed(tone(44_100), 44_100, "ipod", "aac"),
    "MP4": lambda: muxed(tone(44_100), 44_100, "mp4", "aac"),
    "MOV": lambda: muxed(tone(44_100), 44_100, "mov", "pcm_s16le"),
    "3GP": lambda: muxed(tone(8_000), 8_000, "3gp", "aac"),
    "Matroska": lambda: muxed(tone(44_100), 44_100, "matroska", "pcm_s24le"),
    "WebM": lambda: muxed(tone(48_000), 48_000, "webm", "libopus"),
}


def test_what_is_accepted() -> None:
    """A suffix or a format is added or removed on purpose only."""
    assert (
        *(
            ".wav",
            ".w64",
            ".aiff",
            ".aif",
            ".aifc",
            ".au",
            ".caf",
            ".flac",
            ".ogg",
            ".oga",
            ".opus",
            ".mp3",
            ".aac",
        ),
        *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mka", ".mkv", ".webm", ".weba"),
    ) == SUFFIXES
    assert (
        ACCEPTED == "WAV, W64, AIFF, AU, CAF, FLAC, OGG, Opus, MP3, AAC, M4A, MP4, MOV, 3GP, Matroska or WebM"
    )


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.title)
def test_every_row_is_decoded_and_in_its_container(row) -> None:
    data = MADE[row.title]()
    assert row.title in titles_of(av.open(io.BytesIO(data)).format.name).split(" or ")
    assert load_clip(data).duration_s == pytest.approx(2.0, abs=0.3 if row.title == "3GP" else 0.08)


def test_the_suffixes_stand_nowhere_else() -> None:
    literal = re.compile(r"""["']\.?(webm|m4a|opus|oga)["']""")
    files = [path for package in ("core", "dashboard") for path in (ROOT / package).rglob("*.py")]
    tables = {path.name for path in files if literal.search(path.read_text(encoding="utf-8"))}
    assert tables == {"formats.py"}


@pytest.mark.parametrize("page", ["README.md", "docs/command-line.md", "core/cli/inputs.py"])
def test_prose_lists_the_same_formats(page: str) -> None:
    """Where the list is written out: for readers, and in a help text that must not wait for numpy."""
    titles = [row.title for row in FORMATS]
    text = (ROOT / page).read_text(encoding="utf-8")
    (listed,) = re.findall(r"WAV, W64, [\w, /]*WebM", text)
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
    with pytest.raises(DataError, match=r"\.wav, \.w64, .*\.mka, \.mkv, \.webm, \.weba"):
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


def test_a_tag_with_a_footer_is_skipped_with_it() -> None:
    flac = written(tone(44_100), 44_100, "FLAC")
    body = bytes(40)
    tag = b"ID3\x04\0\x10\0\0\0" + bytes([len(body)]) + body + b"3DI\x04\0\x10\0\0\0" + bytes([len(body)])
    assert Untagged(io.BytesIO(tag + flac), "").read() == flac


@pytest.mark.parametrize(("tags", "skipped"), [(0, 0), (1, 1), (2, 2), (64, 64), (65, 64)])
def test_several_tags_are_skipped(tags: int, skipped: int) -> None:
    tag = b"ID3\x04\0\0\0\0\0\x05hello"
    file = Untagged(io.BytesIO(tags * tag + b"sound"), "")
    assert file.size == (tags - skipped) * len(tag) + 5


def test_an_id3_length_has_seven_bits_a_byte() -> None:
    """The eighth is not part of the length, whatever a writer put there."""
    tag = b"ID3\x04\0\0" + bytes([0x80, 0x80, 0x81, 0x82]) + bytes(130)
    assert Untagged(io.BytesIO(tag + b"sound"), "").read() == b"sound"


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
    frames = [mp3_frame_bytes(head + bytes([index << 4 | 4, 0])) for index in range(1, 15)]
    assert frames == [3 * rate for rate in kbps]
    assert (
        mp3_frame_bytes(head + b"\x04\0") is mp3_frame_bytes(head + b"\xf4\0") is None
    )  # "free" and forbidden
