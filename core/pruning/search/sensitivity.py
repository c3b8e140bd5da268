"""Sensitivity: the loss of each layer pruned alone, measured on clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.compare import divergences
from core.errors import PruningError
from core.models.groups import OUTPUTS, Group, group_of, groups
from core.models.network import Network
from core.models.registry import architecture
from core.models.trace import Trace, start_values, trace
from core.models.widths import check_ratio, kept_count
from core.pruning.criteria import criterion, group_importance
from core.windows import split_windows, validate_waveform, window_mean

RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Pruning ratios that are measured for each layer: those of E-PANNs (25, 50, 75%), and one towards each end."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The loss with one layer alone pruned, for every layer and ratio.

    Attributes
    ----------
    layers, ratios : tuple
        The rows and columns of the tables.
    divergence : (layers, ratios) array
        ``Fidelity.divergence`` in nats per clip, mean over the clips.
    first_tag : (layers, ratios) array
        Share of the clips whose likeliest tag stays.
    criterion : str
        How the filters were ranked.
    clips : int
        Number of clips.
    mean_average_precision : (layers, ratios) array or None
        mAP, where the clips have labels.
    base : float or None
        The unpruned network's mAP, where the clips have labels.
    """

    layers: tuple[str, ...]
    ratios: tuple[float, ...]
    divergence: np.ndarray
    first_tag: np.ndarray
    criterion: str
    clips: int
    mean_average_precision: np.ndarray | None = None
    base: float | None = None

    @property
    def loss(self) -> np.ndarray:
        """(layers, ratios): the fall of mean average precision where there are labels, else the divergence."""
        if self.mean_average_precision is None or self.base is None:
            return self.divergence
        return self.base - self.mean_average_precision

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        labelled = self.mean_average_precision
        return {
            "criterion": self.criterion,
            "clips": self.clips,
            "layers": list(self.layers),
            "ratios": list(self.ratios),
            "divergence": self.divergence.tolist(),
            "first_tag": self.first_tag.tolist(),
            "mAP": None if labelled is None else labelled.tolist(),
            "mAP_unpruned": self.base,
        }


def measure_sensitivity(
    model: Network,
    waveforms: Sequence[np.ndarray],
    *,
    layers: Sequence[str] | None = None,
    ratios: Sequence[float] = RATIOS,
    criterion_name: str = "operator-norm",
    targets: np.ndarray | None = None,
    scores: Callable[[str], np.ndarray] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prune each layer alone at each ratio and compare the output with the unpruned network's.

    A removed filter's feature map is set to zero, which is what removing it does (``surgery``), and the network runs from that
    layer on only: a pruned network would compute that layer again, and would have to be built for every ratio. Layers that share their
    filters are pruned together. One window of one clip is in memory at a time.

    Parameters
    ----------
    model : Network
        The unpruned network.
    waveforms : sequence of (samples,) array of float
        Clips at 32 kHz, of any length.
    layers, ratios : sequences of str and float
        What to measure, by default every group of layers that can be pruned; a layer stands for its group.
    criterion_name : str
        How filters are ranked.
    targets : (clips, classes) array, optional
        True where a clip carries the class: then mean average precision is measured, too.
    scores : callable, optional
        Group -> (filters,) scores by that criterion, where the caller has them already.
    on_progress : callable, optional
        Called with (done, total) after every run; an exception that it raises ends the measurement.

    Raises
    ------
    PruningError
        No clips, no ratio, an impossible ratio, an unknown layer or criterion, or targets that do not fit the clips.
    """
    criterion(criterion_name)
    known = groups(model.architecture, model.config)
    chosen = (
        {each.name for each in known} if layers is None else {group_of(model.architecture, x) for x in layers}
    )
    found = [group for group in known if group.name in chosen]
    rows = tuple(group.name for group in found)
    columns = tuple(sorted({check_ratio(ratio) for ratio in ratios}))
    if not waveforms or not rows or not columns:
        raise PruningError("Sensitivity is measured on clips, layers and ratios; give at least one of each.")
    clips = [validate_waveform(waveform, 1) for waveform in waveforms]
    check_targets(targets, len(clips), model.config.classes)
    score = scores or partial(group_importance, model, name=criterion_name)
    masks = [_Masks(model, group, score(group.name), columns) for group in found]
    entry = architecture(model.architecture)
    split = [split_windows(clip, entry) for clip in clips]
    done, total = 0, sum(map(len, split)) * len(rows) * len(columns)

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, total)

    outputs = np.stack(
        [window_mean([_outputs(model, window, masks, step) for window in windows]) for windows in split],
        axis=1,
    )
    pruned, unpruned = outputs[:-1], outputs[-1]
    shape = (len(rows), len(columns))
    return Sensitivity(
        layers=rows,
        ratios=columns,
        divergence=np.array([divergences(unpruned, cell).mean() for cell in pruned]).reshape(shape),
        first_tag=np.array([(cell.argmax(1) == unpruned.argmax(1)).mean() for cell in pruned]).reshape(shape),
        criterion=criterion_name,
        clips=len(clips),
        mean_average_precision=None
        if targets is None
        else np.array([mean_average_precision(targets, cell) for cell in pruned]).reshape(shape),
        base=None if targets is None else mean_average_precision(targets, unpruned),
    )


def mean_average_precision(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the classes that some clip carries of scikit-learn's average precision; both (clips, classes)."""
    from sklearn.metrics import average_precision_score  # 75 MB, which the pages, without labels, do not need

    carried = np.flatnonzero(targets.any(axis=0))
    return float(np.mean([average_precision_score(targets[:, c] > 0, probabilities[:, c]) for c in carried]))


def check_targets(targets: np.ndarray | None, clips: int, classes: int) -> None:
    """Raise ``PruningError`` unless there are no targets, or they fit and some clip carries a class."""
    if targets is None:
        return
    if targets.shape != (clips, classes):
        raise PruningError(
            f"The targets are (clips, classes), here {(clips, classes)}; got an array of shape {targets.shape}."
        )
    if not targets.any():
        raise PruningError(
            "None of these clips carries a class of this network, so mAP cannot be measured on them."
        )


class _Masks:
    """One group's modules, with the outputs of the channels that a ratio removes set to zero.

    A convolution whose batch norm is masked need not be: the pass then starts at the batch norm.
    """

    def __init__(self, model: Network, group: Group, scores: np.ndarray, ratios: Sequence[float]) -> None:
        self._model = model
        self._outputs = [member for member in group.members if member.axis == OUTPUTS]
        order = np.argsort(-scores, kind="stable")
        self._removed = [torch.from_numpy(order[kept_count(len(order), ratio) :].copy()) for ratio in ratios]

    def start(self, steps: Trace) -> int:
        """The first step that has a masked module."""
        return min(at for at in map(steps.position, self._masked(steps)) if at is not None)

    def modules(self, steps: Trace) -> Iterator[dict[str, Callable[[Tensor], Tensor]]]:
        """For every ratio, what takes the place of the group's modules."""
        masked = self._masked(steps)
        for removed in self._removed:
            yield {
                path: _masked(self._model.get_submodule(path), masked[path][removed].flatten())
                for path in masked
            }

    def _masked(self, steps: Trace) -> dict[str, Tensor]:
        indices = {member.path: member.index for member in self._outputs}
        used = [path for path in indices if steps.position(path) is not None]
        return {path: indices[path] for path in used if steps.norm_after(path, self._model) not in indices}


def _masked(module: nn.Module, removed: Tensor) -> Callable[[Tensor], Tensor]:
    """A module whose outputs ``removed`` are zero; those of a linear layer are its last axis, all others' are maps."""
    axis = -1 if isinstance(module, nn.Linear) else 1
    return lambda x: module(x).index_fill_(axis, removed, 0.0)


def _outputs(model: Network, window: Tensor, masks: Sequence[_Masks], step: Callable[[], None]) -> np.ndarray:
    """Probabilities (groups x ratios + 1, classes) of one window with each mask applied alone; last, of the unpruned network."""
    steps = trace(model, window.shape[1])
    starts = [each.start(steps) for each in masks]
    outputs: dict[int, list[Tensor]] = {}
    with torch.inference_mode():
        values = start_values(model.front_end(window))
        reached = 0
        for at, row in sorted(zip(starts, range(len(masks)), strict=True)):
            steps.run(model, values, start=reached, stop=at)
            reached = at
            outputs[row] = []
            for modules in masks[row].modules(steps):
                run = steps.run(model, dict(values), start=at, modules=modules, borrowed=values)
                outputs[row].append(model.activate(run))
                step()
        unpruned = model.activate(steps.run(model, values, start=reached))
    return torch.cat([*(each for row in range(len(masks)) for each in outputs[row]), unpruned]).numpy()
