"""Counted work beside measured time, layer by layer: where the time of a pruned network follows its MACs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.plans import DETAILED
from core.checkpoints import entry
from core.models.cnn import LAYERS
from core.profiling import LayerProfile, Profile, profile
from core.runtime.profiles import PROFILES

_TAPS = 9  # 3 x 3 kernels


@dataclass(frozen=True)
class LayerCost:
    """One layer before and after pruning: counted MACs, bytes of its weights as the engine keeps them, measured ms."""

    name: str
    macs: tuple[int, int]
    weight_bytes: tuple[int, int]
    ms: tuple[float, float]

    @property
    def pruned(self) -> bool:
        """Whether pruning takes any of its work."""
        return self.macs[1] < self.macs[0]

    @property
    def macs_cut(self) -> float:
        """Share of its MACs that pruning takes."""
        return 1 - self.macs[1] / self.macs[0]

    @property
    def time_cut(self) -> float:
        """Share of its time that pruning takes."""
        return 1 - self.ms[1] / self.ms[0]

    def rate(self, which: int) -> float:
        """GMAC a second, before (0) or after (1)."""
        return self.macs[which] / self.ms[which] / 1e6

    def reading_ms(self, which: int, gb_per_s: float) -> float:
        """Time that reading its weights from memory once takes at that rate."""
        return self.weight_bytes[which] / gb_per_s / 1e6


@dataclass(frozen=True)
class Comparison:
    """A network and its pruned form on one engine.

    Attributes
    ----------
    macs_cut, network_macs_cut : counted share that pruning takes, as the paper counts and of convolution and linear layers alone.
    ms : median of a whole pass, before and after.
    layers : C1 to C12, each timed alone; empty for an engine without layer times.
    """

    engine: str
    macs_cut: float
    network_macs_cut: float
    ms: tuple[float, float]
    layers: tuple[LayerCost, ...]

    @property
    def time_cut(self) -> float:
        """Measured share of a whole pass that pruning takes."""
        return 1 - self.ms[1] / self.ms[0]

    def share(self, pruned: bool, of_time: bool) -> float:
        """Share of the layers' time or MACs, before pruning, that the pruned or the other layers have."""
        values = [(layer, layer.ms[0] if of_time else layer.macs[0]) for layer in self.layers]
        return sum(value for layer, value in values if layer.pruned == pruned) / sum(v for _, v in values)

    @property
    def layers_cut(self) -> float:
        """Measured share of the layers' time that pruning takes."""
        return 1 - sum(layer.ms[1] for layer in self.layers) / sum(layer.ms[0] for layer in self.layers)

    @property
    def layers_cut_by_macs(self) -> float:
        """What that would be if every layer's time followed its own MACs."""
        saved = sum(layer.ms[0] * layer.macs_cut for layer in self.layers)
        return saved / sum(layer.ms[0] for layer in self.layers)


def comparisons(rows: Sequence[dict[str, Any]]) -> list[Comparison]:
    """Every engine that was timed on two networks in a benchmark's rows of one length, the first of which is the whole one."""
    models = list(dict.fromkeys(row["model"] for row in rows))[:2]
    by_place = {(row["engine"], row["model"]): row for row in rows if row["batch"] == 1}
    if len(models) < 2:
        return []
    seconds = rows[0]["seconds"]
    counts = tuple(_counted(model, seconds) for model in models)
    engines = dict.fromkeys(row["engine"] for row in rows)
    return [
        _compared(engine, counts, (by_place[engine, models[0]], by_place[engine, models[1]]))
        for engine in engines
        if all((engine, model) in by_place for model in models)
    ]


def layered(compared: Sequence[Comparison]) -> list[Comparison]:
    """Of the engines that are measured in detail, those with layer times."""
    return [each for each in compared if each.layers and each.engine in DETAILED]


def ratio_of(model: str) -> float:
    """The share of filters that a benchmark's name of a network says is removed: ``cnn14:0.25`` -> 0.25."""
    return float(model.partition(":")[2] or 0)


def macs_left(model: str) -> float:
    """Share of the whole network's MACs that such a network has, counted as the paper counts."""
    known = entry(model.partition(":")[0])
    ratio = ratio_of(model)
    return (
        profile(widths=known.widths, ratio=ratio).macs / profile(widths=known.widths).macs if ratio else 1.0
    )


def _counted(model: str, seconds: float) -> Profile:
    known = entry(model)
    classes = 527 if known.classes == "audioset" else len(known.classes)
    return profile(widths=known.widths, classes=classes, embedding=known.embedding or 2048, seconds=seconds)


def _compared(
    engine: str, counts: Sequence[Profile], rows: tuple[dict[str, Any], dict[str, Any]]
) -> Comparison:
    before, after = counts
    first, second = (row["layers_ms"] for row in rows)
    layers = tuple(
        LayerCost(
            a.name,
            (a.macs, b.macs),
            (_weight_bytes(engine, a), _weight_bytes(engine, b)),
            (first[a.name], second[b.name]),
        )
        for a, b in zip(before.layers, after.layers, strict=True)
        if a.name in LAYERS and a.name in first and b.name in second
    )
    return Comparison(
        engine=engine,
        macs_cut=1 - after.macs / before.macs,
        network_macs_cut=1 - after.macs_network / before.macs_network,
        ms=(rows[0]["median_ms"], rows[1]["median_ms"]),
        layers=layers,
    )


def _weight_bytes(engine: str, layer: LayerProfile) -> int:
    """A layer's weights as an engine keeps them. For other packages, whose formats are unknown: as published."""
    kind, _, profile_name = engine.partition("-")
    size = (2 if "bf16" in engine else 4) * _TAPS * layer.in_channels * layer.out_channels
    if kind == "winograd" and profile_name in PROFILES and layer.name != LAYERS[0]:
        time, bands = PROFILES[profile_name].algorithms(layer.name)
        size = round(size * time.growth * bands.growth)
    return size
