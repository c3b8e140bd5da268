"""The profile of one network: every count, per layer and in total, with the paper's figures where it states any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.models.cnn import Cnn14, Cnn14Config
from core.models.frontend import FRONT_END
from core.models.registry import architecture as find_architecture
from core.models.widths import PAPER_LAYERS, kept_widths, pruned_widths
from core.profiling.counters import flop_counter_macs, thop_macs
from core.profiling.counts import LayerProfile, count, layer_counts, samples_of
from core.profiling.memory import activations
from core.profiling.published import (
    Disagreement,
    counted_reductions,
    disagreements,
    paper_figures,
    paper_ratio,
)


@dataclass(frozen=True)
class Profile:
    """A network's counts for one clip of ``seconds``; see the package for the conventions.

    ``paper`` has the E-PANNs paper's figures for a network of this configuration, ``counted`` the same counted in the paper's
    convention, and ``disagreements`` where they differ; None and empty where the paper has no such network. ``peak_at`` is the
    step of the pass that uses the most memory.
    """

    architecture: str
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
    def config(self) -> Cnn14Config:
        """The configuration that was counted."""
        return Cnn14Config(self.widths, self.classes, self.embedding)

    @property
    def macs_flop_counter(self) -> int:
        """``macs_network`` by torch's flop counter, on the meta device: the cross-check (25 ms, the first time 1 s)."""
        return flop_counter_macs(self.config, FRONT_END.frames(samples_of(self.seconds)))

    def document(self) -> dict[str, Any]:
        """What ``pannscope profile --json`` prints."""
        return vars(self) | {
            "widths": list(self.widths),
            "macs_flop_counter": self.macs_flop_counter,
            "layers": [vars(layer).copy() for layer in self.layers],
            "disagreements": [vars(item).copy() for item in self.disagreements],
        }


def profile(
    architecture: str = "cnn14",
    *,
    widths: Sequence[int] | None = None,
    classes: int = 527,
    embedding: int = 2048,
    ratio: float | Mapping[str, float] | None = None,
    layers: Sequence[str] = PAPER_LAYERS,
    seconds: float = 10.0,
) -> Profile:
    """Count a network that need not exist yet.

    Parameters
    ----------
    architecture : str
        A name of the registry.
    widths, classes, embedding : sequence of int, int, int
        Its configuration; the published CNN14 by default.
    ratio : float or mapping of str to float, optional
        Prune it first: by one ratio for all of ``layers``, or one per layer (``layers`` is not used then).
    layers : sequence of str
        Which layers one ratio applies to.
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
    chosen = find_architecture(architecture)
    base = chosen.configure(
        classes=classes, embedding=embedding, **({"widths": tuple(widths)} if widths else {})
    )
    if ratio is None:
        return _count(base, seconds)
    if isinstance(ratio, Mapping):
        pruned = kept_widths(base.widths, ratio)
    else:
        pruned = pruned_widths(ratio, layers, base.widths)
    return _count(Cnn14Config(pruned, classes, embedding), seconds)


def profile_model(model: Cnn14, seconds: float = 10.0) -> Profile:
    """Count a network by its configuration; the network itself is not touched."""
    return _count(model.config, seconds)


def _count(config: Cnn14Config, seconds: float) -> Profile:
    samples = samples_of(seconds)
    frames = FRONT_END.frames(samples)
    memory = activations(config, seconds)
    counts = vars(count(config, seconds)) | {
        # thop's own count, not the closed form that replaces it where many configurations are counted
        "macs": thop_macs(config, frames) + frames * FRONT_END.stft_parameters
    }
    peak_at = max(memory, key=lambda step: memory[step])
    ratio = paper_ratio(config)
    return Profile(
        architecture="cnn14",
        seconds=seconds,
        widths=config.widths,
        classes=config.classes,
        embedding=config.embedding,
        **counts,
        peak_activation_bytes=memory[peak_at],
        peak_at=peak_at,
        layers=tuple(LayerProfile(*layer, memory[layer[0]]) for layer in layer_counts(config, samples)),
        paper=paper_figures(config),
        counted=None if ratio is None else _reductions(config),
        disagreements=() if ratio is None else disagreements(ratio),
    )


def _reductions(config: Cnn14Config) -> dict[str, float]:
    reductions = counted_reductions(config)
    return {"params_reduction_pct": reductions.params_pct, "macs_reduction_pct": reductions.macs_pct}
