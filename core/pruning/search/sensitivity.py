"""Sensitivity: the loss of each layer pruned alone, measured on clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.compare import divergences
from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14
from core.models.widths import check_layer, check_ratio, kept_count
from core.pruning.criteria import criterion, layer_importance
from core.pruning.ratios import in_layer_order
from core.windows import split_windows, validate_waveform, window_mean, windows

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
    model: Cnn14,
    waveforms: Sequence[np.ndarray],
    *,
    layers: Sequence[str] = LAYERS,
    ratios: Sequence[float] = RATIOS,
    criterion_name: str = "operator-norm",
    targets: np.ndarray | None = None,
    scores: Callable[[str], np.ndarray] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prune each layer alone at each ratio and compare the output with the unpruned network's.

    A removed filter's feature map is set to zero, which is what removing it does (``surgery``), and the network runs from that
    layer on only. One window of one clip is in memory at a time.

    Parameters
    ----------
    model : Cnn14
        The unpruned network.
    waveforms : sequence of (samples,) array of float
        Clips at 32 kHz, of any length.
    layers, ratios : sequences of str and float
        What to measure.
    criterion_name : str
        How filters are ranked.
    targets : (clips, classes) array, optional
        True where a clip carries the class: then mean average precision is measured, too.
    scores : callable, optional
        Layer -> (filters,) scores by that criterion, where the caller has them already.
    on_progress : callable, optional
        Called with (done, total) after every run; an exception that it raises ends the measurement.

    Raises
    ------
    PruningError
        No clips, no ratio, an impossible ratio, an unknown layer or criterion, or targets that do not fit the clips.
    """
    criterion(criterion_name)
    rows = tuple(in_layer_order({check_layer(layer, LAYERS): None for layer in layers}, LAYERS))
    columns = tuple(sorted({check_ratio(ratio) for ratio in ratios}))
    if not waveforms or not rows or not columns:
        raise PruningError("Sensitivity is measured on clips, layers and ratios; give at least one of each.")
    clips = [validate_waveform(waveform) for waveform in waveforms]
    check_targets(targets, len(clips), model.config.classes)
    masks = {layer: _masks(model, layer, columns, criterion_name, scores) for layer in rows}
    done, total = 0, sum(len(windows(len(clip))) for clip in clips) * len(rows) * len(columns)

    def step() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, total)

    outputs = np.stack(
        [
            window_mean([_outputs(model, window, masks, step) for window in split_windows(clip)])
            for clip in clips
        ],
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


def _masks(
    model: Cnn14,
    layer: str,
    ratios: Sequence[float],
    criterion_name: str,
    scores: Callable[[str], np.ndarray] | None,
) -> list[Tensor]:
    """One mask (1, filters, 1, 1) per ratio for a layer's feature maps: 1 where the filter stays, else 0."""
    ranked = scores(layer) if scores else layer_importance(model, layer, criterion_name)
    order = torch.from_numpy(np.argsort(-ranked, kind="stable").copy())
    masks = []
    for ratio in ratios:
        mask = torch.zeros(len(order))
        mask[order[: kept_count(len(order), ratio)]] = 1.0
        masks.append(mask.view(1, -1, 1, 1))
    return masks


def _outputs(
    model: Cnn14, window: Tensor, masks: dict[str, list[Tensor]], step: Callable[[], None]
) -> np.ndarray:
    """Probabilities (layers x ratios + 1, classes) of one window with each mask applied alone; last, of the unpruned network."""
    outputs = []
    with torch.inference_mode():
        x = model.normalize(model.front_end(window))
        for layer in LAYERS:
            x = model.layer(layer, x)
            for mask in masks.get(layer, ()):
                outputs.append(_from_layer(model, layer, x * mask))
                step()
        outputs.append(_from_layer(model, LAYERS[-1], x))
    return torch.cat(outputs).numpy()


def _from_layer(model: Cnn14, layer: str, x: Tensor) -> Tensor:
    """Probabilities (1, classes) from the output of ``layer``, (1, filters, frames, bands)."""
    for later in LAYERS[LAYERS.index(layer) + 1 :]:
        x = model.layer(later, x)
    return torch.sigmoid(model.head(x))
