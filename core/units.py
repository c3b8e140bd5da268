"""Numbers with three significant digits and a metric prefix, as the command line and the pages print them, and cells of their CSV files."""

from __future__ import annotations

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

THRESHOLD = 0.2
"""A probability from which on a tag counts as recognised, unless changed. AudioSet taggers are unsure: of the labels of 100 held-out clips the embedded
networks give 75 and 76% at least 0.2, with a precision of 0.94 and 0.95, and 40% at least 0.5; their teacher is like them (docs/conventions.md)."""


def prefixed(value: float, unit: str = "") -> str:
    """A number from 0 on with its metric prefix: what would round to 1000 of one prefix gets the next.

    Examples
    --------
    >>> prefixed(80_753_615), prefixed(999_950), prefixed(512), prefixed(327_428_481, "B")
    ('80.8 M', '1.00 M', '512', '327 MB')
    """
    for size, prefix in _PREFIXES:
        if value >= size * 0.9995:
            return f"{three_digits(value / size)} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def three_digits(value: float) -> str:
    """Three significant digits of a value of at least 0.9995: 80.75 -> '80.8', 327.4 -> '327', 5.2138 -> '5.21'."""
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def plural(number: int, noun: str, many: str = "") -> str:
    """A number with its noun, whose plural has an s or is ``many``.

    Examples
    --------
    >>> plural(1, "clip"), plural(0, "clip"), plural(527, "class", "classes")
    ('1 clip', '0 clips', '527 classes')
    """
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def probability(value: float) -> str:
    """A probability with two decimals.

    Examples
    --------
    >>> probability(0.914), probability(0.999)
    ('0.91', '1.00')
    """
    return f"{value:.2f}"


def beside_threshold(value: float, threshold: float) -> str:
    """A probability with two decimals, or with as many as show on which side of a threshold it is.

    Examples
    --------
    >>> beside_threshold(0.496, 0.5), beside_threshold(0.5, 0.5), beside_threshold(0.494, 0.5)
    ('0.496', '0.50', '0.49')
    """
    side = value >= threshold
    texts = (f"{value:.{decimals}f}" for decimals in range(2, 18))
    return next((text for text in texts if (float(text) >= threshold) == side), repr(value))


def guarded(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula: one that starts with = + - @ is quoted.

    Examples
    --------
    >>> guarded("=1+1.wav"), guarded("a=b.wav")
    ("'=1+1.wav", 'a=b.wav')
    """
    return "'" + text if text.startswith(_FORMULA_STARTS) else text
