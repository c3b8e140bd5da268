"""Names beside the points of a picture, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, log10, sin, tau

_WIDTHS_PX, _HEIGHT_PX = (300.0, 620.0, 1200.0), 380.0
"""The area of the points on a phone, a tablet and a desk: a name is to have room on each."""

_ON_A_LINE = 24  # boxes that stand for a piece of a line

_LETTER_PX, _LINE_PX, _POINT_PX, _GAP_PX = 6.8, 15.0, 12.0, 8.0


@dataclass(frozen=True)
class Label:
    """A name at a point; anchors and shifts as plotly takes them. With ``leader`` it stands apart, at the end of a line."""

    text: str
    cost: float
    quality: float
    x_anchor: str
    y_anchor: str
    x_shift: float
    y_shift: float
    leader: bool = False


@dataclass(frozen=True)
class _Box:
    left: float
    bottom: float
    right: float
    top: float

    def within(self, width: float) -> bool:
        """Whether it lies in an area of points so many pixels wide."""
        return self.left >= 0 and self.right <= width and self.bottom >= 0 and self.top <= _HEIGHT_PX

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )


@dataclass(frozen=True)
class Scale:
    """The ranges of both axes: costs in powers of ten, and qualities."""

    costs: tuple[float, float]
    qualities: tuple[float, float]

    def box(self, point: tuple[float, float], width: float, half: float) -> _Box:
        """The area, ``half`` pixels to every side, of a point in an area so many pixels wide."""
        x = width * (log10(point[0]) - self.costs[0]) / (self.costs[1] - self.costs[0])
        y = _HEIGHT_PX * (point[1] - self.qualities[0]) / (self.qualities[1] - self.qualities[0])
        return _Box(x - half, y - half, x + half, y + half)


_Side = tuple[str, str, float, float]

_SIDES: tuple[_Side, ...] = (
    ("center", "bottom", 0.0, _GAP_PX),
    ("right", "bottom", -_GAP_PX / 2, _GAP_PX / 2),
    ("left", "bottom", _GAP_PX / 2, _GAP_PX / 2),
    ("left", "middle", _GAP_PX, 0.0),
    ("right", "middle", -_GAP_PX, 0.0),
    ("center", "top", 0.0, -_GAP_PX),
    ("left", "top", _GAP_PX / 2, -_GAP_PX / 2),
    ("right", "top", -_GAP_PX / 2, -_GAP_PX / 2),
)

_APART: tuple[_Side, ...] = tuple(
    ("center", "middle", distance * cos(angle), distance * sin(angle))
    for distance in (40, 60, 80, 100, 130)
    for angle in (tau * step / 16 for step in range(16))
)


def place_labels(
    points: Sequence[tuple[str, str, float, float]],
    wanted: Sequence[str],
    scale: Scale,
    *,
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    always: Sequence[str] = (),
) -> list[Label]:
    """Names that overlap no point, line or other name, as many as have room beside their points.

    Parameters
    ----------
    points : (name, title, cost, quality) of every point.
    wanted : names of those to label, the most important first.
    scale : of the axes.
    lines : the corners of every line, (cost, quality).
    always : those of them that stand apart, at the end of a line, where there is no room beside the point.

    Examples
    --------
    >>> crowd = [("a", "A", 10.0, 0.4), ("b", "B", 1000.0, 0.4)]
    >>> placed = place_labels(crowd, ["b", "a"], Scale((0.5, 3.5), (0.2, 0.5)))
    >>> [(label.text, label.y_anchor) for label in placed]
    [('B', 'bottom'), ('A', 'bottom')]
    """
    half = _POINT_PX / 2
    taken = {
        width: [scale.box((cost, quality), width, half) for *_, cost, quality in points]
        for width in _WIDTHS_PX
    }
    for width in _WIDTHS_PX:
        for one, other in (pair for corners in lines for pair in pairwise(corners)):
            taken[width].extend(scale.box(between, width, 1.0) for between in _pieces(one, other))
    described = {name: (title, cost, quality) for name, title, cost, quality in points}
    labels = []
    for name in wanted:
        title, cost, quality = described[name]
        own = {width: scale.box((cost, quality), width, half) for width in _WIDTHS_PX}
        for side in (*_SIDES, *(_APART if name in always else ())):
            boxes_here = {width: _box(own[width], side, title) for width in _WIDTHS_PX}
            if all(
                box.within(width) and not any(box.overlaps(other) for other in taken[width])
                for width, box in boxes_here.items()
            ):
                for width, box in boxes_here.items():
                    taken[width].append(box)
                labels.append(Label(title, cost, quality, *side, leader=side in _APART))
                break
    return labels


def _pieces(one: tuple[float, float], other: tuple[float, float]) -> list[tuple[float, float]]:
    """Places on a straight line of a logarithmic picture."""
    shares = [step / _ON_A_LINE for step in range(_ON_A_LINE + 1)]
    return [
        (one[0] ** (1 - share) * other[0] ** share, one[1] * (1 - share) + other[1] * share)
        for share in shares
    ]


def _box(point: _Box, side: _Side, title: str) -> _Box:
    """The area of a name beside a point."""
    x_anchor, y_anchor, x_shift, y_shift = side
    x, y = (point.left + point.right) / 2, (point.bottom + point.top) / 2
    width = _LETTER_PX * len(title)
    left = x + x_shift - width * {"left": 0.0, "center": 0.5, "right": 1.0}[x_anchor]
    bottom = y + y_shift - _LINE_PX * {"bottom": 0.0, "middle": 0.5, "top": 1.0}[y_anchor]
    return _Box(left, bottom, left + width, bottom + _LINE_PX)
