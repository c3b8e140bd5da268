"""Numbers with a metric prefix on both sides of every place where digits or prefix change, worked out by hand."""

from __future__ import annotations

import pytest

from core.units import prefixed, three_digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.4, "999"),
        (999.5, "1.00 k"),
        (9_994, "9.99 k"),
        (9_995, "10.0 k"),
        (99_949, "99.9 k"),
        (99_950, "100 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (999_950, "1.00 M"),
        (1_394_402, "1.39 M"),
        (80_753_615, "80.8 M"),
        (999_499_999, "999 M"),
        (999_500_000, "1.00 G"),
        (21_158_377_728, "21.2 G"),
        (999_499_999_999, "999 G"),
        (999_500_000_000, "1.00 T"),
    ],
)
def test_the_prefix_and_the_digits(value, text):
    assert prefixed(value) == text
    assert prefixed(value, "B") == text + ("B" if " " in text else " B")


def test_three_digits():
    values = (0.9995, 1.004, 5.2138, 9.994, 9.995, 80.75, 99.94, 99.95, 327.4, 999.4)
    texts = ["1.00", "1.00", "5.21", "9.99", "10.0", "80.8", "99.9", "100", "327", "999"]
    assert [three_digits(value) for value in values] == texts
