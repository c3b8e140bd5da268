"""Which channels of a network are one: layers whose filters can only be removed together, and every tensor that has these channels.

Two layers whose outputs are added share their channels; a depthwise convolution has those of the layer before it; a linear layer after a
flattening has several inputs a channel. All of that is read off Torch-Pruning's dependency graph (Fang et al., "DepGraph: Towards Any
Structural Pruning", CVPR 2023) on torch's meta device; nothing is written by hand for an architecture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import PruningError
from core.models.fitting import Sized, sizes_of
from core.models.network import Network
from core.models.registry import Architecture, architecture, empty_network
from core.models.widths import check_layer, kept_count

OUTPUTS, INPUTS = 0, 1
"""A ``Member``'s axis: rows of a weight, its bias and a batch norm's vectors; columns of a weight."""

_PARTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Member:
    """A module that has a group's channels.

    Attributes
    ----------
    path : str
        The module.
    axis : int
        ``OUTPUTS`` or ``INPUTS``.
    index : (channels, copies) int64 Tensor
        The positions along that axis that belong to each channel; more than one where feature maps were flattened.
    """

    path: str
    axis: int
    index: Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Layers that share their channels; most are groups of one.

    Attributes
    ----------
    name : str
        Its first layer's.
    layers : tuple of str
        The layers, in the network's order.
    channels : int
        Filters of each of them.
    members : tuple of Member
        Every module that has these channels: the layers, what follows them, and what they feed.
    """

    name: str
    layers: tuple[str, ...]
    channels: int
    members: tuple[Member, ...]


@lru_cache(maxsize=32)
def groups(name: str, config: Any) -> tuple[Group, ...]:
    """The groups of a network that need not exist, in the order of their first layers.

    A layer that cannot lose a single filter is in none: a Wavegram's ``pre_block3.conv2`` loses 32 at once, since its channels become
    bands. The graph is built for the published network (0.1 to 0.3 s, once), and narrowed from there to ``config``.

    Parameters
    ----------
    name : str
        The architecture.
    config : object
        The network's configuration.

    Raises
    ------
    ModelError
        An unknown architecture.

    Examples
    --------
    >>> config = architecture("resnet22").configure(classes=2)
    >>> [group.layers for group in groups("resnet22", config)][:2]
    [('conv_block1.conv1',), ('conv_block1.conv2', 'resnet.layer1.0.conv2', 'resnet.layer1.1.conv2')]
    """
    entry = architecture(name)
    if not entry.layers:
        return ()
    network, published = (empty_network(entry, each) for each in (config, entry.configure()))
    widths = dict(zip(entry.layers, config.widths, strict=True))
    whole = _published(name)
    gone = removed(whole, {group.name: range(min(widths[group.name], group.channels)) for group in whole})
    for member in (member for group in whole for member in group.members):
        before, now = (
            sizes_of(each.get_submodule(member.path))[1 - member.axis] for each in (published, network)
        )
        if now != before - len(gone.get((member.path, member.axis), ())):
            # It was not made by pruning the published network; it may be wider.
            return _graph(entry, network)
    return tuple(_narrowed(group, widths[group.name], gone) for group in whole)


def check_prunable(name: str) -> None:
    """Raise ``PruningError`` for an architecture without layers that can lose filters.

    Examples
    --------
    >>> check_prunable("ast")
    Traceback (most recent call last):
    core.errors.PruningError: AST has no convolutions whose filters can be removed; it can be run, compared and counted. Prune another network.
    """
    entry = architecture(name)
    if not entry.layers:
        raise PruningError(
            f"{entry.title} has no convolutions whose filters can be removed; it can be run, compared and counted. Prune another network."
        )


def couplings(name: str) -> dict[str, tuple[str, ...]]:
    """The layers of each group of an architecture; they are the same at any widths. Raises as ``check_prunable``.

    Examples
    --------
    >>> couplings("cnn6")
    {'C1': ('C1',), 'C2': ('C2',), 'C3': ('C3',), 'C4': ('C4',)}
    """
    check_prunable(name)
    return {group.name: group.layers for group in _published(name)}


def prunable_layers(name: str) -> tuple[str, ...]:
    """The layers of an architecture that are in a group, in the network's order."""
    inside = {layer for layers in couplings(name).values() for layer in layers}
    return tuple(layer for layer in architecture(name).layers if layer in inside)


def chosen_layers(name: str, layers: Sequence[str] | None) -> tuple[str, ...]:
    """``layers`` themselves, or without any those of the architecture that one ratio applies to by default."""
    default = architecture(name).default_layers
    return tuple(layers) if layers is not None else tuple(x for x in prunable_layers(name) if x in default)


def group_of(name: str, layer: str) -> str:
    """The group that a layer of an architecture is in; raises ``PruningError`` where it is in none.

    Examples
    --------
    >>> group_of("resnet22", "resnet.layer1.1.conv2")
    'conv_block1.conv2'
    """
    for group, layers in couplings(name).items():
        if layer in layers:
            return group
    check_layer(layer, architecture(name).layers)
    raise PruningError(f"{layer} cannot lose single filters; prune other layers.")


def by_group(name: str, ratios: Mapping[str, float]) -> dict[str, float]:
    """Ratios by group, in the network's order, from ratios by layer; a layer stands for its group.

    Raises ``PruningError`` for an unknown layer, for layers that share their channels and have different ratios, and as ``check_prunable``.

    Examples
    --------
    >>> by_group("resnet22", {"resnet.layer1.1.conv2": 0.5, "conv_block1.conv1": 0.25})
    {'conv_block1.conv1': 0.25, 'conv_block1.conv2': 0.5}
    """
    chosen: dict[str, tuple[str, float]] = {}
    for layer, ratio in ratios.items():
        group = group_of(name, layer)
        other, its = chosen.setdefault(group, (layer, ratio))
        if its != ratio:
            raise PruningError(
                f"{other} and {layer} share their filters and lose them together, so {its:g} and {ratio:g} cannot both be; give one "
                "ratio."
            )
    return {group: chosen[group][1] for group in couplings(name) if group in chosen}


def pruned_config(name: str, config: Any, ratios: Mapping[str, float], round_to: int = 1) -> Any:
    """The configuration after pruning by a ratio a layer, as the pruned network's shapes show it; raises as ``by_group`` does.

    Examples
    --------
    >>> config = architecture("cnn6").configure(classes=2)
    >>> pruned_config("cnn6", config, {"C4": 0.75}).widths
    (64, 128, 256, 128)
    """
    chosen = by_group(name, ratios)
    return narrowed_config(
        name,
        config,
        {
            group.name: kept_count(group.channels, chosen[group.name], round_to)
            for group in groups(name, config)
            if group.name in chosen
        },
    )


def narrowed_config(name: str, config: Any, channels: Mapping[str, int]) -> Any:
    """The configuration where the groups in ``channels`` have so many channels and the others all of theirs.

    Examples
    --------
    >>> narrowed_config("cnn6", architecture("cnn6").configure(classes=2), {"C4": 100}).widths
    (64, 128, 256, 100)
    """
    entry = architecture(name)
    kept = {group: range(count) for group, count in channels.items()}
    return entry.from_state(narrow(empty_network(entry, config).state_dict(), groups(name, config), kept))


def removed(found: Sequence[Group], kept: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], Tensor]:
    """Ascending positions that go where of each group's channels only ``kept`` stay, for every module and axis that loses some."""
    gone: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for group in found:
        goes = torch.ones(group.channels, dtype=torch.bool)
        goes[list(kept.get(group.name, range(group.channels)))] = False
        if goes.any():
            for member in group.members:
                gone[member.path, member.axis].append(member.index[goes].flatten())
    return {key: torch.cat(parts).unique() for key, parts in gone.items()}


def narrow(
    state: Mapping[str, Tensor], found: Sequence[Group], kept: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """A state dict without the channels that ``kept``, ascending indices a group, leaves out; other tensors are the same objects."""
    result = dict(state)
    for (path, axis), gone in removed(found, kept).items():
        for part in _PARTS:
            key = f"{path}.{part}"
            if key in result and result[key].ndim > axis:
                stays = torch.ones(result[key].shape[axis], dtype=torch.bool)
                stays[gone] = False
                index = stays.nonzero()[:, 0].to(result[key].device)
                result[key] = result[key].index_select(axis, index)
    return result


def _narrowed(group: Group, width: int, gone: Mapping[tuple[str, int], Tensor]) -> Group:
    """A group's first ``width`` channels, at their positions when those that are ``gone`` are missing."""
    members = []
    for member in group.members:
        index = member.index[:width].contiguous()
        if (before := gone.get((member.path, member.axis))) is not None:
            index = index - torch.searchsorted(before, index)
        members.append(Member(member.path, member.axis, index))
    return Group(group.name, group.layers, width, tuple(members))


@cache
def _published(name: str) -> tuple[Group, ...]:
    entry = architecture(name)
    return _graph(entry, empty_network(entry, entry.configure()))


def _graph(entry: Architecture, network: Network) -> tuple[Group, ...]:
    """The groups of a network on the meta device."""
    import torch_pruning  # imports numpy's and torch's parts that nothing else needs

    # Two seconds: of one segment alone, decision-level networks' transposition would look like a flattening.
    waveform = torch.empty(1, entry.window_samples or 2 * entry.sample_rate, device="meta")
    graph = torch_pruning.DependencyGraph()
    with torch.inference_mode(False), torch.enable_grad():  # it follows the gradients' functions
        graph.build_dependency(network, waveform, verbose=False)
    paths = {module: path for path, module in network.named_modules()}
    layers = {layer.convolution: name for name, layer in entry.modules().items()}
    result: list[Group] = []
    for path, name in layers.items():
        convolution = network.get_submodule(path)
        if any(name in group.layers for group in result):
            continue
        remove = torch_pruning.prune_conv_out_channels
        if len(set(graph.get_pruning_group(convolution, remove, idxs=[0])[0].idxs)) > 1:
            continue  # a channel cannot go alone
        channels = sizes_of(convolution)[1]
        members = []
        for dependency, index in graph.get_pruning_group(convolution, remove, idxs=list(range(channels))):
            module = dependency.target.module
            if isinstance(module, Sized):
                axis = OUTPUTS if "out_channels" in dependency.handler.__name__ else INPUTS
                members.append(Member(paths[module], axis, torch.tensor(index).view(channels, -1)))
        coupled = [member for member in members if member.axis == OUTPUTS and member.path in layers]
        if all(_whole(member, network.get_submodule(member.path)) for member in coupled):
            inside = {layers[member.path] for member in coupled}
            names = tuple(each for each in entry.layers if each in inside)
            result.append(Group(names[0], names, channels, tuple(members)))
    return tuple(result)


def _whole(member: Member, module: nn.Module) -> bool:
    """Whether each of a layer's filters is one channel of the group, which it is not where the layer is added to a concatenation."""
    return sorted(member.index.flatten().tolist()) == list(range(sizes_of(module)[1]))
