"""Removing filters: a plan and a network -> a narrower network of the same class.

Removing filter j of a layer removes output channel j of its convolution, entry j of its batch norm and input channel j of
the next layer (after C12: of fc1). Nothing else changes: the output is that of the wide network with the removed feature
maps set to zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from core.checkpoints import architecture_of
from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, config_from_state, layer_modules
from core.pruning.plan import PruningPlan


def prune(model: Cnn14, plan: PruningPlan, *, share: bool = False) -> Cnn14:
    """Apply a plan.

    Parameters
    ----------
    model : Cnn14
        The network that the plan was made for; it stays as it is.
    plan : PruningPlan
        Which filters stay.
    share : bool
        Share the tensors that lose nothing with ``model``, which saves their memory and the time to copy them. For reading only:
        an in-place change of such a tensor changes both networks.

    Returns
    -------
    Cnn14
        The new network, in eval mode.

    Raises
    ------
    PruningError
        The plan is for another architecture or other widths.

    Examples
    --------
    >>> from core.models.cnn import Cnn14Config
    >>> from core.pruning.plan import plan
    >>> model = Cnn14(Cnn14Config((8,) * 12, classes=2, embedding=4))
    >>> narrow = prune(model, plan(model, {"C12": 0.75}))
    >>> tuple(narrow.convolution("C12").weight.shape), tuple(narrow.fc1.weight.shape)
    ((2, 8, 3, 3), (4, 2))
    """
    check_fits(plan, model)
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    for layer, kept in plan.kept.items():
        _remove(state, layer, torch.tensor(kept))
    with torch.device("meta"):
        pruned = Cnn14(config_from_state(state))
    if not share:
        state = {name: tensor.clone() for name, tensor in state.items()}
    pruned.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()}, assign=True)
    return pruned.eval()


def check_fits(plan: PruningPlan, model: Cnn14) -> None:
    """Raise ``PruningError`` unless the plan is for a network of this architecture and these widths."""
    name = architecture_of(model)
    if plan.architecture != name:
        raise PruningError(
            f"The plan is for a {plan.architecture}, and this network is a {name}; give the network that it was made for."
        )
    if plan.widths != model.config.widths:
        raise PruningError(
            f"The plan is for a network of widths {_join(plan.widths)}, and this one has {_join(model.config.widths)}; give the "
            "network that it was made for, or make a plan for this one."
        )


def compose(earlier: Mapping[str, Sequence[int]], plan: PruningPlan) -> dict[str, list[int]]:
    """Kept filters as indices into the ORIGINAL network, for a plan made on a network that had been pruned before.

    Examples
    --------
    >>> second = PruningPlan("cnn14", (4,) * 12, "l1", {"C12": 0.5}, {"C12": (1, 3)})
    >>> compose({"C12": [0, 2, 5, 7]}, second)
    {'C12': [2, 7]}
    """
    kept = {layer: list(indices) for layer, indices in earlier.items()}
    for layer, indices in plan.kept.items():
        base = kept.get(layer)
        kept[layer] = [base[index] for index in indices] if base else list(indices)
    return kept


def _remove(state: dict[str, Tensor], layer: str, kept: Tensor) -> None:
    block, conv, norm = layer_modules(layer)
    state[f"{block}.{conv}.weight"] = state[f"{block}.{conv}.weight"][kept]
    for entry in ("weight", "bias", "running_mean", "running_var"):
        state[f"{block}.{norm}.{entry}"] = state[f"{block}.{norm}.{entry}"][kept]
    next_weight = _next_weight(layer)
    state[next_weight] = state[next_weight][:, kept]


def _next_weight(layer: str) -> str:
    if layer == LAYERS[-1]:
        return "fc1.weight"
    block, conv, _ = layer_modules(LAYERS[LAYERS.index(layer) + 1])
    return f"{block}.{conv}.weight"


def _join(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))
