"""Every number format on both sides of each place where its digits, unit or sign change."""

from __future__ import annotations

import pytest

from core import settings
from dashboard import formats


def written(text: str) -> str:
    """The text with plain spaces and hyphens, after a check that it has none of its own."""
    assert " " not in text or "min" in text
    assert "-" not in text
    return text.replace("\u00a0", " ").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/app/checkpoints/weights/Cnn14.pth is empty", "Cnn14.pth is empty"),
        (
            "The manifest /app/checkpoints/manifest.toml (/tmp/x/y.part)",
            "The manifest manifest.toml (y.part)",
        ),
        (r"C:\Users\ann\Cnn14.pth is empty", "Cnn14.pth is empty"),
        ("'/a/b/c.wav', \"/a/b/d.wav\"", "'c.wav', \"d.wav\""),
        (f"{settings.ROOT}/checkpoints/manifest.toml", "checkpoints/manifest.toml"),
        (f"{settings.ROOT} is read-only", f"{settings.ROOT.name} is read-only"),
        ("https://zenodo.org/records/3987831 and m4a/aac, 1/2 or a/b/c", None),
        ("/readme", None),
    ],
)
def test_messages_without_the_server_s_folders(text: str, shown: str | None) -> None:
    assert formats.without_folders(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (512, "512"),
        (999, "999"),
        (999.4, "999"),
        (999.5, "1.00 k"),
        (1_000, "1.00 k"),
        (9_994, "9.99 k"),
        (9_995, "10.0 k"),
        (99_949, "99.9 k"),
        (99_950, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (1_394_402, "1.39 M"),
        (4_992_482, "4.99 M"),
        (9_994_999, "9.99 M"),
        (9_995_000, "10.0 M"),
        (80_753_615, "80.8 M"),
        (99_949_999, "99.9 M"),
        (99_950_000, "100 M"),
        (999_499_999, "999 M"),
        (999_500_000, "1.00 G"),
        (21_158_377_728, "21.2 G"),
        (999_499_999_999, "999 G"),
        (999_500_000_000, "1.00 T"),
        (1_269_502_663_680, "1.27 T"),  # 60 times 21,158,377,728: ten minutes of CNN14
    ],
)
def test_a_count_has_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert written(formats.count(value)) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (640, "640 B"),
        (999, "999 B"),
        (1_000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_984_964, "9.98 MB"),
        (97_157_000, "97.2 MB"),
        (327_428_481, "327 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.00 GB"),
    ],
)
def test_a_file_size_is_decimal(size: int, text: str) -> None:
    assert written(formats.file_size(size)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04, "0.0 ms"),
        (0.06, "0.1 ms"),
        (8.41, "8.4 ms"),
        (9.94, "9.9 ms"),
        (9.949, "9.9 ms"),
        (9.95, "10 ms"),
        (10.4, "10 ms"),
        (84.2, "84 ms"),
        (999.4, "999 ms"),
        (999.5, "1.00 s"),
        (1_532.0, "1.53 s"),
        (9_994.0, "9.99 s"),
        (9_995.0, "10.0 s"),
        (99_949.0, "99.9 s"),
        (99_950.0, "100 s"),
    ],
)
def test_milliseconds(value: float, text: str) -> None:
    assert written(formats.milliseconds(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0094, "9.4 ms"),
        (0.031, "31 ms"),
        (0.0994, "99 ms"),
        (0.0995, "0.1 s"),
        (0.2, "0.2 s"),
        (5.02, "5.0 s"),
        (5.06, "5.1 s"),
        (59.94, "59.9 s"),
        (59.95, "1 min"),
        (60.4, "1 min"),
        (60.6, "1 min 1 s"),
        (83.2, "1 min 23 s"),
        (119.4, "1 min 59 s"),
        (119.6, "2 min"),
        (600.0, "10 min"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert written(formats.seconds(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "a few seconds left"),
        (7.49, "a few seconds left"),
        (7.5, "about 10 s left"),
        (12.49, "about 10 s left"),
        (12.5, "about 15 s left"),
        (18.2, "about 20 s left"),
        (57.49, "about 55 s left"),
        (57.5, "about 1 min left"),
        (89.9, "about 1 min left"),
        (90.0, "about 2 min left"),
        (3569.0, "about 59 min left"),
        (3570.0, "about 1 h left"),
        (4469.0, "about 1 h left"),
        (4470.0, "about 1.5 h left"),
        (36_000.0, "about 10 h left"),
    ],
)
def test_time_left(value: float, text: str) -> None:
    assert formats.time_left(value).replace(formats.NBSP, " ") == text
    assert (
        formats.progress("Measuring: 3 of 60", value).replace(formats.NBSP, " ")
        == f"Measuring: 3 of 60 · {text}"
    )


def test_a_bar_without_an_estimate_says_only_what_is_done() -> None:
    assert formats.progress("Measuring: 3 of 60", None) == "Measuring: 3 of 60"


@pytest.mark.parametrize(
    ("share", "whole", "tenths"),
    [
        (0.0, "0 %", "0.0 %"),
        (0.0004, "0 %", "0.0 %"),
        (0.0006, "0 %", "0.1 %"),
        (0.004, "0 %", "0.4 %"),
        (0.006, "1 %", "0.6 %"),
        (0.287366, "29 %", "28.7 %"),  # 23,205,839 of 80,753,615 parameters
        (0.994, "99 %", "99.4 %"),
        (0.9994, "100 %", "99.9 %"),
        (1.0, "100 %", "100.0 %"),
    ],
)
def test_shares(share: float, whole: str, tenths: str) -> None:
    assert written(formats.percent(share)) == whole
    assert written(formats.tenths_of_percent(share)) == tenths


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (80_753_615, 23_205_839, "-71.3 %"),  # 23,205,839 / 80,753,615 = 0.28737
        (21_158_377_728, 13_527_464_192, "-36.1 %"),  # 13.527 / 21.158 = 0.63934
        (50.0, 55.0, "+10.0 %"),
        (50.0, 50.0, "0 %"),
        (10_000, 10_004, "0 %"),
        (10_000, 10_006, "+0.1 %"),
        (10_000, 9_996, "0 %"),
        (10_000, 9_994, "-0.1 %"),
        (1.0, 0.0, "-100.0 %"),
        (0.0, 50.0, "–"),
        (0.0, 0.0, "–"),
    ],
)
def test_a_change_has_a_sign_and_one_decimal_and_zero_has_neither(
    before: float, after: float, text: str
) -> None:
    assert written(formats.change(before, after)) == text


@pytest.mark.parametrize(
    ("value", "signed", "correlation"),
    [
        (-1.0, "-1.00", "-1.00"),
        (-0.214, "-0.21", "-0.21"),
        (-0.006, "-0.01", "-0.01"),
        (-0.004, "0.00", "0.00"),
        (-0.0, "0.00", "0.00"),
        (0.0, "0.00", "0.00"),
        (0.004, "0.00", "0.00"),
        (0.006, "+0.01", "0.01"),
        (0.05, "+0.05", "0.05"),
        (0.996, "+1.00", "1.00"),
    ],
)
def test_zero_has_no_sign(value: float, signed: str, correlation: str) -> None:
    assert written(formats.signed(value)) == signed
    assert written(formats.correlation(value)) == correlation


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.004, "0.00"), (0.006, "0.01"), (0.914, "0.91"), (0.996, "1.00")]
)
def test_a_probability_has_two_decimals(value: float, text: str) -> None:
    assert formats.probability(value) == text


def test_whole_numbers_rates_channels_and_plurals() -> None:
    assert [formats.whole(n) for n in (999, 1_000, 2_048)] == ["999", "1,000", "2,048"]
    assert [formats.channels(n) for n in (1, 2, 3)] == ["mono", "stereo", "3\u00a0channels"]
    assert [formats.kilohertz(hz) for hz in (8_000, 11_025, 44_100)] == [
        "8\u00a0kHz",
        "11.025\u00a0kHz",
        "44.1\u00a0kHz",
    ]
    assert formats.waiting(1) == "Waiting: 1\u00a0request ahead of you"
    assert [formats.plural(n, "clip") for n in (0, 1, 2)] == ["0\u00a0clips", "1\u00a0clip", "2\u00a0clips"]


def test_markdown_in_a_name_is_escaped() -> None:
    assert formats.escaped("[a](b) *c* 1.wav") == r"\[a\]\(b\) \*c\* 1\.wav"
    assert formats.escaped(":red[x] $y$ <b>") == r"\:red\[x\] \$y\$ \<b\>"
