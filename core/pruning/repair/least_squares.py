"""Least squares for repair: the correction of a layer that restores its response from fewer inputs.

A layer's response is t = W x; after pruning its input is y instead, and its response V y. The correction R and the offset b minimise

    sum_n || t_n - (V + R) y_n - b ||^2  +  ridge * d * || R ||_F^2 ,    d = mean_j sum_n (y_nj - mean y_j)^2

so that the ridge pulls towards V, the pruned layer, and not towards zero (cf. He, Zhang & Sun, "Channel Pruning for
Accelerating Very Deep Neural Networks", ICCV 2017, section 3.1, whose reconstruction is the case of ridge 0 and V 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_FLAT = 1e-14
"""Inputs whose variance is below this share of their mean square are constant: a mean of squares minus a squared mean has a rounding
error of some 1e-16 of it in float64, and float32 feature maps themselves round at 6e-8, squared 4e-15."""


@dataclass(frozen=True, eq=False)
class Correction:
    """What to add to a layer.

    Attributes
    ----------
    weight : (outputs, inputs) float64 Tensor
        R.
    offset : (outputs,) float64 Tensor
        b.
    missed, left : float
        Squared error without and with the correction, summed over the samples that it was computed from.
    variance : float
        Squared distance of the target response from its mean, over the same samples.
    """

    weight: Tensor
    offset: Tensor
    missed: float
    left: float
    variance: float


class LeastSquares:
    """Collects samples block by block and solves for the correction, in float64.

    With fewer samples than inputs the samples themselves are kept and the N x N system is solved; from then on only their sums are
    (inputs x inputs), so that memory is bounded by the smaller of the two. A layer without a place for an offset has none: b is 0.

    Examples
    --------
    >>> system = LeastSquares(inputs=1, outputs=1)
    >>> y = torch.tensor([[0.0], [1.0], [2.0]])
    >>> system.add(y, target=3 * y + 1, missing=3 * y + 1)
    >>> correction = system.solve(ridge=1e-9)
    >>> [round(float(value), 3) for value in (correction.weight, correction.offset)]
    [3.0, 1.0]
    """

    def __init__(self, inputs: int, outputs: int, *, offset: bool = True) -> None:
        self._inputs, self._outputs, self._offset = inputs, outputs, offset
        self._count = 0
        self._rows: list[tuple[Tensor, Tensor]] | None = []
        self._sum_y = torch.zeros(inputs, dtype=torch.float64)
        self._sum_e = torch.zeros(outputs, dtype=torch.float64)
        self._sum_t = torch.zeros(outputs, dtype=torch.float64)
        self._squares_e = self._squares_t = 0.0
        self._gram = self._cross = torch.zeros(0, dtype=torch.float64)

    def add(self, inputs: Tensor, target: Tensor, missing: Tensor) -> None:
        """Add samples.

        Parameters
        ----------
        inputs : (samples, inputs) Tensor
            y, the layer's input in the pruned network.
        target : (samples, outputs) Tensor
            t, its response in the unpruned network.
        missing : (samples, outputs) Tensor
            t - V y, the error of its present weights.
        """
        y, t, e = inputs.double(), target.double(), missing.double()
        self._count += len(y)
        self._sum_y += y.sum(0)
        self._sum_e += e.sum(0)
        self._sum_t += t.sum(0)
        self._squares_e += float((e * e).sum())
        self._squares_t += float((t * t).sum())
        if self._rows is None:
            self._gram.addmm_(y.T, y)
            self._cross.addmm_(y.T, e)
            return
        self._rows.append((y, e))
        if self._count >= self._inputs:
            self._gram = torch.zeros(self._inputs, self._inputs, dtype=torch.float64)
            self._cross = torch.zeros(self._inputs, self._outputs, dtype=torch.float64)
            rows, self._rows = self._rows, None
            for y, e in rows:
                self._gram.addmm_(y.T, y)
                self._cross.addmm_(y.T, e)

    def solve(self, ridge: float) -> Correction:
        """The correction at this ridge (relative to the inputs' mean variance; greater than 0)."""
        mean_y, mean_e = self._sum_y / self._count, self._sum_e / self._count
        if not self._offset:
            mean_y, mean_e = torch.zeros_like(mean_y), torch.zeros_like(mean_e)
        if self._rows is None:
            weight, gained = self._from_sums(ridge, mean_y, mean_e)
        else:
            weight, gained = self._from_rows(ridge, mean_y, mean_e)
        variance = self._squares_t - float((self._sum_t**2).sum()) / self._count
        spread = self._squares_e - self._count * float((mean_e**2).sum())
        return Correction(
            weight,
            mean_e - weight @ mean_y,
            missed=self._squares_e,
            left=max(0.0, spread - gained),
            variance=max(0.0, variance),
        )

    def _from_sums(self, ridge: float, mean_y: Tensor, mean_e: Tensor) -> tuple[Tensor, float]:
        gram = self._gram.addr(mean_y, mean_y, alpha=-self._count)
        cross = self._cross.addr(mean_y, mean_e, alpha=-self._count)
        strength = self._strength(ridge, float(gram.diagonal().sum()))
        if strength == 0.0:
            return torch.zeros(self._outputs, self._inputs, dtype=torch.float64), 0.0
        gram.diagonal().add_(strength)
        solution = torch.cholesky_solve(cross, torch.linalg.cholesky(gram))  # R^T
        # With (G + s I) R^T = B the error falls by 2 tr(R B) - tr(R G R^T) = tr(R B) + s |R|^2.
        return solution.T, float((solution * cross).sum()) + strength * float((solution**2).sum())

    def _from_rows(self, ridge: float, mean_y: Tensor, mean_e: Tensor) -> tuple[Tensor, float]:
        assert self._rows is not None
        y = torch.cat([rows for rows, _ in self._rows]).sub_(mean_y)
        e = torch.cat([rows for _, rows in self._rows]).sub_(mean_e)
        strength = self._strength(ridge, float((y * y).sum()))
        if strength == 0.0:
            return torch.zeros(self._outputs, self._inputs, dtype=torch.float64), 0.0
        products = y @ y.T
        products.diagonal().add_(strength)
        # R = E^T (Y Y^T + s I)^-1 Y: the same solution by the push-through identity.
        solution = y.T @ torch.cholesky_solve(e, torch.linalg.cholesky(products))
        return solution.T, float((solution * (y.T @ e)).sum()) + strength * float((solution**2).sum())

    def _strength(self, ridge: float, trace: float) -> float:
        """ridge * d, or 0 where the inputs are constant and only the offset can be fitted."""
        squares = trace + float((self._sum_y**2).sum()) / self._count
        return ridge * trace / self._inputs if trace > _FLAT * squares else 0.0
