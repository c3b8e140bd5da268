"""The profile of one network: every count, per layer and in total, with the paper's figures where it states any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import ModelError
from core.models.cnn import Cnn14Config
from core.models.groups import chosen_layers, pruned_config
from core.models.network import Network
from core.models.registry import Architecture
from core.models.registry import architecture as known_architecture
from core.models.widths import check_ratio
from core.profiling.counts import LayerProfile, samples_of
from core.profiling.passes import count_pass, flop_counter_macs
from core.profiling.published import (
    Disagreement,
    counted_reductions,
    disagreements,
    paper_figures,
    paper_ratio,
)
from core.windows import WINDOW_SECONDS


@dataclass(frozen=True)
class Profile:
    """A network's counts for one clip of ``seconds``; see the package for the conventions.

    ``output`` and ``sample_rate`` are the architecture's: tags, framewise tags or scenes of waveforms at so many Hz.
    ``paper`` has the E-PANNs paper's figures for a network of this configuration, ``counted`` the same counted in the paper's
    convention, and ``disagreements`` where they differ; None and empty where the paper has no such network. ``peak_at`` is the
    step of the pass that uses the most memory.
    """

    config: Any
    architecture: str
    output: str
    sample_rate: int
    seconds: float
    widths: tuple[int, ...]
    classes: int
    embedding: int
    params_total: int
    params_trainable: int
    params_paper: int
    macs: int
    macs_network: int
    size_bytes: int
    size_bytes_float16: int
    file_bytes: int
    file_bytes_float16: int
    peak_activation_bytes: int
    peak_at: str
    layers: tuple[LayerProfile, ...]
    paper: dict[str, float] | None = None
    counted: dict[str, float] | None = None
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def macs_flop_counter(self) -> int:
        """``macs_network`` by torch's flop counter, on the meta device: the cross-check (25 ms, the first time 1 s)."""
        entry = known_architecture(self.architecture)
        return flop_counter_macs(entry, self.config, samples_of(self.seconds, entry))

    def document(self) -> dict[str, Any]:
        """What ``pannscope profile --json`` prints."""
        figures = {name: value for name, value in vars(self).items() if name != "config"}
        return figures | {
            "widths": list(self.widths),
            "macs_flop_counter": self.macs_flop_counter,
            "layers": [vars(layer).copy() for layer in self.layers],
            "disagreements": [vars(item).copy() for item in self.disagreements],
        }


def profile(
    architecture: str = "cnn14",
    *,
    config: Any = None,
    widths: Sequence[int] | None = None,
    classes: int | None = None,
    embedding: int | None = None,
    ratio: float | Mapping[str, float] | None = None,
    layers: Sequence[str] | None = None,
    seconds: float = 10.0,
) -> Profile:
    """Count a network that need not exist yet.

    Parameters
    ----------
    architecture : str
        A name of the registry.
    config : object, optional
        The configuration of a network of this architecture, such as ``model.config``.
    widths, classes, embedding : sequence of int, int, int, optional
        Without ``config``: what differs from the published one. Of architectures other than CNN14 only the classes can be chosen.
    ratio : float or mapping of str to float, optional
        Prune it first: by one ratio for all of ``layers``, or one per layer (``layers`` is not used then).
    layers : sequence of str, optional
        Which layers one ratio applies to; by default those of the architecture's entry.
    seconds : float
        Length of the clip that MACs and memory are counted for.

    Raises
    ------
    ModelError, PruningError
        The configuration, the ratio or the length is impossible.

    Examples
    --------
    >>> profile(ratio=0.5).params_trainable
    23205839
    """
    entry = known_architecture(architecture)
    base = config or entry.configure(**({} if classes is None else {"classes": classes}))
    given = {"widths": widths, "embedding": embedding}
    changes = {name: value for name, value in given.items() if value is not None}
    if changes and not isinstance(base, Cnn14Config):
        raise ModelError(f"{architecture} is counted as published; leave its widths and its embedding out.")
    base = replace(base, **changes)
    if ratio is not None:
        ratios = (
            ratio
            if isinstance(ratio, Mapping)
            else dict.fromkeys(chosen_layers(architecture, layers), check_ratio(ratio))
        )
        base = pruned_config(architecture, base, ratios)
    return _count(entry, base, seconds)


def profile_model(model: Network, seconds: float = 10.0) -> Profile:
    """Count a network by its configuration; the network itself is not touched."""
    return _count(known_architecture(model.architecture), model.config, seconds)


def _count(entry: Architecture, config: Any, seconds: float) -> Profile:
    samples = samples_of(seconds, entry)
    counted = count_pass(entry, config, samples)
    window = math.ceil(samples / math.ceil(seconds / WINDOW_SECONDS))
    longest = counted if window == samples else count_pass(entry, config, window)
    described = Profile(
        config=config,
        architecture=entry.name,
        output=entry.output,
        sample_rate=entry.sample_rate,
        seconds=seconds,
        widths=config.widths,
        classes=config.classes,
        embedding=config.embedding,
        **vars(counted.counts),
        peak_activation_bytes=longest.peak_activation_bytes,
        peak_at=longest.peak_at,
        layers=tuple(
            replace(layer, activation_bytes=within.activation_bytes)
            for layer, within in zip(counted.layers, longest.layers, strict=True)
        ),
    )
    ratio = paper_ratio(config) if isinstance(config, Cnn14Config) else None
    if ratio is None:
        return described
    return replace(
        described,
        paper=paper_figures(config),
        counted=_reductions(config),
        disagreements=disagreements(ratio),
    )


def _reductions(config: Cnn14Config) -> dict[str, float]:
    reductions = counted_reductions(config)
    return {"params_reduction_pct": reductions.params_pct, "macs_reduction_pct": reductions.macs_pct}
