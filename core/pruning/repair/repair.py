"""Repair without labels: what can be mended in a pruned network from the sound of a few clips alone, in seconds.

The unpruned network is asked for its response to the clips, layer by layer, and every layer behind the first removed filter is
corrected so that it gives that response from what it hears now: by least squares (``core.pruning.reconstruction``), then by its
batch norm's statistics. Nothing is trained and no label is needed. ``docs/repair.md`` has the formulas and what each step is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.audio import SAMPLE_RATE
from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14
from core.pruning.calibration import add_variants, calibration_windows
from core.pruning.plan import PruningPlan
from core.pruning.repair.reconstruction import Correction, LeastSquares
from core.pruning.surgery import check_fits

_SAMPLES = 20_000  # places of a layer's feature maps that enter its least squares: all, behind C6; a draw of them before
_SUMMARY_FRAMES = 4  # shortest span of C12's map, 1.28 s, of which fc1 hears a summary of its own


@dataclass(frozen=True)
class Repair:
    """How to repair; the defaults are what ``docs/repair.md`` found best.

    Attributes
    ----------
    batch_norm : bring every batch norm's mean and spread of the clips to what they are in the unpruned network.
    reconstruct : correct the layers by least squares.
    map_ridge : ridge of the first correction, which makes every lost feature map up from the others, place by place.
    tap_ridge : ridge of the second, which goes on from the first and is free in every weight of the kernels.
    summary_ridge : ridge of fc1's correction. All three are relative to the inputs' mean variance over the clips.
    windows : fewer windows than this are supplemented with variants of them (``core.pruning.listening``).
    """

    batch_norm: bool = True
    reconstruct: bool = True
    map_ridge: float = 1e-3
    tap_ridge: float = 1e-2
    summary_ridge: float = 1e-3
    windows: int = 32

    def __post_init__(self) -> None:
        for name in ("map_ridge", "tap_ridge", "summary_ridge"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise PruningError(f"The ridge {name} has to be a number above 0; got {value!r}.")


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired network, a new object in eval mode, and how it came about.

    Attributes
    ----------
    model : the network; it shares no memory with the ones that it was made from.
    document : plain JSON: the settings, ``clips``, ``seconds`` of audio that were heard, and for every corrected layer the share of
        its response's variance that was missed ``before`` and ``after``, on those clips.
    """

    model: Cnn14
    document: dict[str, Any]


def repair(
    model: Cnn14,
    plan: PruningPlan,
    pruned: Cnn14,
    waveforms: Sequence[np.ndarray],
    method: Repair | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Repair a pruned network on clips without labels.

    Parameters
    ----------
    model : the unpruned network.
    plan : which filters were removed.
    pruned : what ``surgery.prune(model, plan)`` made; neither network is changed.
    waveforms : (samples,) float each, mono at 32 kHz; clips under 0.31 s are padded with silence as in tagging.
    on_progress : gets (done, of how many) many times; what it raises ends the repair.

    Raises
    ------
    PruningError
        There are no clips, all of them are silent, or the plan does not lead from ``model`` to ``pruned``.
    AudioError
        A waveform is nothing that a tagger can listen to.
    """
    method = method or Repair()
    _check_fits(model, plan, pruned)
    windows = calibration_windows(waveforms)
    repaired = copy.deepcopy(pruned).eval()
    with torch.inference_mode():
        logmels = [model.front_end(window) for window in windows]
        sounds = add_variants(logmels, method.windows)
        layers = _Walk(model, plan, repaired, sounds, method, on_progress=on_progress).run()
    document = asdict(method) | {
        "clips": len(waveforms),
        "seconds": round(sum(window.shape[1] for window in windows) / SAMPLE_RATE, 3),
        "variants": len(sounds) - len(windows),
        "layers": layers,
    }
    return Repaired(repaired, document)


class _Walk:
    """One way through both networks, layer by layer, with all windows' feature maps in hand."""

    def __init__(
        self,
        model: Cnn14,
        plan: PruningPlan,
        repaired: Cnn14,
        sounds: Sequence[Tensor],
        method: Repair,
        *,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._wide, self._narrow, self._method = model, repaired, method
        self._kept = {
            layer: torch.tensor(plan.kept.get(layer, range(width)))
            for layer, width in zip(LAYERS, model.config.widths, strict=True)
        }
        self._sounds = sounds
        self._report = on_progress or (lambda _done, _total: None)
        self._done, self._total = 0, len(sounds) * len(LAYERS)
        self._draw = torch.Generator().manual_seed(0)
        self._layers: dict[str, dict[str, float]] = {}

    def run(self) -> dict[str, dict[str, float]]:
        """Repair layer after layer; returns what each missed before and after."""
        wide = [self._wide.normalize(sound) for sound in self._sounds]
        narrow = list(wide)
        inputs = torch.arange(1)
        changed = False
        for layer in LAYERS:
            if changed:
                if self._method.reconstruct:
                    self._reconstruct(layer, inputs, wide, narrow)
                if self._method.batch_norm:
                    self._match_moments(layer, wide, narrow)
            inputs = self._kept[layer]
            changed = changed or len(inputs) < self._wide.convolution(layer).out_channels
            for index in range(len(wide)):
                # As long as nothing is removed both networks hear the same, and one set of feature maps does for both.
                before = wide[index]
                wide[index] = self._wide.layer(layer, before)
                narrow[index] = self._narrow.layer(layer, narrow[index]) if changed else wide[index]
                self._done += 1
                self._tell()
        if changed and self._method.reconstruct:
            self._reconstruct_summary(inputs, wide, narrow)
        return self._layers

    def _tell(self) -> None:
        """Report the progress, which is also the moment at which a repair can be stopped."""
        self._report(self._done, self._total)

    def _reconstruct(
        self, layer: str, inputs: Tensor, wide: Sequence[Tensor], narrow: Sequence[Tensor]
    ) -> None:
        """Two corrections of a kernel, the second on top of the first."""
        conv = self._narrow.convolution(layer)
        kernel = self._wide.convolution(layer).weight[self._kept[layer]]  # (kept, wide inputs, 3, 3)
        plain = conv.weight
        places = self._places(wide)
        maps = LeastSquares(len(inputs), kernel.shape[1])
        for x, y, chosen in zip(wide, narrow, places, strict=True):
            self._tell()
            wanted = _at(x, chosen)
            missing = wanted.clone()
            missing[:, inputs] -= _at(y, chosen)
            maps.add(_at(y, chosen), wanted, missing)
        made_up = maps.solve(self._method.map_ridge).weight.float()
        first = plain + torch.einsum("ocij,ck->okij", kernel, made_up)

        taps = LeastSquares(plain[0].numel(), len(plain))
        missed = 0.0
        for x, y, chosen in zip(wide, narrow, places, strict=True):
            self._tell()
            heard = _patches(y, chosen)
            wanted = _patches(x, chosen) @ kernel.flatten(1).T
            missed += float((wanted - heard @ plain.flatten(1).T).double().square().sum())
            taps.add(heard, wanted, wanted - heard @ first.flatten(1).T)
        found = taps.solve(self._method.tap_ridge)
        conv.weight.copy_(first.add_(found.weight.view_as(first)))
        # A convolution of CNN14 has no bias: what is to be added is taken from the mean that batch norm subtracts.
        _statistics(self._narrow.batch_norm(layer))[0].sub_(found.offset)
        self._note(layer, missed, found)

    def _reconstruct_summary(self, inputs: Tensor, wide: Sequence[Tensor], narrow: Sequence[Tensor]) -> None:
        """Correct fc1, on summaries of many spans of each window: whole windows alone would be too few."""
        fc1 = self._wide.fc1
        weight = self._narrow.fc1.weight.double()
        system = LeastSquares(len(inputs), len(weight))
        for x, y in zip(wide, narrow, strict=True):
            self._tell()
            heard = self._summaries(y).double()
            wanted = self._summaries(x).double() @ fc1.weight.double().T
            system.add(heard, wanted, wanted - heard @ weight.T)
        found = system.solve(self._method.summary_ridge)
        self._narrow.fc1.weight.add_(found.weight)
        self._narrow.fc1.bias.add_(found.offset)
        self._note("fc1", found.missed, found)

    def _summaries(self, x: Tensor) -> Tensor:
        """What fc1 would hear of the whole window and of half-overlapping spans of it, (spans, C12)."""
        found = [self._wide.pool(x)]
        frames, length = x.shape[2], _SUMMARY_FRAMES
        while length < frames:
            starts = range(0, frames - length + 1, length // 2)
            found += [self._wide.pool(x[:, :, start : start + length]) for start in starts]
            length *= 2
        return torch.cat(found)

    def _match_moments(self, layer: str, wide: Sequence[Tensor], narrow: Sequence[Tensor]) -> None:
        """Set a batch norm's statistics so that the clips leave it with the mean and spread that they have unpruned."""
        kept = self._kept[layer]
        kernel = self._wide.convolution(layer).weight[kept]
        target, now = _Moments(), _Moments()
        for x, y in zip(wide, narrow, strict=True):
            self._tell()
            target.add(F.conv2d(x, kernel, padding=1))
            now.add(self._narrow.convolution(layer)(y))
        before, after = self._wide.batch_norm(layer), self._narrow.batch_norm(layer)
        mean, variance = (values[kept].double() for values in _statistics(before))
        new_mean, new_variance = _statistics(after)
        (mean_t, variance_t), (mean_y, variance_y) = target.of(), now.of()
        # A filter that the clips leave silent has variance 0 in both: eps keeps its scale at 1.
        scale = ((variance_y + before.eps) / (variance_t + before.eps)).sqrt()
        # batch norm divides by sqrt(variance + eps), which is what has to grow by ``scale``
        new_variance.copy_(((variance + before.eps) * scale.square() - before.eps).clamp_(min=0.0))
        new_mean.copy_(mean_y - (mean_t - mean) * scale)

    def _places(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Which places (frame x band, flattened) of each window's feature maps to learn from."""
        share = min(1.0, _SAMPLES / sum(x.shape[2] * x.shape[3] for x in maps))
        chosen = []
        for x in maps:
            places = x.shape[2] * x.shape[3]
            if share == 1.0:
                chosen.append(torch.arange(places))
            else:
                count = max(1, round(share * places))
                chosen.append(torch.randperm(places, generator=self._draw)[:count].sort().values)
        return chosen

    def _note(self, layer: str, missed: float, found: Correction) -> None:
        """Errors as shares of the response's variance: 1 is as bad as answering with the mean."""
        share = 1.0 / found.variance if found.variance > 0 else 0.0
        self._layers[layer] = {"before": round(missed * share, 6), "after": round(found.left * share, 6)}


class _Moments:
    """Mean and variance of each channel of feature maps (1, channels, frames, bands), window by window, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._squares = torch.zeros(())

    def add(self, maps: Tensor) -> None:
        values = maps[0].flatten(1).double()
        self._count += values.shape[1]
        self._sum = self._sum + values.sum(1)
        self._squares = self._squares + values.square().sum(1)

    def of(self) -> tuple[Tensor, Tensor]:
        mean = self._sum / self._count
        return mean, (self._squares / self._count - mean.square()).clamp_(min=0.0)


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance; CNN14's batch norms all have them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Feature maps (1, channels, frames, bands) at some places, (places, channels)."""
    return x[0].flatten(1)[:, places].T


def _patches(x: Tensor, places: Tensor) -> Tensor:
    """What a 3x3 kernel hears at some places, in the order of its weights: (places, channels * 9)."""
    padded = F.pad(x[0], (1, 1, 1, 1))
    frames, bands = places // x.shape[3], places % x.shape[3]
    taps = [padded[:, frames + i, bands + j] for i in range(3) for j in range(3)]  # 9 of (channels, places)
    return torch.stack(taps, dim=1).flatten(0, 1).T


def _check_fits(model: Cnn14, plan: PruningPlan, pruned: Cnn14) -> None:
    check_fits(plan, model)
    if plan.after != pruned.config.widths or model.fc1.out_features != pruned.fc1.out_features:
        raise PruningError(
            f"The plan leaves the widths {list(plan.after)}, the pruned network has {list(pruned.config.widths)}; "
            "give the plan that it was made with."
        )
