"""The limits of recordings, each on both sides of its boundary; expected values are counted by hand."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from core.audio import SAMPLE_RATE, containers, load_clip, track
from core.audio.containers import MAX_SEARCH_BYTES
from core.audio.decoding import Decoder
from core.audio.facts import Job
from core.audio.limits import check_duration, check_layout, is_truncated
from core.audio.messages import display_name
from core.audio.pool import Decoding
from core.errors import AudioError
from tests.core.recordings import CODED, header, tone, written


def steps(*levels: int) -> bytes:
    """A 16-bit WAV at 32 kHz, 0.1 s of the same frame: one level a channel, in steps of 2**-15."""
    frame = np.array(levels, dtype=np.int16)
    return written(np.tile(frame, (3_200, 1)), SAMPLE_RATE, "WAV", "PCM_16")


def floats(level: float) -> bytes:
    return written(np.full(3_200, level, np.float32), SAMPLE_RATE, "WAV", "FLOAT")


@pytest.mark.parametrize("level", [0, 1, -1])
def test_one_step_of_16_bits_is_silence(level: int) -> None:
    clip = load_clip(steps(level))
    assert clip.silent
    assert clip.peak == abs(level) / 32_768
    assert clip.notes == ("it is silent",)


@pytest.mark.parametrize(
    ("level", "level_dbfs", "said"),
    [(2, -84, "−84 dBFS"), (-2, -84, "−84 dBFS"), (32, -60, "−60 dBFS"), (33, -60, ""), (-32_768, 0, "")],
)
def test_two_steps_are_very_quiet_up_to_minus_60_dbfs(level: int, level_dbfs: int, said: str) -> None:
    """One thousandth of full scale is 32.8 steps."""
    clip = load_clip(steps(level))
    assert not clip.silent
    assert clip.peak == abs(level) / 32_768
    assert round(clip.peak_dbfs) == level_dbfs
    note = f"it is very quiet: it peaks at {said}, so that the tags may be wrong"
    assert clip.notes == ((note,) if said else ())


def test_digital_silence_has_no_level() -> None:
    clip = load_clip(steps(0))
    assert clip.peak_dbfs == -np.inf
    assert clip.describe()["peak_dbfs"] is None


def test_silence_is_measured_before_and_after_mixing() -> None:
    assert load_clip(steps(1, 1)).notes == ("it is silent",)
    mixed_to_one_step = load_clip(steps(3, -1))
    assert mixed_to_one_step.silent
    assert mixed_to_one_step.notes == ("its channels cancel each other: mixed to mono it is silent",)
    mixed_to_one_and_a_half = load_clip(steps(2, 1))
    assert not mixed_to_one_and_a_half.silent
    assert "very quiet" in mixed_to_one_and_a_half.notes[0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_peak_of_more_than_1_5_is_noted(sign: float) -> None:
    assert load_clip(floats(sign * 1.5)).notes == ()
    above = np.nextafter(np.float32(1.5), np.float32(2))
    (note,) = load_clip(floats(sign * above)).notes
    assert note == "it peaks at 1.5 times full scale, so that the tags may be wrong"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_samples_of_more_than_32_bit_integers_are_not_accepted(sign: float) -> None:
    (note,) = load_clip(floats(sign * 2.0**32)).notes
    assert note.startswith("it peaks at 4,294,967,296.0 times")
    beyond = float(np.nextafter(np.float32(2**32), np.float32(np.inf)))
    with pytest.raises(AudioError, match=r"NaN, infinite or absurdly large samples, from 0\.00 s on"):
        load_clip(floats(sign * beyond))


@pytest.mark.parametrize(("rate", "channels"), [(4_000, 1), (384_000, 1), (32_000, 64)])
def test_the_extreme_layouts_are_accepted(rate: int, channels: int) -> None:
    check_layout("x", rate, channels)
    clip = load_clip(header(rate=rate, channels=channels))
    assert (clip.sample_rate_hz, clip.channels) == (rate, channels)


@pytest.mark.parametrize(("rate", "channels"), [(3_999, 1), (384_001, 1), (32_000, 0), (32_000, 65)])
def test_one_beyond_them_is_not(rate: int, channels: int) -> None:
    with pytest.raises(AudioError, match=f"{rate:,} Hz|{channels} channels"):
        check_layout("x", rate, channels)


def test_a_recording_as_long_as_the_limit_is_accepted() -> None:
    for frames, accepted in ((319_999, True), (320_000, True), (320_001, False)):
        data = written(np.zeros(frames, np.int16), 32_000, "WAV", "PCM_16")
        if accepted:
            assert load_clip(data, max_seconds=10.0).samples == frames
        else:
            with pytest.raises(AudioError, match="lasts longer; recordings of up to 10 s are accepted"):
                load_clip(data, max_seconds=10.0)


@pytest.mark.parametrize("make", CODED)
def test_every_format_is_accepted_up_to_the_limit(make) -> None:
    """An encoder's padding, at most 0.1 s, counts where the container does not declare it."""
    assert load_clip(make(), max_seconds=2.1).duration_s <= 2.1


def test_an_mp3s_padding_does_not_count() -> None:
    mp3 = written(tone(44_100), 44_100, "MP3")
    assert load_clip(mp3, max_seconds=2.0).duration_s == 2.0


@pytest.mark.parametrize(
    ("seconds", "said"), [(600.5, "lasts longer"), (600.99, "lasts longer"), (601.0, "lasts 601 s")]
)
def test_the_length_is_given_where_it_is_a_second_more(seconds: float, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        check_duration("x", seconds * 1_000, 1_000, 600.0)


@pytest.mark.parametrize(
    ("held_s", "declared_s", "expected"),
    [
        (0.0, 0.1, False),  # 0.1 s are missing
        (0.0, 0.125, True),
        (9.75, 10.0, True),
        (9.9375, 10.0, False),
        (198.0, 200.0, False),  # 1 % is missing
        (197.75, 200.0, True),
        (200.5, 200.0, False),
    ],
)
def test_truncated_is_more_than_a_tenth_of_a_second_and_a_hundredth(
    held_s: float, declared_s: float, expected: bool
) -> None:
    assert is_truncated(held_s, declared_s) is expected


@pytest.mark.parametrize(("lost", "notes"), [(159, ()), (160, ("its last 0.01 s are missing",))])
def test_a_loss_is_noted_from_5_ms_on(lost: int, notes: tuple[str, ...]) -> None:
    whole = written(np.zeros(32_000) + 0.5, 32_000, "WAV", "PCM_16")
    assert load_clip(whole[: len(whole) - 2 * lost]).notes == notes


@pytest.mark.parametrize(("size", "complete"), [(0x7FFE_FFFF, None), (0x7FFF_0000, False)])
def test_sizes_from_2_gib_on_are_unknown(size: int, complete: bool | None) -> None:
    whole = bytearray(written(tone(44_100), 44_100, "WAV"))
    at = whole.index(b"data") + 4
    whole[at : at + 4] = struct.pack("<I", size)
    if complete is None:
        with pytest.raises(AudioError, match="is truncated"):
            load_clip(bytes(whole))
    else:
        assert load_clip(bytes(whole)).notes == ("its header declares no length",)


@pytest.mark.parametrize(("length", "shown"), [(120, 120), (121, 120)])
def test_names_of_more_than_120_characters_are_shortened(length: int, shown: int) -> None:
    name = "x" * (length - 4) + ".wav"
    assert len(display_name(name)) == shown
    assert (display_name(name) == name) is (length == shown)


TOO_LARGE = "has 3.0 GB, more than 600 s of 1 channel at 32,000 Hz take"
FOREIGN = "is not in a format that Pannscope reads"


@pytest.mark.parametrize(
    ("form", "zeros", "said"),
    [
        ("WAV", "after", "has 3.0 GB, of which its header declares 0.1 MB as samples"),
        ("FLAC", "after", TOO_LARGE),
        ("FLAC", "before", FOREIGN),
        ("CAF", "after", TOO_LARGE),
        ("MP3", "before", FOREIGN),
    ],
)
def test_a_large_file_of_a_short_recording_is_refused_unsearched(
    tmp_path: Path, form: str, zeros: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sparse. FFmpeg would read all of it, and mention every 12 bytes of a CAF's zeros in its log."""
    path = tmp_path / f"a.{form.lower()}"
    with open(path, "wb") as file:
        file.seek(3_000_000_000 if zeros == "before" else 0)
        file.write(written(tone(SAMPLE_RATE), SAMPLE_RATE, form))
        file.truncate(max(3_000_000_000, file.tell()))
    pulled: list[int] = []
    piece = Decoding._piece
    monkeypatch.setattr(
        Decoding, "_piece", lambda self, offset, size: (pulled.append(size), piece(self, offset, size))[1]
    )
    with pytest.raises(AudioError, match=said):
        load_clip(path)
    assert sum(pulled) <= MAX_SEARCH_BYTES + 2**20


def test_what_follows_the_last_sample_is_not_searched_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_SEARCH_BYTES", 2**20)
    monkeypatch.setattr(track, "MAX_SEARCH_BYTES", 2**20)
    data = written(tone(44_100), 44_100, "MP3") + bytes(4 * 2**20)
    decoder = Decoder(io.BytesIO(data), Job(name="x", suffix="", size=len(data), channel=0, max_seconds=None))
    assert sum(map(len, decoder.blocks())) == pytest.approx(2 * SAMPLE_RATE, abs=2_000)
    assert "1 MB without a sample follow its last one, and the rest was not searched" in decoder.facts().notes


def test_a_little_more_than_the_samples_is_no_reason_to_refuse():
    clip = load_clip(written(np.full(16_000, 0.1), SAMPLE_RATE, "WAV", "PCM_16") + bytes(10_000))
    assert clip.samples == 16_000
