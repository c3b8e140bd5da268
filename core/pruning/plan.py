"""From ratios and scores to the filters that each layer keeps. A plan is data; ``surgery`` applies it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import ModelError, PruningError
from core.models.cnn import LAYERS, Cnn14
from core.models.registry import architecture
from core.models.widths import (
    PAPER_LAYERS,
    check_layer,
    check_ratio,
    check_round_to,
    kept_widths,
)
from core.pruning.criteria import criterion, layer_importance
from core.pruning.ratios import in_layer_order
from core.pruning.similarity import similarity_kept

FORMAT = 1
"""Version of a plan's document; other versions are refused."""

MAX_BYTES = 4 * 2**20
"""A longer text is not a plan: with every filter of CNN14 kept it has 50 kB."""

_ARCHITECTURE = "cnn14"


@dataclass(frozen=True)
class PruningPlan:
    """Which filters of a network stay, and how they were chosen.

    Attributes
    ----------
    architecture : str
        The registry's name of the network that it is for.
    widths : tuple of int
        That network's filters in C1..C12, before pruning.
    criterion : str
        The criterion that ranked the filters.
    ratios : dict of str to float
        Layer -> pruning ratio, in [0, 1), in the network's order.
    kept : dict of str to tuple of int
        Layer -> ascending indices of the filters that stay; layers that keep everything are left out.
    round_to : int
        Kept filters were rounded to a multiple of this (``widths.kept_count``).
    origin : dict
        How the ratios were chosen, plain JSON: {"method": "uniform", "per-layer", "budget", "tolerance" or "similarity", …}.

    Raises
    ------
    PruningError
        An unknown layer or criterion, indices that do not fit the widths, or a layer without filters.
    """

    architecture: str
    widths: tuple[int, ...]
    criterion: str
    ratios: dict[str, float] = field(hash=False)
    kept: dict[str, tuple[int, ...]] = field(hash=False)
    round_to: int = 1
    origin: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        layers = _layers_of(self.architecture)
        if len(self.widths) != len(layers) or min(self.widths) < 1:
            raise PruningError(
                f"A plan for {self.architecture} says how many filters each of its {len(layers)} layers has; "
                f"got the widths {list(self.widths)}."
            )
        criterion(self.criterion)
        check_round_to(self.round_to)
        for layer, ratio in self.ratios.items():
            check_layer(layer, layers)
            check_ratio(ratio)
        for layer, kept in self.kept.items():
            check_layer(layer, layers)
            _check_kept(layer, kept, self.widths[layers.index(layer)])

    @property
    def ratio(self) -> float | None:
        """The ratio of all pruned layers, 0 if none is pruned; None where they differ."""
        shared = set(self.ratios.values())
        return None if len(shared) > 1 else next(iter(shared), 0.0)

    @property
    def after(self) -> tuple[int, ...]:
        """The widths of C1..C12 after pruning."""
        return tuple(
            len(self.kept.get(layer, range(width))) for layer, width in zip(LAYERS, self.widths, strict=True)
        )

    def document(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "widths": list(self.widths),
            "criterion": self.criterion,
            "ratios": dict(self.ratios),
            "round_to": self.round_to,
            "kept": {layer: list(kept) for layer, kept in self.kept.items()},
            "origin": self.origin,
        }

    def text(self) -> str:
        """The plan's file: JSON, the indices of a layer in one line."""
        document = self.document()
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items() if key != "kept"
        ]
        kept = ",\n".join(
            f"    {json.dumps(layer)}: {json.dumps(indices)}" for layer, indices in document["kept"].items()
        )
        lines.append(f'  "kept": {{\n{kept}\n  }}' if kept else '  "kept": {}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_document(cls, document: Any) -> PruningPlan:
        """Read ``document()`` back, ignoring unknown entries; raises ``PruningError`` for a damaged one."""
        if not isinstance(document, dict) or not {"format", "widths", "kept"} <= document.keys():
            raise PruningError(
                "This is not a pruning plan; give a JSON file that `pannscope prune --save-plan` wrote."
            )
        if document["format"] != FORMAT:
            raise PruningError(
                f"This plan has format {str(document['format'])[:20]!r} and this Pannscope reads {FORMAT}; update Pannscope, or "
                "make a new plan."
            )
        try:
            return cls(
                architecture=_text(document["architecture"]),
                widths=_whole(document["widths"]),
                criterion=_text(document["criterion"]),
                ratios=in_layer_order(
                    {layer: _number(share) for layer, share in _object(document["ratios"]).items()}
                ),
                kept=in_layer_order(
                    {layer: _whole(kept) for layer, kept in _object(document["kept"]).items()}
                ),
                round_to=_whole([document["round_to"]])[0],
                origin=_plain(document["origin"]),
            )
        except KeyError as error:
            raise PruningError(f"The plan is damaged: it has no {error.args[0]!r}.") from error
        except ValueError as error:
            raise PruningError(f"The plan is damaged: {error}.") from error

    @classmethod
    def from_text(cls, text: str) -> PruningPlan:
        """Read ``text()`` back; raises ``PruningError`` for a text that is not a plan, or a damaged one."""
        if len(text) > MAX_BYTES:
            raise PruningError(f"This is not a pruning plan: it has more than {MAX_BYTES // 2**20} MB.")
        try:
            document = json.loads(text, parse_constant=_reject_constant)
        except (ValueError, RecursionError) as error:
            raise PruningError(
                f"This is not a pruning plan: it cannot be read as JSON ({str(error)[:80]})."
            ) from error
        return cls.from_document(document)


def keep_best(scores: np.ndarray, count: int) -> tuple[int, ...]:
    """Ascending indices of the ``count`` largest scores (filters,); of equal scores the earlier filter stays."""
    return tuple(sorted(int(index) for index in np.argsort(-scores, kind="stable")[:count]))


def plan(
    model: Cnn14,
    ratios: float | Mapping[str, float],
    layers: Sequence[str] = PAPER_LAYERS,
    criterion_name: str = "operator-norm",
    *,
    round_to: int = 1,
    scores: Callable[[str], np.ndarray] | None = None,
    origin: dict[str, Any] | None = None,
) -> PruningPlan:
    """Choose the filters that stay; each layer is scored on its own, from the weights as they are now.

    Parameters
    ----------
    model : Cnn14
        The network, which is not changed.
    ratios : float or mapping of str to float
        Pruning ratio: one for all of ``layers``, or one per layer (``layers`` is not used then).
    layers : sequence of str
        Which layers one ratio applies to.
    criterion_name : str
        How filters are ranked, a key of ``criteria.CRITERIA``.
    round_to : int
        Round the number of kept filters to a multiple of this.
    scores : callable, optional
        Layer -> (filters,) scores by that criterion, where the caller has them already.
    origin : dict, optional
        The plan's ``origin``; by default its method is "uniform" or "per-layer".

    Raises
    ------
    PruningError
        An impossible ratio or rounding, an unknown criterion or layer.

    Examples
    --------
    >>> from core.models.cnn import Cnn14Config
    >>> model = Cnn14(Cnn14Config((8,) * 12, classes=2, embedding=4))
    >>> halved = plan(model, 0.5)
    >>> halved.after
    (8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4)
    >>> [(layer, len(kept)) for layer, kept in plan(model, {"C1": 0.25, "C2": 0.75}).kept.items()]
    [('C1', 6), ('C2', 2)]
    """
    if isinstance(ratios, Mapping):
        by_layer, method = dict(ratios), "per-layer"
    else:
        by_layer, method = dict.fromkeys(layers, check_ratio(ratios)), "uniform"
    widths = model.config.widths
    after = kept_widths(widths, by_layer, round_to)
    criterion(criterion_name)
    kept = {}
    for layer, width, count in zip(LAYERS, widths, after, strict=True):
        if count < width:
            importance = scores(layer) if scores else layer_importance(model, layer, criterion_name)
            kept[layer] = keep_best(importance, count)
    return PruningPlan(
        _ARCHITECTURE,
        widths,
        criterion_name,
        in_layer_order({layer: float(ratio) for layer, ratio in by_layer.items() if ratio > 0}),
        kept,
        round_to,
        {"method": method} if origin is None else origin,
    )


def similarity_plan(model: Cnn14, layers: Sequence[str] = PAPER_LAYERS) -> PruningPlan:
    """The published similarity method, which needs no ratio: of a group of similar filters one stays.

    The plan's ``ratios`` are the resulting ones. Raises ``PruningError`` for an unknown layer.
    """
    kept, ratios = {}, {}
    for layer in LAYERS:
        if layer in {check_layer(name, LAYERS) for name in layers}:
            weight = model.convolution(layer).weight.detach().cpu().numpy()
            indices = similarity_kept(weight)
            if len(indices) < len(weight):
                kept[layer] = indices
                ratios[layer] = 1 - len(indices) / len(weight)
    return PruningPlan(
        _ARCHITECTURE, model.config.widths, "similarity", ratios, kept, origin={"method": "similarity"}
    )


def _layers_of(name: str) -> tuple[str, ...]:
    try:
        return architecture(name).layers
    except ModelError as error:
        raise PruningError(f"The plan is for an architecture that cannot be pruned here: {error}") from error


def _check_kept(layer: str, kept: Sequence[int], filters: int) -> None:
    if not kept:
        raise PruningError(f"The plan would leave {layer} without filters; at least one has to stay.")
    if list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= filters:
        raise PruningError(
            f"The plan's kept filters of {layer} do not fit its {filters} filters: they must be ascending, each once, "
            f"from 0 to {filters - 1}."
        )


def _reject_constant(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"an object expected instead of {str(value)[:40]!r}")
    return value


def _plain(value: Any) -> dict[str, Any]:
    """An object whose numbers are all finite, as JSON has them (1e999 is read as infinity)."""
    json.dumps(value, allow_nan=False)
    return _object(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text expected instead of {str(value)[:40]!r}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not -1e9 < value < 1e9:
        raise ValueError(f"a number expected instead of {str(value)[:40]!r}")
    return float(value)


def _whole(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(
        type(value) is int and abs(value) < 1 << 31 for value in values
    ):
        raise ValueError(f"a list of whole numbers expected instead of {str(values)[:40]!r}")
    return tuple(values)
