"""Systems as points of the trade-off: quality and costs, each a figure with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.checkpoints import Entry, manifest, status
from core.checkpoints.entries import COUNTED
from core.tradeoff.front import pareto_front
from core.tradeoff.kept import Kept
from core.tradeoff.times import Timed, machine

COSTS = ("time", "macs", "params")
"""What a system costs: milliseconds for 10 s on this machine, multiply-accumulate operations for 10 s, trainable parameters."""


@dataclass(frozen=True)
class Figure:
    """A number and who states it: counted here, measured on this machine, or published (with the publication)."""

    value: float
    source: str


@dataclass(frozen=True)
class System:
    """One system of the picture.

    Attributes
    ----------
    name, title, family : as in the manifest; an own network's name and clips.
    state : as ``core.checkpoints.status``, or "own".
    quality : mAP; on AudioSet's evaluation set, or an own network's on own clips.
    costs : a figure for each of ``COSTS`` that is known.
    published : whether parameters and MACs are as published, in the authors' own convention.
    """

    name: str
    title: str
    family: str
    state: str
    quality: Figure
    costs: Mapping[str, Figure]
    published: bool = False

    def document(self, on_front: Mapping[str, Iterable[str]]) -> dict[str, Any]:
        """One row of the table: every figure beside its source; ``on_front`` has the names on each cost's front."""
        row: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "family": self.family,
            "status": self.state,
            "mAP": self.quality.value,
            "mAP_source": self.quality.source,
        }
        for cost in COSTS:
            figure = self.costs.get(cost)
            row[_KEYS[cost]] = None if figure is None else figure.value
            row[f"{_KEYS[cost]}_source"] = None if figure is None else figure.source
        return row | {f"front_{cost}": self.name in on_front[cost] for cost in COSTS}


_KEYS = {"time": "time_ms", "macs": "macs_10s", "params": "params"}


def systems(times: Mapping[str, Timed], *, count_stft: bool = False) -> tuple[System, ...]:
    """Every system of the manifest with a published mAP, in its order.

    Parameters
    ----------
    times : name -> measured time (``measured()``).
    count_stft : add every spectrogram's STFT as two Conv1d layers to the counted MACs, those that are computed by an FFT too; published
        MACs, of which no STFT is known, are then left out. Without it no STFT is counted.

    Examples
    --------
    >>> by_name = {system.name: system for system in systems({})}
    >>> by_name["cnn14"].costs["macs"].value, by_name["ast-ensemble"].costs["params"].source
    (20106703104, 'E-PANNs paper, Table 1, rounded')
    """
    return tuple(
        System(
            name,
            entry.title,
            entry.family,
            status(entry),
            Figure(entry.published_mAP, f"{entry.mAP_source}: AudioSet's evaluation set"),
            _costs(entry, times.get(name), count_stft),
            published=entry.figures_source is not None,
        )
        for name, entry in manifest().items()
        if entry.published_mAP is not None
    )


def own_systems(results: Iterable[Kept], *, count_stft: bool = False) -> tuple[System, ...]:
    """Own networks that were evaluated; their quality is of other classes and clips than the published systems'."""
    return tuple(
        System(
            f"{result.name}-{result.sha256[:8]}-{result.clips_name}",
            f"{result.name} (pruned)" if result.pruned else result.name,
            result.clips_name,
            "own",
            Figure(
                result.quality,
                f"pannscope evaluate on {result.clips_name}: {result.clips} clips, {result.classes} classes",
            ),
            _own_costs(result, count_stft),
        )
        for result in results
    )


def rows(listed: Iterable[System]) -> list[dict[str, Any]]:
    """The systems as a table, with whether each is on the Pareto front of each cost."""
    together = list(listed)
    fronts = {cost: front_of(together, cost) for cost in COSTS}
    return [each.document(fronts) for each in together]


def front_of(listed: Iterable[System], cost: str) -> list[str]:
    """The names on the Pareto front, from the cheapest to the best.

    MACs as published are of the authors' own conventions, which differ by more than neighbours on the front do: they take no part.
    """
    return pareto_front(
        {
            each.name: (each.costs[cost].value, each.quality.value)
            for each in listed
            if cost in each.costs and not (cost == "macs" and each.published)
        }
    )


def _costs(entry: Entry, timed: Timed | None, count_stft: bool) -> dict[str, Figure]:
    costs: dict[str, Figure] = {}
    stated = entry.figures_source
    if timed is not None:
        costs["time"] = _time(timed.median_ms, timed.engine)
    if entry.macs_10s is not None and not stated:
        costs["macs"] = _macs(entry.macs_10s, entry.stft_10s, entry.stft_counted, count_stft)
    elif entry.macs_10s is not None and stated and not count_stft:
        costs["macs"] = Figure(entry.macs_10s, stated)
    if entry.params is not None:
        costs["params"] = Figure(entry.params, stated or COUNTED)
    return costs


def _own_costs(result: Kept, count_stft: bool) -> dict[str, Figure]:
    costs = {"params": Figure(result.params, COUNTED)}
    if result.macs_10s is not None:
        costs["macs"] = _macs(result.macs_10s, result.stft_10s, result.stft_counted, count_stft)
    if result.machine == machine():
        costs["time"] = _time(result.time_ms, result.engine)
    return costs


def _time(median_ms: float, engine: str) -> Figure:
    return Figure(median_ms, f"measured on this machine ({machine()}), engine {engine}")


def _macs(macs: int, stft: int, included: bool, count_stft: bool) -> Figure:
    network = macs - stft if included else macs
    if not stft:
        return Figure(network, f"{COUNTED}; it has no STFT")
    if count_stft:
        return Figure(network + stft, f"{COUNTED}, the STFT as two Conv1d layers")
    return Figure(network, f"{COUNTED}, without the STFT")
