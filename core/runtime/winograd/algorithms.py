"""Algorithms for convolution with three taps along one axis that save multiplications.

An algorithm transforms ``inputs`` samples to ``points`` sums, multiplies each with one combination of the three taps, and combines the
products to ``outputs`` samples: y = A [(G g) * (B d)], with B on the samples d, G on the taps g and A on the products. Two of them, one for the time
axis and one for the bands, make a 3 x 3 convolution: the products are then matrix products over the channels, one per pair of points.
"""

from __future__ import annotations

from dataclasses import dataclass

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Algorithm:
    """One algorithm along one axis.

    Attributes
    ----------
    name : in the kernels' names.
    outputs_from : A, (outputs, points).
    points_from_taps : G, (points, 3); None where the three products are added up as they are (``DIRECT``).
    points_from : B, (points, inputs). The first input is the sample before the first output.
    """

    name: str
    outputs_from: Matrix
    points_from_taps: Matrix | None
    points_from: Matrix

    @property
    def outputs(self) -> int:
        """Samples per tile."""
        return len(self.outputs_from)

    @property
    def points(self) -> int:
        """Products per channel and tile."""
        return len(self.points_from)

    @property
    def taps(self) -> int:
        """Weights per point: 3 where nothing is transformed."""
        return 1 if self.points_from_taps else 3

    @property
    def growth(self) -> float:
        """Number of transformed weights to that of weights."""
        return self.points * self.taps / 3


F43 = Algorithm(
    "f43",
    ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
)
"""Four outputs from 6 products instead of 12 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.3)."""

F23 = Algorithm(
    "f23",
    ((1, 1, 1, 0), (0, 1, -1, -1)),
    ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
)
"""Two outputs from 4 products instead of 6 (the same, section 4.1)."""

PAIR = Algorithm(
    "pair",
    ((1, 1, 0), (1, 0, 1)),
    ((0, 1, 0), (0, -1, 1), (1, -1, 0)),
    ((0, 1, 1, 0), (0, 0, 1, 0), (0, 1, 0, 0)),
)
"""An axis of two samples, with nothing on either side: C11 and C12 run on two bands. Of the six products, two are with padding; the other
four, y0 = g1 d0 + g2 d1 and y1 = g0 d0 + g1 d1, are a Toeplitz matrix of two by two, which needs three:
g1 (d0 + d1), (g2 - g1) d1 and (g0 - g1) d0. Weights do not grow."""

DIRECT = Algorithm("direct", ((1,),), None, ((1,),))
"""One output from 3 products, added up as one long matrix product; for the time axis alone."""
