"""Removing filters: a plan and a network -> a narrower network of the same architecture.

Removing a channel of a group removes it from every module that has it (``core.models.groups``): the filter of each of the group's
layers, the entries of the batch norms and depthwise convolutions that follow, and the inputs of what comes next. Nothing else changes:
the output is that of the wide network with the removed feature maps set to zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

from core.checkpoints import architecture_of
from core.errors import PruningError
from core.models.groups import groups, narrow
from core.models.network import Network
from core.models.registry import architecture
from core.pruning.plan import PruningPlan

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def prune(model: AnyNetwork, plan: PruningPlan, *, share: bool = False) -> AnyNetwork:
    """Apply a plan.

    Parameters
    ----------
    model : Network
        The network that the plan was made for; it stays as it is.
    plan : PruningPlan
        Which filters stay.
    share : bool
        Share the tensors that lose nothing with ``model``, which saves their memory and the time to copy them. For reading only:
        an in-place change of such a tensor changes both networks.

    Returns
    -------
    Network
        The new network, in eval mode.

    Raises
    ------
    PruningError
        The plan is for another architecture or other widths.

    Examples
    --------
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> from core.pruning.plan import plan
    >>> model = Cnn14(Cnn14Config((8,) * 12, classes=2, embedding=4))
    >>> narrow = prune(model, plan(model, {"C12": 0.75}))
    >>> tuple(narrow.convolution("C12").weight.shape), tuple(narrow.fc1.weight.shape)
    ((2, 8, 3, 3), (4, 2))
    """
    check_fits(plan, model)
    entry = architecture(plan.architecture)
    before = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    state = narrow(before, groups(plan.architecture, model.config), plan.kept)
    if not share:
        state = {name: tensor.clone() if tensor is before[name] else tensor for name, tensor in state.items()}
    with torch.device("meta"):
        pruned = entry.build(entry.from_state(state))
    pruned.load_state_dict(state, assign=True)
    return pruned.eval()  # type: ignore[return-value]


def check_fits(plan: PruningPlan, model: Network) -> None:
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


def _join(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))
