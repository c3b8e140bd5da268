"""What the pages' numbers are compared with: formulas of the papers in a few lines, by none of the code that they are to check.

A pruned network is the unpruned one with the feature maps of the removed filters set to zero: convolutions have no bias, so
that a map of zeros contributes nothing to the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from core.models.frontend import log_mel

LAYERS = tuple(f"C{number}" for number in range(1, 13))

State = Mapping[str, torch.Tensor]
Removed = Mapping[str, Sequence[int]]


def weight(state: State, layer: str) -> np.ndarray:
    """The weights of C1..C12, (filters, input channels, 3, 3)."""
    number = LAYERS.index(layer)
    return state[f"conv_block{number // 2 + 1}.conv{number % 2 + 1}.weight"].numpy().astype(np.float64)


def probabilities(state: State, waveform: np.ndarray, removed: Removed | None = None) -> np.ndarray:
    """PANNs' CNN14 on one window (samples,) at 32 kHz -> (classes,), some of its filters' feature maps set to zero."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        entries = [state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *entries)

    with torch.inference_mode():
        x = norm(torch.from_numpy(log_mel(waveform)).T[None, :, :, None], "bn0").permute(0, 3, 2, 1)
        for number, layer in enumerate(LAYERS):
            block, conv = number // 2 + 1, number % 2 + 1
            x = F.conv2d(x, state[f"conv_block{block}.conv{conv}.weight"], padding=1)
            x = F.relu(norm(x, f"conv_block{block}.bn{conv}"))
            x[:, list((removed or {}).get(layer, ()))] = 0.0
            if conv == 2 and block < 6:
                x = F.avg_pool2d(x, 2)
        x = x.mean(dim=3)
        x = x.amax(dim=2) + x.mean(dim=2)
        x = F.relu(F.linear(x, state["fc1.weight"], state["fc1.bias"]))
        return torch.sigmoid(F.linear(x, state["fc_audioset.weight"], state["fc_audioset.bias"]))[0].numpy()


def responses(filters: np.ndarray) -> np.ndarray:
    """(input channels, filters): along each channel's first right singular vector, filter 0 responding positively."""
    rows = []
    for channel in range(filters.shape[1]):
        kernels = filters[:, channel].reshape(len(filters), -1)
        centered = kernels - kernels.mean(axis=0)
        left, singular, _ = np.linalg.svd(centered, full_matrices=False)
        rows.append(left[:, 0] * singular[0] * (-1 if left[0, 0] < 0 else 1))
    return np.array(rows)


def operator_norm(filters: np.ndarray) -> np.ndarray:
    """The criterion of E-PANNs (arXiv 2304.02319), (filters,), not normalised."""
    return responses(filters).sum(axis=0) ** 2


def l1(filters: np.ndarray) -> np.ndarray:
    """The sum of each filter's absolute weights, (filters,)."""
    return np.abs(filters).sum(axis=(1, 2, 3))


def removed_filters(scores: np.ndarray, kept: int) -> list[int]:
    """The filters of the lowest scores, all but ``kept``."""
    return sorted(np.argsort(-scores, kind="stable")[kept:].tolist())


def removed_by(
    state: State, kept: Mapping[str, int], score: Callable[[np.ndarray], np.ndarray] = operator_norm
) -> dict[str, list[int]]:
    """The removed filters of every layer in ``kept`` (layer -> how many stay)."""
    return {layer: removed_filters(score(weight(state, layer)), count) for layer, count in kept.items()}


def parameters(widths: Sequence[int], classes: int = 527, embedding: int = 512) -> int:
    """CNN14's trainable parameters: 3 x 3 kernels, two entries of batch norm a filter and a mel band, two linear layers."""
    inputs = (1, *widths[:-1])
    convolutions = sum(9 * before * width + 2 * width for before, width in zip(inputs, widths, strict=True))
    return 2 * 64 + convolutions + (widths[-1] + 1) * embedding + (embedding + 1) * classes


def kept_share(before: np.ndarray, after: np.ndarray, threshold: float = 0.2) -> float:
    """Of the classes with at least ``threshold`` in either output, those with it in both."""
    one, two = set(np.flatnonzero(before >= threshold)), set(np.flatnonzero(after >= threshold))
    return len(one & two) / len(one | two)


def divergence(before: np.ndarray, after: np.ndarray) -> float:
    """Kullback-Leibler divergence of independent yes/no tags in nats, summed over the classes."""
    p, q = before.astype(np.float64), after.astype(np.float64)
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())
