"""Names and arguments of the compiled kernels, for their generator and their callers."""

from __future__ import annotations

from dataclasses import dataclass

from core.runtime.winograd.algorithms import Algorithm


@dataclass(frozen=True)
class Shape:
    """Sizes that suit a processor's registers.

    Attributes
    ----------
    lanes : float32 per vector.
    rows, vectors : of the block that a matrix product keeps in registers: rows x vectors + vectors + 1 registers.
    """

    lanes: int
    rows: int
    vectors: int

    @property
    def filters(self) -> int:
        """Filters per panel."""
        return self.lanes * self.vectors


@dataclass(frozen=True)
class Signature:
    """Names of a kernel's arguments between spaces: addresses first, then 64-bit numbers. Strides are in bytes."""

    pointers: str
    numbers: str


SIGNATURES = {
    "first": Signature("x w s y counter", "x_frame y_chunk y_frame frames columns chunks per_task"),
    "prepare": Signature("g f w counter", "channels w_panel w_point w_channels panels"),
    "spread": Signature("x v counter", "x_chunk x_frame v_point v_chunk rows columns chunks per_task"),
    "panels": Signature(
        "v w s y m counter",
        "v_point v_chunk in_chunks w_panel w_point m_point m_chunk y_chunk y_frame rows columns out_chunks",
    ),
    "strips": Signature(
        "x w s y v m counter",
        "x_chunk x_frame v_point v_chunk in_chunks w_panel w_point m_point m_chunk y_chunk y_frame rows columns out_chunks per_task",
    ),
}
"""x, y: maps (y at its first frame and band); w: weights; s: biases; g, f: a layer's weights and a factor per filter; v, m: points and sums of
products, or room for them; counter: a 64-bit 0, from which threads take their tasks, of ``per_task`` items."""


def exported(time: Algorithm, bands: Algorithm, kernel: str, pooled: bool = False) -> str:
    """The name of a kernel of a pair of algorithms."""
    return "_".join((kernel, time.name, bands.name, *(["pooled"] if pooled else [])))
