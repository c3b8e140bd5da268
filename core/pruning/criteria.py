"""Importance of a convolution's filters: which of them can be removed.

Everything is computed in float64, from the weights as they are, layer by layer; batch norm is ignored. A criterion turns a
layer's weights (filters, input channels, taps of the kernel in one dimension or two) into one score per filter, divided by the largest:
1 is the most important. ``operator-norm`` is the criterion of E-PANNs (Singh & Plumbley, "Efficient CNNs via Passive Filter Pruning",
arXiv 2304.02319); ``core.pruning.similarity`` has two of the authors' other work.

Layers that share their channels (``core.models.groups``) lose them together, by the sum of the layers' scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.checkpoints import architecture_of
from core.errors import PruningError
from core.models.groups import OUTPUTS, groups
from core.models.network import Network
from core.models.registry import architecture
from core.models.widths import check_layer
from core.pruning.similarity import distances, similarity_order

_CHANNEL_BLOCK = 128  # input channels at a time: C12 in float64 would take 300 MB at once


@dataclass(frozen=True)
class Criterion:
    """A way to score filters.

    Attributes
    ----------
    name : str
        As the command line and the pages call it.
    about : str
        What it measures, in one sentence.
    score : callable
        (filters, input channels, taps) or (filters, input channels, height, width) -> (filters,) float64, at least 0.
    """

    name: str
    about: str
    score: Callable[[np.ndarray], np.ndarray]

    def __call__(self, weight: np.ndarray) -> np.ndarray:
        """Scores (filters,) in [0, 1]; equal filters score 1 each. Raises ``PruningError`` for weights that cannot be ranked."""
        return _relative(self.score(_checked(weight)))


def responses(weight: np.ndarray) -> np.ndarray:
    """P: (input channels, filters), each filter's response along each channel's dominant direction, of arbitrary sign.

    For input channel c, A_c holds the filters' kernels (flattened, mean over filters removed) as rows, and v_c is its top right
    singular vector; P_c = A_c v_c. v_c is computed as the top eigenvector of the K x K matrix A_c^T A_c (K = height x width, 9
    here): exact, and a hundred times faster than the singular value decomposition of A_c (2048 x 9). Of a 1 x 1 kernel there is one
    direction, and the response is the weight itself, the mean over the filters removed.
    """
    filters, channels = weight.shape[:2]
    projections = np.empty((channels, filters))
    for start in range(0, channels, _CHANNEL_BLOCK):
        block = weight[:, start : start + _CHANNEL_BLOCK].astype(np.float64)
        kernels = block.reshape(filters, block.shape[1], -1).transpose(1, 0, 2)  # (block, N, K)
        centred = kernels - kernels.mean(axis=1, keepdims=True)
        _, vectors = np.linalg.eigh(centred.transpose(0, 2, 1) @ centred)  # eigenvalues ascend
        projections[start : start + _CHANNEL_BLOCK] = (centred @ vectors[:, :, -1:])[:, :, 0]
    return projections


def _operator_norm(weight: np.ndarray) -> np.ndarray:
    """The published criterion (arXiv 2304.02319): (sum of a filter's responses over the channels)^2.

    Each channel's direction is oriented so that filter 0 responds positively (the sign of u_c[0]; 0 counts as positive). That makes
    the score depend on the order of the filters; it is kept because it is the published method (``core.pruning.order``).
    """
    projections = responses(weight)
    signs = np.where(projections[:, 0] < 0, -1.0, 1.0)
    return np.asarray((signs @ projections) ** 2)


def _operator_norm_energy(weight: np.ndarray) -> np.ndarray:
    return np.asarray((responses(weight) ** 2).sum(axis=0))


def _operator_norm_abs(weight: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(responses(weight)).sum(axis=0) ** 2)


def _l1(weight: np.ndarray) -> np.ndarray:
    return np.abs(_flat(weight)).sum(axis=1, dtype=np.float64)


def _l2(weight: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(_flat(weight), dtype=np.float64).sum(axis=1))


def _geometric_median(weight: np.ndarray) -> np.ndarray:
    """Sum of Euclidean distances to all other filters (He et al., "Filter Pruning via Geometric Median", CVPR 2019)."""
    flat = _flat(weight).astype(np.float64)
    flat = flat - flat.mean(axis=0)  # distances stay, and the subtraction below loses fewer digits
    squares = np.einsum("ij,ij->i", flat, flat)
    distances = squares[:, None] + squares[None, :] - 2.0 * (flat @ flat.T)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(np.sqrt(np.maximum(distances, 0.0)).sum(axis=1))


def _geometric_mean(weight: np.ndarray) -> np.ndarray:
    """The GM of E-PANNs' authors: squared distance of a filter's geometric mean of |w| from the layer's."""
    logs = np.log(np.maximum(np.abs(_flat(weight)).astype(np.float64), np.finfo(np.float64).tiny))
    return np.asarray((np.exp(logs.mean()) - np.exp(logs.mean(axis=1))) ** 2)


def _graph_centrality(weight: np.ndarray) -> np.ndarray:
    """Filters as a graph's nodes, similarities as its edges' weights: a node's weighted degree says how much it has in common with the rest.

    King et al., "Compressing Audio CNNs with Graph Centrality Based Filter Pruning" (arXiv 2305.03391): the most central filters are
    removed first. The score is the sum of the distances 1 - similarity, which is the number of the others less the degree.
    """
    apart = distances(weight)
    np.fill_diagonal(apart, 0.0)
    return np.asarray(apart.sum(axis=1))


def _random(weight: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(len(weight)) + 1.0


def _similarity(weight: np.ndarray) -> np.ndarray:
    """Position in the order of removal (``similarity_order``): the filters most like another one have the lowest scores."""
    scores = np.full(len(weight), float(len(weight)))
    for position, index in enumerate(similarity_order(weight, _l1(weight))):
        scores[index] = position
    return scores


CRITERIA: dict[str, Criterion] = {
    entry.name: entry
    for entry in (
        Criterion(
            "operator-norm",
            "How strongly a filter responds along each input channel's dominant direction: the criterion of E-PANNs.",
            _operator_norm,
        ),
        Criterion(
            "operator-norm-energy",
            "The same responses, squared before they are added up: the order of the filters does not matter.",
            _operator_norm_energy,
        ),
        Criterion(
            "operator-norm-abs",
            "The same responses, added up without their signs: the order of the filters does not matter.",
            _operator_norm_abs,
        ),
        Criterion("l1", "The sum of a filter's absolute weights.", _l1),
        Criterion("l2", "The Euclidean length of a filter's weights.", _l2),
        Criterion(
            "geometric-median",
            "The sum of a filter's distances to all others: filters in the middle can be replaced by the others.",
            _geometric_median,
        ),
        Criterion(
            "geometric-mean",
            "How far a filter's geometric mean of absolute weights is from the layer's.",
            _geometric_mean,
        ),
        Criterion(
            "similarity",
            "How unlike its nearest neighbour a filter is; of two similar ones, the one with the smaller l1 is removed first.",
            _similarity,
        ),
        Criterion(
            "graph-centrality",
            "How unlike all the others a filter is: one that is central among them is represented by them, and is removed first.",
            _graph_centrality,
        ),
        Criterion(
            "random", "A fixed random selection: the control that every criterion has to beat.", _random
        ),
    )
}
"""Every criterion by the name that the command line and the pages use."""


def criterion(name: str) -> Criterion:
    """Look a criterion up; raises ``PruningError`` that names the known ones."""
    try:
        return CRITERIA[name]
    except KeyError:
        raise PruningError(f"Unknown criterion {name!r}; known: {', '.join(CRITERIA)}.") from None


def layer_weight(model: Network, layer: str) -> np.ndarray:
    """A layer's weights, (filters, input channels, taps) or (filters, input channels, height, width); raises ``PruningError`` for none."""
    modules = architecture(architecture_of(model)).modules()
    weight = model.get_parameter(f"{modules[check_layer(layer, tuple(modules))].convolution}.weight")
    return np.asarray(weight.detach().cpu().numpy())


def group_weights(model: Network, group: str) -> dict[str, np.ndarray]:
    """The weights of each layer of a group, their filters in the order of the group's channels; depthwise convolutions are no layers.

    Raises ``PruningError`` for a layer that names no group.
    """
    return {layer: layer_weight(model, layer)[order] for layer, order in _filters(model, group).items()}


def _filters(model: Network, group: str) -> dict[str, np.ndarray]:
    """Each layer of a group, and which of its filters is which channel, (channels,) int."""
    name = architecture_of(model)
    modules = architecture(name).modules()
    found = next((each for each in groups(name, model.config) if each.name == group), None)
    if found is None:
        check_layer(group, tuple(modules))
        raise PruningError(f"{group} names no group of layers that lose their filters together.")
    order = {member.path: member.index[:, 0].numpy() for member in found.members if member.axis == OUTPUTS}
    return {layer: order[modules[layer].convolution] for layer in found.layers}


def layer_importance(model: Network, layer: str, name: str = "operator-norm") -> np.ndarray:
    """Importance of one layer's filters.

    Parameters
    ----------
    model : Network
        The network.
    layer : str
        One of its architecture's ``layers``.
    name : str
        A key of ``CRITERIA``.

    Returns
    -------
    (filters,) float64
        Scores in [0, 1], 1 for the most important filter.

    Raises
    ------
    PruningError
        An unknown layer or criterion, or weights that are NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> model = Cnn14(Cnn14Config((2,) * 12, classes=1, embedding=2))
    >>> _ = model.convolution("C5").weight.data.copy_(torch.ones(2, 2, 3, 3) * torch.tensor([1.0, 4.0]).view(2, 1, 1, 1))
    >>> layer_importance(model, "C5", "l1")
    array([0.25, 1.  ])
    """
    return criterion(name)(layer_weight(model, layer))


def group_importance(model: Network, group: str, name: str = "operator-norm") -> np.ndarray:
    """Importance of a group's channels: the sum of its layers' scores, divided by the largest; of a layer alone, ``layer_importance``.

    Parameters
    ----------
    model : Network
        The network.
    group : str
        The group: its first layer.
    name : str
        A key of ``CRITERIA``.

    Returns
    -------
    (channels,) float64
        Scores in [0, 1], 1 for the most important channel.

    Raises
    ------
    PruningError
        No group has that name, an unknown criterion, or weights that are NaN or infinite.

    Examples
    --------
    >>> from core.models.registry import architecture
    >>> entry = architecture("resnet22")
    >>> model = entry.build(entry.configure(classes=2))
    >>> coupled = ("resnet.layer2.0.conv2", "resnet.layer2.0.downsample.1", "resnet.layer2.1.conv2")
    >>> summed = sum(layer_importance(model, layer, "l1") for layer in coupled)
    >>> bool(np.allclose(group_importance(model, "resnet.layer2.0.conv2", "l1"), summed / summed.max()))
    True
    """
    filters = _filters(model, group)
    return _relative(
        np.sum([layer_importance(model, layer, name)[order] for layer, order in filters.items()], axis=0)
    )


def _checked(weight: np.ndarray) -> np.ndarray:
    if weight.ndim not in (3, 4) or 0 in weight.shape:
        raise PruningError(
            "A convolution's weights are (filters, input channels) and the kernel's one or two axes; got an array of shape "
            f"{weight.shape}."
        )
    if not np.isfinite(weight).all():
        raise PruningError(
            "The weights hold NaN or infinity, so their filters cannot be ranked; the checkpoint is damaged."
        )
    return weight


def _flat(weight: np.ndarray) -> np.ndarray:
    return weight.reshape(len(weight), -1)


def _relative(scores: np.ndarray) -> np.ndarray:
    """Scores divided by the largest; all ones where no filter stands out (all filters equal)."""
    largest = scores.max()
    return scores / largest if largest > 0 else np.ones_like(scores)
