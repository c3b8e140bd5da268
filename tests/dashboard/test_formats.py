"""Figures are written one way everywhere."""

from __future__ import annotations

import pytest

from dashboard import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (80_753_615, "80.8 M"),
        (21_158_377_728, "21.2 G"),
        (1_394_402, "1.39 M"),
        (4_992_482, "4.99 M"),
        (512, "512"),
        (999_700, "1.00 M"),
        (0, "0"),
    ],
)
def test_count_has_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert formats.count(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("size", "text"),
    [(327_428_481, "327 MB"), (97_157_000, "97.2 MB"), (9_984_964, "9.98 MB"), (640, "640 B")],
)
def test_file_size_is_decimal(size: int, text: str) -> None:
    assert formats.file_size(size) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("value", "text"),
    [(84.2, "84 ms"), (8.41, "8.4 ms"), (9.96, "10 ms"), (999.6, "1.00 s"), (1532.0, "1.53 s")],
)
def test_milliseconds(value: float, text: str) -> None:
    assert formats.milliseconds(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0.2 s"), (5.02, "5.0 s"), (59.96, "1 min"), (83.2, "1 min 23 s"), (600.0, "10 min")],
)
def test_seconds(value: float, text: str) -> None:
    assert formats.seconds(value).replace("\u00a0", " ") == text


def test_change_uses_a_true_minus_and_one_decimal() -> None:
    # 23,205,839 / 80,753,615 = 0.28737 by hand, so 71.3 % fewer
    assert formats.change(80_753_615, 23_205_839) == "\u221271.3\u00a0%"
    assert formats.change(50.0, 55.0) == "+10.0\u00a0%"
    assert formats.change(50.0, 50.0) == "0\u00a0%"
    assert formats.change(0.0, 50.0) == "–"


def test_signed_differences() -> None:
    assert formats.signed(-0.214) == "\u22120.21"
    assert formats.signed(0.05) == "+0.05"
    assert formats.signed(-0.001) == "0.00"


def test_words_for_channels_rates_and_plurals() -> None:
    assert [formats.channels(n) for n in (1, 2, 6)] == ["mono", "stereo", "6\u00a0channels"]
    assert formats.kilohertz(44_100) == "44.1\u00a0kHz"
    assert formats.plural(1, "clip") == "1\u00a0clip"
    assert formats.plural(3, "clip") == "3\u00a0clips"
