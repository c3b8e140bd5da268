"""Figures as the pages print them: 80.8 M parameters, 327 MB, 84 ms, −70.3 %, 0.91.

One way for every page, chart and chip. Units stand after a no-break space, so that a figure never loses its unit at
the end of a line, and a minus is a minus (U+2212), not a hyphen.
"""

from __future__ import annotations

from collections.abc import Callable

Form = Callable[[float], str]

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def three_digits(value: float) -> str:
    """Three significant digits without an exponent: 80.75 -> '80.8', 327.4 -> '327', 5.2138 -> '5.21'."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    decimals = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2
    return f"{value:.{decimals}f}".replace("-", MINUS)


def count(value: float) -> str:
    """A count with its metric prefix: 80753615 -> '80.8 M', 21158377728 -> '21.2 G', 512 -> '512'."""
    for size, prefix in _PREFIXES:
        if value >= size * 0.9995:
            return f"{three_digits(value / size)}{NBSP}{prefix}"
    return f"{value:.0f}"


def whole(value: int) -> str:
    """A number of things in full: 2048 -> '2,048'."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share in whole per cent: 0.5 -> '50 %'."""
    return f"{100 * share:.0f}{NBSP}%"


def file_size(size_bytes: float) -> str:
    """A file's size in decimal units (1 MB = 10^6 bytes): 327428481 -> '327 MB'."""
    for size, prefix in _PREFIXES:
        if size_bytes >= size * 0.9995:
            return f"{three_digits(size_bytes / size)}{NBSP}{prefix}B"
    return f"{size_bytes:.0f}{NBSP}B"


def milliseconds(value_ms: float) -> str:
    """A measured time: 84.2 -> '84 ms', 8.41 -> '8.4 ms', 1532 -> '1.53 s'."""
    if value_ms >= 999.5:
        return f"{three_digits(value_ms / 1000)}{NBSP}s"
    return f"{value_ms:.{0 if value_ms >= 9.95 else 1}f}{NBSP}ms"


def seconds(value_s: float) -> str:
    """A clip's length: 5.02 -> '5.0 s', 83.2 -> '1 min 23 s'."""
    if value_s < 59.95:
        return f"{value_s:.1f}{NBSP}s"
    minutes, rest = divmod(round(value_s), 60)
    return f"{minutes}{NBSP}min" + (f" {rest}{NBSP}s" if rest else "")


def kilohertz(rate_hz: int) -> str:
    """A sampling rate: 44100 -> '44.1 kHz', 32000 -> '32 kHz'."""
    return f"{rate_hz / 1000:g}{NBSP}kHz"


def channels(number: int) -> str:
    """The channels of a recording: 1 -> 'mono', 2 -> 'stereo', 6 -> '6 channels'."""
    return {1: "mono", 2: "stereo"}.get(number, f"{number}{NBSP}channels")


def probability(value: float) -> str:
    """A probability with two decimals: 0.914 -> '0.91'."""
    return f"{value:.2f}"


def signed(value: float) -> str:
    """A difference of probabilities with its sign: -0.214 -> '−0.21', 0.05 -> '+0.05', 0.001 -> '0.00'."""
    text = f"{abs(value):.2f}"
    if text == "0.00":
        return text
    return (MINUS if value < 0 else "+") + text


def change(before: float, after: float) -> str:
    """The relative change between two figures: (80.8e6, 24.0e6) -> '−70.3 %'; a dash where there is no 'before'."""
    if before == 0:
        return DASH
    percent = (after - before) / before * 100
    text = f"{abs(percent):.1f}"
    if text == "0.0":
        return f"0{NBSP}%"
    return f"{MINUS if percent < 0 else '+'}{text}{NBSP}%"


def plural(number: int, word: str, several: str | None = None) -> str:
    """'1 clip', '3 clips'; ``several`` for words that take more than an s."""
    return f"{number}{NBSP}{word if number == 1 else several or word + 's'}"


def escaped(text: str) -> str:
    """A text that a person chose, such as a file's name, with everything escaped that markdown would take for its own."""
    return "".join("\\" + letter if letter in r"\`*_{}[]()#+-.!|~<>$:&" else letter for letter in text)
