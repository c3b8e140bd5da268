"""What stays: from ratios and scores to the kept filters of each layer. A plan is data; ``surgery`` carries it out."""

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
"""Version of a plan's document; one of another version is refused rather than guessed at."""

MAX_BYTES = 4 * 2**20
"""A longer text is no plan: with every filter of CNN14 kept it has 50 kB."""

_ARCHITECTURE = "cnn14"


@dataclass(frozen=True)
class PruningPlan:
    """Which filters of a network stay, how they were chosen, and how the choice came about.

    Attributes
    ----------
    architecture, widths : the network that it is for: the registry's name, and the filters of C1..C12 as they are before.
    criterion : the criterion that ranked the filters.
    ratios : layer -> the asked share of its filters that goes, above 0 and below 1, in the network's order.
    kept : layer -> indices into the layer as it was, ascending; layers that keep everything are not in it.
    round_to : kept filters were rounded to a multiple of this (``kept_count``).
    origin : how the ratios were found, plain JSON: {"method": "uniform", "per-layer", "budget", "tolerance" or "similarity", …}.

    Raises
    ------
    PruningError
        If anything of it is impossible: an unknown layer or criterion, indices that do not fit the widths, a layer left empty.
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
        """The one ratio that all pruned layers share, 0 where none loses anything; None where they differ."""
        shared = set(self.ratios.values())
        return None if len(shared) > 1 else next(iter(shared), 0.0)

    @property
    def after(self) -> tuple[int, ...]:
        """The widths of C1..C12 that the plan leaves."""
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
        """The plan as a file holds it: JSON, the indices of a layer in one line."""
        document = self.document()
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items() if key != "kept"
        ]
        kept = ",\n".join(
            f"    {json.dumps(layer)}: {json.dumps(each)}" for layer, each in document["kept"].items()
        )
        lines.append(f'  "kept": {{\n{kept}\n  }}' if kept else '  "kept": {}')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_document(cls, document: Any) -> PruningPlan:
        """Read ``document()`` back; entries that it does not know are left alone. Raises ``PruningError`` for anything damaged."""
        if not isinstance(document, dict) or not {"format", "widths", "kept"} <= document.keys():
            raise PruningError(
                "This is no pruning plan; give a JSON file that `pannscope prune --save-plan` wrote."
            )
        if document["format"] != FORMAT:
            raise PruningError(
                f"This plan has format {str(document['format'])[:20]!r} and this Pannscope reads {FORMAT}; update Pannscope, or "
                "make the plan again."
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
            raise PruningError(f"The plan is damaged: it does not say its {error.args[0]!r}.") from error
        except ValueError as error:
            raise PruningError(f"The plan is damaged: {error}.") from error

    @classmethod
    def from_text(cls, text: str) -> PruningPlan:
        """Read ``text()`` back; raises ``PruningError`` for what is no plan, or a damaged one."""
        if len(text) > MAX_BYTES:
            raise PruningError(f"This is no pruning plan: it has more than {MAX_BYTES // 2**20} MB.")
        try:
            document = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise PruningError(
                f"This is no pruning plan: it cannot be read as JSON ({str(error)[:80]})."
            ) from error
        return cls.from_document(document)


def keep_best(scores: np.ndarray, count: int) -> tuple[int, ...]:
    """Indices of the ``count`` largest scores, ascending; of equal scores the earlier filter stays."""
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
    """Choose the filters that stay: each layer is scored on its own, from the weights as they are now.

    Parameters
    ----------
    model : the network, which is not changed.
    ratios : the share of filters that goes: one for all of ``layers``, or one a layer (``layers`` is not used then).
    criterion_name, round_to : by which ranking, and to which multiple the widths are rounded.
    scores : layer -> (filters,) scores by that criterion, where the caller has them already.
    origin : the plan's ``origin``; by default it says whether one ratio was given or several.

    Raises
    ------
    PruningError
        An impossible ratio or rounding, an unknown criterion or layer.
    """
    if isinstance(ratios, Mapping):
        asked, method = dict(ratios), "per-layer"
    else:
        asked, method = dict.fromkeys(layers, check_ratio(ratios)), "uniform"
    widths = model.config.widths
    after = kept_widths(widths, asked, round_to)
    criterion(criterion_name)
    kept = {}
    for layer, width, count in zip(LAYERS, widths, after, strict=True):
        if count < width:
            found = scores(layer) if scores else layer_importance(model, layer, criterion_name)
            kept[layer] = keep_best(found, count)
    return PruningPlan(
        _ARCHITECTURE,
        widths,
        criterion_name,
        in_layer_order({layer: float(ratio) for layer, ratio in asked.items() if ratio > 0}),
        kept,
        round_to,
        {"method": method} if origin is None else origin,
    )


def similarity_plan(model: Cnn14, layers: Sequence[str] = PAPER_LAYERS) -> PruningPlan:
    """The published similarity method, which is given no ratio: of filters that say almost the same, one stays.

    The plan's ``ratios`` are what came of it. Raises ``PruningError`` for an unknown layer.
    """
    kept, ratios = {}, {}
    for layer in LAYERS:
        if layer in {check_layer(each, LAYERS) for each in layers}:
            weight = model.convolution(layer).weight.detach().cpu().numpy()
            found = similarity_kept(weight)
            if len(found) < len(weight):
                kept[layer] = found
                ratios[layer] = 1 - len(found) / len(weight)
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


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


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
