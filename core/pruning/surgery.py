"""Removing filters for real: a plan and a network -> a narrower network of the same class.

Removing filter j of a layer removes output channel j of its convolution, entry j of its batch norm and input channel j of
what follows (after C12: of fc1). Nothing else changes: the narrow network computes what the wide one does with the
removed feature maps set to zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, config_from_state, layer_modules
from core.pruning.plan import PruningPlan


def prune(model: Cnn14, plan: PruningPlan) -> Cnn14:
    """Carry a plan out and return the new network, in eval mode; ``model`` is left as it is.

    Raises
    ------
    PruningError
        If the plan names layers or filters that this network does not have, or would leave a layer empty.
    """
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    for layer, kept in plan.kept.items():
        if layer not in LAYERS:
            raise PruningError(
                f"The plan prunes {layer}, which CNN14 does not have; its convolutions are C1 to C12."
            )
        _remove(state, layer, _checked(layer, kept, model.convolution(layer).out_channels))
    pruned = Cnn14(config_from_state(state))
    # Clones: a slice that kept everything would share its memory with the original network.
    pruned.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
    return pruned.eval()


def compose(earlier: Mapping[str, Sequence[int]], plan: PruningPlan) -> dict[str, list[int]]:
    """Kept filters as indices into the ORIGINAL network, for a plan made on one that had been pruned before."""
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
    following = _next_weight(layer)
    state[following] = state[following][:, kept]


def _next_weight(layer: str) -> str:
    if layer == LAYERS[-1]:
        return "fc1.weight"
    block, conv, _ = layer_modules(LAYERS[LAYERS.index(layer) + 1])
    return f"{block}.{conv}.weight"


def _checked(layer: str, kept: Sequence[int], filters: int) -> Tensor:
    if not kept:
        raise PruningError(f"The plan would leave {layer} without filters; at least one has to stay.")
    if list(kept) != sorted(set(kept)) or kept[0] < 0 or kept[-1] >= filters:
        raise PruningError(
            f"The plan's kept filters of {layer} do not fit this network: they must be ascending, each once, "
            f"from 0 to {filters - 1}."
        )
    return torch.tensor(kept)
