"""The network's weights in a checkpoint, wherever the usual tools put them, and what else the file says about the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from torch import Tensor

from core.checkpoints.claims import Skipped, StorageClaim, TensorClaim
from core.checkpoints.info import KEY
from core.checkpoints.weights import WeightFile
from core.errors import CheckpointError
from core.models.recognition import anchors, marked
from core.models.registry import Architecture

_USUAL = ("model", "state_dict", "model_state_dict")
"""Where PANNs, Lightning and PyTorch's own tutorials put a state dict; looked at before other places."""

_DEPTH = 4
_MOST_DESCRIPTIONS = 100
_CLASS_KEYS = ("classes", "class_names", "labels", "label_names", "id2label", "index_to_label")
_HEAD, _TRANSFER_HEAD = "fc_audioset.", "fc_transfer."
"""The output layer; PANNs' Transfer_Cnn14 keeps the original one inside its ``base`` and adds its own."""

_BOOKKEEPING = ("total_ops", "total_params", "n_averaged")
"""Counters that thop's profile and torch.optim.swa_utils leave in a network."""

_ORIGINAL, _MASK = "_orig", "_mask"
"""torch.nn.utils.prune keeps a pruned tensor as two: their product is the weight."""


@dataclass(frozen=True)
class Selection:
    """The weights that were chosen in a file.

    Attributes
    ----------
    claims : name in the network -> tensor.
    masks : name in the network -> mask to multiply it with.
    notes : what was skipped, in sentences.
    """

    claims: dict[str, TensorClaim]
    masks: dict[str, TensorClaim] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def tensors(self, file: WeightFile, names: Iterable[str]) -> dict[str, Tensor]:
        """Those of the weights ``names`` that there are, their masks multiplied out. Raises ``CheckpointError``."""
        wanted = {name: self.claims[name] for name in names if name in self.claims}
        masks = {name + _MASK: mask for name, mask in self.masks.items() if name in wanted}
        stored = file.tensors(wanted | masks)
        for name in masks:
            weight = name.removesuffix(_MASK)
            stored[weight] = stored[weight] * stored.pop(name)
        return stored


def select(file: WeightFile) -> Selection:
    """Find the network's weights in a file. Raises ``CheckpointError``, whose message lacks the file's name."""
    holding = [place for place in places(file.root) if any(map(_is_tensor, place[1].values()))]
    if not holding:
        raise CheckpointError(_without_weights(file.root))
    path, state, prefix, others = _start(holding) if file.metadata is None else (*holding[0], "", ())
    notes = []
    beside = _beside(file.root, path)
    if beside:
        notes.append(f"Read from {'.'.join(path)!r}; skipped without running anything: {_named(beside)}.")
    inside = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if _is_tensor(value)
        and isinstance(name, str)
        and name.startswith(prefix)
        and not name.startswith(others)
    }
    outside = [str(name) for name in state if str(name).removeprefix(prefix) not in inside]
    head = _transfer_head(state)
    if head is not None:
        inside |= {_HEAD + end: state[head + end] for end in ("weight", "bias") if head + end in state}
        outside = [name for name in outside if not name.startswith(head)]
        notes.append(
            f"Its output layer is {head.removesuffix('.')!r}, whose outputs are taken as sigmoids, as a tagger's are: PANNs' own "
            "transfer recipe trains them with a softmax."
        )
    if outside:
        notes.append(
            f"Skipped what is no weight of the network{f' under {prefix!r}' * bool(prefix)}: {_named(outside)}."
        )
    counters = [name for name in inside if name.rpartition(".")[2] in _BOOKKEEPING]
    if counters:
        notes.append(f"Skipped {len(counters)} bookkeeping tensors: {_named(counters)}.")
    weights = {name: value for name, value in inside.items() if name not in counters}
    return _unmasked(weights, notes)


def class_names(file: WeightFile, outputs: int) -> list[str] | None:
    """The names of ``outputs`` classes, where the file has them: a list, or a mapping from position to name."""
    for source in islice(_descriptions(file), _MOST_DESCRIPTIONS):
        for key in _CLASS_KEYS:
            names = _names(source.get(key), outputs)
            if names is not None:
                return names
    return None


def description(file: WeightFile) -> dict[str, Any]:
    """What Pannscope's export wrote into a state dict; empty for other files."""
    described = _json(file.notes.get(KEY, ""))
    return described if isinstance(described, dict) else {}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, TensorClaim)


def _start(
    holding: Sequence[tuple[tuple[str, ...], dict[Any, Any]]],
) -> tuple[tuple[str, ...], dict[Any, Any], str, tuple[str, ...]]:
    """The first place that holds a network, and ``_prefixes`` of its names; the first of all where none is known."""
    for anchor in anchors():
        for path, state in holding:
            if any(_is_anchor(name, anchor) for name in state):
                return path, state, *_prefixes(state, anchor)
    return *holding[0], "", ()


def _is_anchor(name: Any, anchor: str) -> bool:
    return isinstance(name, str) and (name == anchor or name.endswith("." + anchor))


def places(root: Any) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """Every dict of a file down to ``_DEPTH``, usual places first, with its keys from the top."""
    level: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        dicts = []
        for path, value in level:
            if (
                isinstance(value, dict) and id(value) not in seen
            ):  # a hostile file nests one in many, or in itself
                seen.add(id(value))
                dicts.append((path, value))
        yield from dicts
        level = [
            ((*path, str(key)), value[key])
            for path, value in dicts
            for key in sorted(value, key=lambda key: key not in _USUAL)
            if isinstance(value[key], dict)
        ]


def _beside(root: dict[Any, Any], path: tuple[str, ...]) -> list[str]:
    """What lies beside a state dict, level by level, with its type where it is an object."""
    names: list[str] = []
    for key in path:
        for other, value in root.items():
            if str(other) != key:
                names.append(f"{other} ({value.kind})" if isinstance(value, Skipped) else str(other))
        root = root[key]
    return names


def _prefixes(state: Mapping[Any, Any], anchor: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the network's names, and what stands before those of copies inside it (an average of the weights)."""
    prefixes = sorted((name.removesuffix(anchor) for name in state if _is_anchor(name, anchor)), key=len) or [
        ""
    ]
    first, *others = prefixes
    if not all(other.startswith(first) for other in others):
        listed = _named([repr(prefix) for prefix in prefixes[:6]])
        raise CheckpointError(
            f"holds {len(prefixes)} networks, under {listed}; save the state dict of one of them"
        )
    return first, tuple(others)


def _transfer_head(state: Mapping[Any, Any]) -> str | None:
    end = _TRANSFER_HEAD + "weight"
    heads = [
        name.removesuffix("weight")
        for name in state
        if isinstance(name, str) and name.split(".")[-2:] == end.split(".")
    ]
    return heads[0] if len(heads) == 1 else None


def _unmasked(weights: dict[str, Any], notes: list[str]) -> Selection:
    """Check every tensor, and pair the pruned ones with their masks."""
    masks = {
        name.removesuffix(_MASK): value
        for name, value in weights.items()
        if name.endswith(_MASK) and name.removesuffix(_MASK) + _ORIGINAL in weights
    }
    claims = {}
    for name, value in weights.items():
        plain = name.removesuffix(_ORIGINAL)
        if name.removesuffix(_MASK) in masks and name.endswith(_MASK):
            continue
        claims[plain if plain in masks else name] = _checked(name, value)
    for name, mask in masks.items():
        if _checked(name + _MASK, mask).shape != claims[name].shape:
            raise CheckpointError(f"is damaged: the mask of {name[:60]!r} has another shape than its weights")
    if masks:
        notes.append(f"Multiplied the masks of torch.nn.utils.prune out: {_named(list(masks))}.")
    entry = marked(claims)
    if entry is not None:
        unused = [name for name in claims if not entry.names(name)]
        if unused:
            notes.append(f"Skipped what {entry.title} has no use for: {_named(unused)}.")
        claims, masks = _renamed(entry, claims), _renamed(entry, masks)
    return Selection(claims, masks, tuple(notes))


def _renamed(entry: Architecture, claims: Mapping[str, TensorClaim]) -> dict[str, TensorClaim]:
    """Tensors under the network's names."""
    result: dict[str, TensorClaim] = {}
    for theirs, claim in claims.items():
        names = entry.names(theirs)
        if len(names) > 1 and (not claim.shape or claim.shape[0] % len(names)):
            raise CheckpointError(f"is damaged: {theirs[:60]!r} is not {len(names)} tensors of one shape")
        for number, name in enumerate(names):
            if name in result:
                raise CheckpointError(f"holds {name[:60]!r} twice, under two names; save one network")
            result[name] = claim.part(number, len(names)) if len(names) > 1 else claim
    return result


def _checked(name: str, value: Any) -> TensorClaim:
    shown = name[:60]
    if not isinstance(value, TensorClaim):
        kind = value.kind if isinstance(value, Skipped) else type(value).__name__
        raise CheckpointError(f"is not a state dict: {shown!r} is a {kind}, not a tensor")
    if 0 in value.shape:
        raise CheckpointError(f"is damaged: {shown!r} has no elements")
    if not value.dense:
        raise CheckpointError(
            f"holds {shown!r} as a view of another tensor (its strides leave holes or overlap); save it again after .clone()"
        )
    return value


def _without_weights(root: Any) -> str:
    if not isinstance(root, dict):
        kind = root.kind if isinstance(root, Skipped) else type(root).__name__
        kind = "tensor" if isinstance(root, TensorClaim | StorageClaim) else kind
        return f"holds a {kind} instead of a state dict; nothing was executed. Save model.state_dict()"
    names = [
        f"{key!a} ({value.kind})" if isinstance(value, Skipped) else ascii(key) for key, value in root.items()
    ]
    return f"holds no weights: it has {_named(names) or 'nothing'}, and a state dict is expected on top or under {', '.join(_USUAL)}"


def _descriptions(file: WeightFile) -> Iterator[Mapping[Any, Any]]:
    """Dicts that may name the classes: our description, other texts of the file, and what lies beside the weights."""
    yield description(file)
    yield {key: _json(text) for key, text in file.notes.items()}
    for _path, place in places(file.root):
        yield place


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _names(value: Any, outputs: int) -> list[str] | None:
    """Class names in a list of names, in Pannscope's own [{"index", "name"}, …], or in a mapping from 0, 1, 2 … to names."""
    if not isinstance(value, dict | list | tuple) or len(value) != outputs:
        return None
    if isinstance(value, dict):
        value = [value.get(number, value.get(str(number))) for number in range(outputs)]
    listed = (item.get("name") if isinstance(item, dict) else item for item in value)
    names = {name: None for name in listed if isinstance(name, str) and name.strip()}
    return list(names) if len(names) == outputs else None


def _named(names: list[str]) -> str:
    """The first five names, on one line."""
    shown = ", ".join(name[:60] if name.isprintable() else ascii(name)[:60] for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
