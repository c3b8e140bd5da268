"""From ratios and scores to the filters that stay. A plan is data; ``surgery`` applies it.

What is chosen is a group (``core.models.groups``): layers that share their channels, called by the first of them. CNN14's layers are
groups of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.checkpoints import architecture_of
from core.errors import ModelError, PruningError
from core.models.groups import by_group, chosen_layers, couplings, group_of, groups
from core.models.network import Network
from core.models.registry import architecture
from core.models.widths import check_ratio, check_round_to, kept_count
from core.pruning.criteria import criterion, group_importance, group_weights
from core.pruning.ratios import in_layer_order
from core.pruning.similarity import similarity_kept

FORMAT = 2
"""Version of a plan's document. Version 1, of CNN14 alone, had no groups and is read, too; others are refused."""

_READ = (1, FORMAT)

MAX_BYTES = 4 * 2**20
"""A longer text is not a plan: with every filter of CNN14 kept it has 50 kB."""


@dataclass(frozen=True)
class PruningPlan:
    """Which filters of a network stay, and how they were chosen.

    Attributes
    ----------
    architecture : str
        The registry's name of the network that it is for.
    widths : tuple of int
        That network's filters in each layer, before pruning.
    criterion : str
        The criterion that ranked the filters.
    ratios : dict of str to float
        Group -> pruning ratio, in [0, 1), in the network's order.
    kept : dict of str to tuple of int
        Group -> ascending indices of the filters that stay; groups that keep everything are left out.
    round_to : int
        Kept filters were rounded to a multiple of this (``widths.kept_count``).
    origin : dict
        How the ratios were chosen, plain JSON: {"method": "uniform", "per-layer", "budget", "tolerance" or "similarity", …}.

    Raises
    ------
    PruningError
        An unknown group or criterion, indices that do not fit the widths, or a layer without filters.
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
        for group, ratio in self.ratios.items():
            _check_group(self.architecture, group)
            check_ratio(ratio)
        for group, kept in self.kept.items():
            _check_group(self.architecture, group)
            _check_kept(group, kept, self.widths[layers.index(group)])

    @property
    def ratio(self) -> float | None:
        """The ratio of all pruned layers, 0 if none is pruned; None where they differ."""
        shared = set(self.ratios.values())
        return None if len(shared) > 1 else next(iter(shared), 0.0)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The layers of each group that has a ratio or loses filters."""
        touched = {*self.ratios, *self.kept}
        return {group: layers for group, layers in couplings(self.architecture).items() if group in touched}

    @property
    def after(self) -> tuple[int, ...]:
        """The layers' widths after pruning."""
        kept = {layer: self.kept.get(group) for group, layers in self.groups.items() for layer in layers}
        return tuple(
            width if (stays := kept.get(layer)) is None else len(stays)
            for layer, width in zip(_layers_of(self.architecture), self.widths, strict=True)
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
            "groups": {group: list(layers) for group, layers in self.groups.items()},
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
        """Read ``document()`` of this or an earlier version, ignoring unknown entries; raises ``PruningError`` for a damaged one."""
        if not isinstance(document, dict) or not {"format", "widths", "kept"} <= document.keys():
            raise PruningError(
                "This is not a pruning plan; give a JSON file that `pannscope prune --save-plan` wrote."
            )
        if document["format"] not in _READ:
            raise PruningError(
                f"This plan has format {str(document['format'])[:20]!r} and this Pannscope reads {' and '.join(map(str, _READ))}; "
                "update Pannscope, or make a new plan."
            )
        try:
            name = _text(document["architecture"])
            layers = _layers_of(name)
            ratios = {group: _number(share) for group, share in _object(document["ratios"]).items()}
            kept = {group: _whole(stays) for group, stays in _object(document["kept"]).items()}
            plan = cls(
                architecture=name,
                widths=_whole(document["widths"]),
                criterion=_text(document["criterion"]),
                ratios=in_layer_order(ratios, layers),
                kept=in_layer_order(kept, layers),
                round_to=_whole([document["round_to"]])[0],
                origin=_plain(document["origin"]),
            )
            if document["format"] == FORMAT:
                _check_groups(_object(document["groups"]), plan)
            return plan
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
    model: Network,
    ratios: float | Mapping[str, float],
    layers: Sequence[str] | None = None,
    criterion_name: str = "operator-norm",
    *,
    round_to: int = 1,
    scores: Callable[[str], np.ndarray] | None = None,
    origin: dict[str, Any] | None = None,
) -> PruningPlan:
    """Choose the filters that stay; each group is scored on its own, from the weights as they are now.

    Parameters
    ----------
    model : Network
        The network, which is not changed.
    ratios : float or mapping of str to float
        Pruning ratio: one for all of ``layers``, or one per layer (``layers`` is not used then). A layer stands for its group.
    layers : sequence of str, optional
        Which layers one ratio applies to; by default those of the architecture's entry.
    criterion_name : str
        How filters are ranked, a key of ``criteria.CRITERIA``.
    round_to : int
        Round the number of kept filters to a multiple of this.
    scores : callable, optional
        Group -> (filters,) scores by that criterion, where the caller has them already.
    origin : dict, optional
        The plan's ``origin``; by default its method is "uniform" or "per-layer".

    Raises
    ------
    PruningError
        An impossible ratio or rounding, an unknown criterion or layer, or different ratios for layers of one group.

    Examples
    --------
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> model = Cnn14(Cnn14Config((8,) * 12, classes=2, embedding=4))
    >>> halved = plan(model, 0.5)
    >>> halved.after
    (8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4)
    >>> [(layer, len(kept)) for layer, kept in plan(model, {"C1": 0.25, "C2": 0.75}).kept.items()]
    [('C1', 6), ('C2', 2)]
    """
    name = architecture_of(model)
    if isinstance(ratios, Mapping):
        by_layer, method = dict(ratios), "per-layer"
    else:
        by_layer, method = dict.fromkeys(chosen_layers(name, layers), check_ratio(ratios)), "uniform"
    chosen = by_group(name, by_layer)
    criterion(criterion_name)
    check_round_to(round_to)
    kept = {}
    for group in groups(name, model.config):
        count = kept_count(group.channels, chosen.get(group.name, 0.0), round_to)
        if count < group.channels:
            importance = scores(group.name) if scores else group_importance(model, group.name, criterion_name)
            kept[group.name] = keep_best(importance, count)
    return PruningPlan(
        name,
        model.config.widths,
        criterion_name,
        {group: float(ratio) for group, ratio in chosen.items() if ratio > 0},
        kept,
        round_to,
        {"method": method} if origin is None else origin,
    )


def similarity_plan(model: Network, layers: Sequence[str] | None = None) -> PruningPlan:
    """The published similarity method, which needs no ratio: of a group of similar filters one stays.

    Layers that share their channels are decided together (``similarity.similarity_kept``). The plan's ``ratios`` are the resulting ones.
    Raises ``PruningError`` for an unknown layer.
    """
    name = architecture_of(model)
    chosen = {group_of(name, layer) for layer in chosen_layers(name, layers)}
    kept, ratios = {}, {}
    for group in groups(name, model.config):
        if group.name in chosen:
            indices = similarity_kept(*group_weights(model, group.name).values())
            if len(indices) < group.channels:
                kept[group.name] = indices
                ratios[group.name] = 1 - len(indices) / group.channels
    return PruningPlan(name, model.config.widths, "similarity", ratios, kept, origin={"method": "similarity"})


def _layers_of(name: str) -> tuple[str, ...]:
    try:
        return architecture(name).layers
    except ModelError as error:
        raise PruningError(f"The plan is for an architecture that cannot be pruned here: {error}") from error


def _check_group(name: str, layer: str) -> None:
    group = group_of(name, layer)
    if group != layer:
        raise PruningError(
            f"{layer} shares its filters with {group}, and a plan has them under that name; give {group}."
        )


def _check_groups(groups: dict[str, Any], plan: PruningPlan) -> None:
    for group, layers in plan.groups.items():
        if groups.get(group) != list(layers):
            raise PruningError(
                f"The plan was made where {group} shared its filters with other layers than here; make a new plan."
            )


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
