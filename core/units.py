"""Numbers with three significant digits and a metric prefix, as the command line and the pages print them."""

from __future__ import annotations

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


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
