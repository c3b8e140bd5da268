"""The repair of one network, layer by layer, with the feature maps of all calibration windows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from core.models.cnn import LAYERS, Cnn14
from core.pruning.plan import PruningPlan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.least_squares import Correction, LeastSquares
from core.pruning.repair.moments import match_moments, running_statistics

_SAMPLES = 20_000  # positions of a layer's feature maps in its least squares: all of them from C7 on, a random subset before
_SUMMARY_FRAMES = 4  # shortest span of C12's map, 1.28 s, that gives fc1 a summary of its own


class LayerRepair:
    """Repairs ``repaired`` in place against the unpruned ``model``.

    Parameters
    ----------
    model, repaired : Cnn14
        The unpruned network, and a copy of the pruned one.
    plan : PruningPlan
        Leads from one to the other.
    logmels : sequence of (1, 1, frames, mel_bins) Tensor
        Calibration windows and their variants, in dB.
    config : RepairConfig
        Which corrections to make, and how strong their ridges are.
    on_progress : callable, optional
        Called with (done, total); an exception that it raises ends the repair.
    """

    def __init__(
        self,
        model: Cnn14,
        plan: PruningPlan,
        repaired: Cnn14,
        logmels: Sequence[Tensor],
        config: RepairConfig,
        *,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._wide, self._narrow, self._config = model, repaired, config
        self._kept = {
            layer: torch.tensor(plan.kept.get(layer, range(width)))
            for layer, width in zip(LAYERS, model.config.widths, strict=True)
        }
        self._logmels = logmels
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._done, self._total = 0, len(logmels) * len(LAYERS)
        self._generator = torch.Generator().manual_seed(0)
        self._errors: dict[str, dict[str, float]] = {}

    def run(self) -> dict[str, dict[str, float]]:
        """Repair layer after layer; returns each corrected layer's relative squared error {"before", "after"}."""
        wide = [self._wide.normalize(logmel) for logmel in self._logmels]
        narrow = list(wide)
        inputs = torch.arange(1)
        changed = False
        for layer in LAYERS:
            if changed:
                if self._config.reconstruct:
                    self._reconstruct(layer, inputs, wide, narrow)
                if self._config.batch_norm:
                    match_moments(
                        self._wide, self._narrow, layer, self._kept[layer], self._each(wide, narrow)
                    )
            inputs = self._kept[layer]
            changed = changed or len(inputs) < self._wide.convolution(layer).out_channels
            for index, x in enumerate(wide):
                # Until a filter is missing both networks have the same input, and one set of feature maps serves both.
                wide[index] = self._wide.layer(layer, x)
                narrow[index] = self._narrow.layer(layer, narrow[index]) if changed else wide[index]
                self._done += 1
                self._report()
        if changed and self._config.reconstruct:
            self._reconstruct_summary(inputs, wide, narrow)
        return self._errors

    def _report(self) -> None:
        """Report the progress, which is also where a repair can be stopped."""
        self._on_progress(self._done, self._total)

    def _each(self, *maps: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        for window in zip(*maps, strict=True):
            self._report()
            yield window

    def _reconstruct(
        self, layer: str, inputs: Tensor, wide: Sequence[Tensor], narrow: Sequence[Tensor]
    ) -> None:
        """Two corrections of a kernel, the second on top of the first."""
        convolution = self._narrow.convolution(layer)
        kernel = self._wide.convolution(layer).weight[self._kept[layer]]  # (kept, wide inputs, 3, 3)
        pruned = convolution.weight
        positions = self._positions(wide)
        maps = LeastSquares(len(inputs), kernel.shape[1])
        for x, y, chosen in self._each(wide, narrow, positions):
            target = _at(x, chosen)
            missing = target.clone()
            missing[:, inputs] -= _at(y, chosen)
            maps.add(_at(y, chosen), target, missing)
        mixture = maps.solve(self._config.map_ridge).weight.float()
        first = pruned + torch.einsum("ocij,ck->okij", kernel, mixture)

        taps = LeastSquares(pruned[0].numel(), len(pruned))
        before = 0.0
        for x, y, chosen in self._each(wide, narrow, positions):
            patches = _patches(y, chosen)
            target = _patches(x, chosen) @ kernel.flatten(1).T
            before += float((target - patches @ pruned.flatten(1).T).double().square().sum())
            taps.add(patches, target, target - patches @ first.flatten(1).T)
        correction = taps.solve(self._config.tap_ridge)
        convolution.weight.copy_(first.add_(correction.weight.view_as(first)))
        # A convolution of CNN14 has no bias: the offset is taken from the mean that batch norm subtracts.
        running_statistics(self._narrow.batch_norm(layer))[0].sub_(correction.offset)
        self._record(layer, before, correction)

    def _reconstruct_summary(self, inputs: Tensor, wide: Sequence[Tensor], narrow: Sequence[Tensor]) -> None:
        """Correct fc1, on summaries of many spans of each window: whole windows alone would be too few."""
        target_weight = self._wide.fc1.weight.double()
        weight = self._narrow.fc1.weight.double()
        system = LeastSquares(len(inputs), len(weight))
        for x, y in self._each(wide, narrow):
            summaries = self._summaries(y).double()
            target = self._summaries(x).double() @ target_weight.T
            system.add(summaries, target, target - summaries @ weight.T)
        correction = system.solve(self._config.summary_ridge)
        self._narrow.fc1.weight.add_(correction.weight)
        self._narrow.fc1.bias.add_(correction.offset)
        self._record("fc1", correction.missed, correction)

    def _summaries(self, x: Tensor) -> Tensor:
        """fc1's input from the whole window and from half-overlapping spans of it, (spans, C12)."""
        summaries = [self._wide.pool(x)]
        frames, length = x.shape[2], _SUMMARY_FRAMES
        while length < frames:
            starts = range(0, frames - length + 1, length // 2)
            summaries += [self._wide.pool(x[:, :, start : start + length]) for start in starts]
            length *= 2
        return torch.cat(summaries)

    def _positions(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Which positions (frame x band, flattened) of each window's feature maps enter the least squares."""
        sizes = [x.shape[2] * x.shape[3] for x in maps]
        share = min(1.0, _SAMPLES / sum(sizes))
        if share == 1.0:
            return [torch.arange(size) for size in sizes]
        return [
            torch.randperm(size, generator=self._generator)[: max(1, round(share * size))].sort().values
            for size in sizes
        ]

    def _record(self, layer: str, before: float, correction: Correction) -> None:
        """Errors relative to the response's variance: 1 is as bad as a constant output, the mean."""
        scale = 1.0 / correction.variance if correction.variance > 0 else 0.0
        self._errors[layer] = {
            "before": round(before * scale, 6),
            "after": round(correction.left * scale, 6),
        }


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """Feature maps (1, channels, frames, bands) at some positions, (positions, channels)."""
    return x[0].flatten(1)[:, positions].T


def _patches(x: Tensor, positions: Tensor) -> Tensor:
    """A 3x3 kernel's input at some positions, in the order of its weights: (positions, channels * 9)."""
    padded = F.pad(x[0], (1, 1, 1, 1))
    frames, bands = positions // x.shape[3], positions % x.shape[3]
    taps = [
        padded[:, frames + i, bands + j] for i in range(3) for j in range(3)
    ]  # 9 of (channels, positions)
    return torch.stack(taps, dim=1).flatten(0, 1).T
