"""Similarity of filters: which of them are redundant (Singh & Plumbley, arXiv 2203.15751).

A filter is represented by the direction that its kernels have in common: with F_i the K x C matrix whose columns are the kernels of
its C input channels (K = height x width taps, not centred) and (u_i, v_i) its top singular pair, n_i = sign(v_i[0]) u_i. Two
filters are as far apart as 1 - <n_i, n_j>, from 0 to 2.
"""

from __future__ import annotations

import numpy as np


def prototypes(weight: np.ndarray) -> np.ndarray:
    """Directions of length 1: (filters, input channels, taps or height and width) -> (filters, K).

    Kernels of a single tap have one direction, which would tell filters apart by a sign alone. There a filter is represented by its
    weights over the input channels, (filters, input channels): ours, since the papers have no such layers.
    """
    filters, channels = weight.shape[:2]
    taps = weight.astype(np.float64).reshape(filters, channels, -1).transpose(0, 2, 1)  # F: (N, K, C)
    if taps.shape[1] == 1:
        lengths = np.linalg.norm(taps[:, 0], axis=1, keepdims=True)
        return np.asarray(taps[:, 0] / np.where(lengths > 0, lengths, 1.0))
    _, vectors = np.linalg.eigh(taps @ taps.transpose(0, 2, 1))  # of the K x K matrices F F^T
    top = vectors[:, :, -1]
    # v_i = F_i^T u_i / sigma: its first entry has the sign of <first kernel, u_i>
    first = np.einsum("nk,nk->n", taps[:, :, 0], top)
    return np.asarray(np.where(first < 0, -1.0, 1.0)[:, None] * top)


def distances(weight: np.ndarray) -> np.ndarray:
    """Cosine distances of all pairs of filters, (filters, filters), 0 to 2; infinite on the diagonal."""
    directions = prototypes(weight)
    result = np.clip(1.0 - directions @ directions.T, 0.0, 2.0)
    np.fill_diagonal(result, np.inf)
    return result


def similarity_kept(*weights: np.ndarray) -> tuple[int, ...]:
    """The published method, without a ratio: the data decide how many filters stay.

    Filters are visited by the distance to their nearest neighbour, nearest first; one that is not redundant yet is kept, and
    makes its neighbour redundant. Redundant filters that were never kept are removed. Returns the kept indices, ascending.

    The weights of several layers are those of a group that shares its channels: two channels are then as far apart as their filters are
    on average (ours: the paper's networks have no such layers).
    """
    if len(weights[0]) < 2:
        return tuple(range(len(weights[0])))
    apart = np.mean([distances(weight) for weight in weights], axis=0)
    nearest = apart.argmin(axis=1)
    redundant: set[int] = set()
    kept: set[int] = set()
    for index in np.argsort(apart.min(axis=1), kind="stable").tolist():
        if index not in redundant:
            kept.add(index)
            redundant.add(int(nearest[index]))
    return tuple(sorted(set(range(len(weights[0]))) - (redundant - kept)))


def similarity_order(weight: np.ndarray, importance: np.ndarray) -> list[int]:
    """Our variant for a chosen ratio: the order in which filters are removed, all but one of them.

    Pairs are visited in ascending distance; while both of a pair remain, the one with the smaller ``importance`` (filters,) is
    removed (of equals the later one).
    """
    count = len(weight)
    apart = distances(weight)
    first, second = np.triu_indices(count, 1)
    order = np.argsort(apart[first, second], kind="stable")
    remaining = [True] * count
    removed: list[int] = []
    for a, b in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if remaining[a] and remaining[b]:
            weaker = a if importance[a] < importance[b] else b
            remaining[weaker] = False
            removed.append(weaker)
            if len(removed) == count - 1:
                break
    return removed
