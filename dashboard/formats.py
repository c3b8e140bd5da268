"""Numbers as every page, chart and card prints them: 80.8 M parameters, 327 MB, 84 ms, −70.3 %, 0.91.

Units follow a no-break space, so that no line ends between a number and its unit. Negative numbers have a minus sign
(U+2212), not a hyphen, and zero has no sign.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from core import settings, units
from core.units import prefixed, three_digits

Form = Callable[[float], str]

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"

_FOLDERS = re.compile(r"""(?<![\w/\\.:~-])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\'"():;,]+[/\\])+""")
"""The folders of an absolute path, of this system or of Windows; not those of an address on the web."""


def count(value: float) -> str:
    """A count to three digits with its metric prefix: 80753615 -> '80.8 M', 21158377728 -> '21.2 G', 512 -> '512'."""
    return prefixed(value).replace(" ", NBSP)


def file_size(size_bytes: float) -> str:
    """A file's size in decimal units (1 MB = 10^6 bytes): 327428481 -> '327 MB'."""
    return prefixed(size_bytes, "B").replace(" ", NBSP)


def energy(kwh: float) -> str:
    """Energy in watt-hours, to three digits: 519.3 -> '519 kWh', 0.0123 -> '12.3 Wh', 0.0000154 -> '15.4 mWh'."""
    return _three_digits(1e3 * kwh, "Wh")


def mass(kg: float) -> str:
    """A mass, to three digits: 0.0123 -> '12.3 g', 231.1 -> '231 kg', 1520 -> '1.52 t'."""
    return _three_digits(1e3 * kg, "g") if kg < 999.5 else _three_digits(kg / 1e3, "t")


def _three_digits(value: float, unit: str) -> str:
    if value >= 999.5:
        return prefixed(value, unit).replace(" ", NBSP)
    if value >= 0.9995:
        return f"{three_digits(value)}{NBSP}{unit}"
    return f"{three_digits(1e3 * value)}{NBSP}m{unit}" if value else f"0{NBSP}{unit}"


def whole(value: int) -> str:
    """A whole number in full: 2048 -> '2,048'."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share in whole per cent: 0.5 -> '50 %'."""
    return f"{100 * share:.0f}{NBSP}%"


def tenths_of_percent(share: float) -> str:
    """A share in per cent with one decimal: 0.287 -> '28.7 %'."""
    return f"{100 * share:.1f}{NBSP}%"


def milliseconds(value_ms: float) -> str:
    """A measured time: 84.2 -> '84 ms', 8.41 -> '8.4 ms', 1532 -> '1.53 s'."""
    if value_ms >= 999.5:
        return f"{three_digits(value_ms / 1000)}{NBSP}s"
    return f"{value_ms:.{0 if value_ms >= 9.95 else 1}f}{NBSP}ms"


def seconds(value_s: float) -> str:
    """The length of a clip: 0.031 -> '31 ms', 5.02 -> '5.0 s', 83.2 -> '1 min 23 s'."""
    if value_s < 0.0995:
        return milliseconds(1000 * value_s)
    if value_s < 59.95:
        return f"{value_s:.1f}{NBSP}s"
    minutes, rest = divmod(round(value_s), 60)
    return f"{minutes}{NBSP}min" + (f" {rest}{NBSP}s" if rest else "")


def about(value_s: float) -> str:
    """An estimated length of minutes: 3577.2 -> 'about 60 min'."""
    return f"about {round(value_s / 60)}{NBSP}min"


def minutes(value_s: float) -> str:
    """How long something took, in whole seconds: 12.3 -> '12 s', 83 -> '1 min 23 s', 300 -> '5 min'."""
    whole_s = round(value_s)
    return f"{whole_s}{NBSP}s" if whole_s < 60 else seconds(whole_s)


def duration(value_s: float) -> str:
    """How long something would take, to three digits of hours: 83 -> '1 min 23 s', 12500 -> '3.47 h'."""
    return minutes(value_s) if value_s < 3599.5 else f"{three_digits(value_s / 3600)}{NBSP}h"


def time_left(value_s: float) -> str:
    """An estimate of the time that a task still takes: 18.2 -> 'about 20 s left', 100 -> 'about 2 min left'."""
    fives = int(value_s / 5 + 0.5)
    if fives < 2:
        return "a few seconds left"
    if fives < 12:
        return f"about {5 * fives}{NBSP}s left"
    minutes = int(value_s / 60 + 0.5)
    if minutes < 60:
        return f"about {minutes}{NBSP}min left"
    return f"about {int(minutes / 30 + 0.5) / 2:g}{NBSP}h left"


def progress(doing: str, left_s: float | None) -> str:
    """The words beside a progress bar: what is being done, and the time left where it is known."""
    return doing if left_s is None else f"{doing} · {time_left(left_s)}"


def kilohertz(rate_hz: int) -> str:
    """A sampling rate: 44100 -> '44.1 kHz', 32000 -> '32 kHz'."""
    return f"{rate_hz / 1000:g}{NBSP}kHz"


def channels(number: int) -> str:
    """The number of channels: 1 -> 'mono', 2 -> 'stereo', 6 -> '6 channels'."""
    return {1: "mono", 2: "stereo"}.get(number, f"{number}{NBSP}channels")


def probability(value: float) -> str:
    """A probability with two decimals: 0.914 -> '0.91'."""
    return units.probability(value)


def correlation(value: float) -> str:
    """A correlation coefficient with two decimals: 0.914 -> '0.91', -0.25 -> '−0.25', -0.001 -> '0.00'."""
    return signed(value).removeprefix("+")


def signed(value: float) -> str:
    """A difference of probabilities with its sign: -0.214 -> '−0.21', 0.05 -> '+0.05', 0.001 -> '0.00'."""
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else _sign(value) + text


def nats(value: float) -> str:
    """A divergence to about three digits: 0.0312 -> '0.031', 1.234 -> '1.23', 12.3 -> '12'."""
    return f"{value:.3f}" if value < 0.0995 else f"{value:.2f}" if value < 9.95 else f"{value:.0f}"


def change(before: float, after: float) -> str:
    """The relative change between two numbers: (80.8e6, 24.0e6) -> '−70.3 %'; a dash where ``before`` is 0."""
    if before == 0:
        return DASH
    percent_change = (after - before) / before * 100
    text = f"{abs(percent_change):.1f}"
    return f"0{NBSP}%" if text == "0.0" else f"{_sign(percent_change)}{text}{NBSP}%"


def plural(number: int, noun: str) -> str:
    """A number with its noun: '1 clip', '3 clips'."""
    return f"{number}{NBSP}{noun if number == 1 else noun + 's'}"


def waiting(requests_ahead: int) -> str:
    """The place in the inference queue: 'Waiting: 2 requests ahead of you'."""
    return f"Waiting: {plural(requests_ahead, 'request')} ahead of you"


def escaped(text: str) -> str:
    """Text from outside, such as a file's name or an error, with every character escaped that has a meaning in markdown."""
    plain = without_folders(text)
    return "".join("\\" + letter if letter in r"\`*_{}[]()#+-.!|~<>$:&" else letter for letter in plain)


def without_folders(text: str) -> str:
    """A message without the folders of absolute paths: a visitor learns which file it is, not where the server keeps it.

    Examples
    --------
    >>> without_folders("/srv/pannscope/weights/Cnn14.pth is empty; see https://zenodo.org/records/1.")
    'Cnn14.pth is empty; see https://zenodo.org/records/1.'
    """
    own = (
        settings.ROOT,
        settings.weights_dir(),
        settings.cache_dir(),
        Path.home(),
    )  # which may contain blanks
    for folder in sorted({str(each) for each in own if len(each.parts) > 1}, key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "").replace(folder, Path(folder).name)
    return _FOLDERS.sub("", text)


def _sign(value: float) -> str:
    return MINUS if value < 0 else "+"
