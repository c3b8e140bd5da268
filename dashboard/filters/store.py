"""What the server keeps for the Filters page: scores, order dependence, and what a layer hears of a clip.

Everything is kept under the checkpoint's sha256, never its name, so that two files can never share a score. Scoring and
listening happen in one's turn, as all work with the networks does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from torch import Tensor

from core.models.cnn import LAYERS
from core.models.feature_map import FeatureMap, feature_map, layer_input
from core.pruning.criteria import CRITERIA
from core.pruning.order import OrderDependence, order_dependence
from core.pruning.ranking import ranks
from core.pruning.similarity import prototypes
from dashboard.server import lab, state
from dashboard.server.cache import Shelf
from dashboard.server.source import Source

MAX_SECONDS = 30.0
"""A feature map is drawn of at most this much of a clip: 30 s before C2 of the full CNN14 take 49 MB."""

READINGS = ("operator-norm", "operator-norm-energy", "operator-norm-abs")
"""The published operator norm, and the two readings of it that do not depend on the order of the filters."""

_HEARD_BYTES = 64 * 2**20
_ORDER_BYTES = 8 * 2**20

Step = Callable[[int, int, str], None]
"""Told before every piece of work: how many are done, of how many, and what comes now."""


class FilterShelves:
    """What outlives a page here; one for the process."""

    def __init__(self) -> None:
        self.directions: Shelf[np.ndarray] = Shelf(_ORDER_BYTES, lambda found: 128 + int(found.nbytes))
        self.orders: Shelf[OrderDependence] = Shelf(
            _ORDER_BYTES, lambda found: 128 + int(found.stays.nbytes + found.rank_when_first.nbytes)
        )
        self.heard: Shelf[Tensor] = Shelf(_HEARD_BYTES, lambda heard: 4 * heard.numel())


@st.cache_resource(show_spinner=False)
def shelves() -> FilterShelves:
    """The process's one ``FilterShelves``."""
    made = FilterShelves()
    state.server().pressure.add(made.heard)
    return made


def weight(name: str, layer: str) -> np.ndarray:
    """A layer's weights (filters, input channels, height, width), not a copy: to be read only."""
    return state.tagger(name).model.convolution(layer).weight.detach().numpy()


def known(name: str, layer: str, criterion: str) -> bool:
    """Whether a layer's scores are there already. Raises ``CheckpointError``."""
    return state.server().scores.get((state.tagger(name).info.sha256, criterion, layer)) is not None


def scores(name: str, layer: str, criterion: str, tell: state.Tell | None = None) -> np.ndarray:
    """One layer's scores (filters,), computed once a checkpoint, in one's turn. Raises ``PannscopeError``."""
    if known(name, layer, criterion):
        return lab.scores(name, criterion, layer)
    with state.server().gate.turn(tell):
        return lab.scores(name, criterion, layer)


def all_scores(name: str, layer: str, tell: Step) -> dict[str, np.ndarray]:
    """One layer's scores by every criterion; ``tell`` hears of those that are not there yet, and may stop the work."""
    missing = [each for each in CRITERIA if not known(name, layer, each)]
    for done, each in enumerate(missing):
        tell(done, len(missing), each)
        scores(name, layer, each)
    return {each: scores(name, layer, each) for each in CRITERIA}


def directions(name: str, layer: str) -> np.ndarray:
    """The prototypes (filters, taps) that the similarity of filters is measured between."""
    loaded = state.tagger(name)
    return shelves().directions.get_or_make(
        (loaded.info.sha256, layer), lambda: prototypes(weight(name, layer))
    )


def order(name: str, layer: str, ratio: float) -> OrderDependence:
    """How much a layer's operator norm depends on the order of its filters, computed once, in one's turn."""
    loaded = state.tagger(name)
    key = (loaded.info.sha256, layer, ratio)
    found = shelves().orders.get(key)
    if found is not None:
        return found
    with state.server().gate.turn():
        return shelves().orders.put(key, order_dependence(weight(name, layer), ratio))


def orders(name: str, ratio: float, tell: Step) -> dict[str, tuple[OrderDependence, dict[str, int]]]:
    """Every layer's order dependence, and the rank that each reading of the operator norm gives its filter 0.

    ``tell`` hears of the layers that are not there yet, and may stop the work.
    """
    sha256 = state.tagger(name).info.sha256
    missing = [layer for layer in LAYERS if shelves().orders.get((sha256, layer, ratio)) is None]
    found = {}
    for layer in LAYERS:
        if layer in missing:
            tell(missing.index(layer), len(missing), layer)
        first = {each: int(ranks(scores(name, layer, each))[0]) for each in READINGS}
        found[layer] = (order(name, layer, ratio), first)
    return found


def heard_already(source: Source, name: str, layer: str) -> bool:
    """Whether it is known what a layer hears of a clip, so that ``filter_map`` answers at once."""
    return shelves().heard.get((source.key, state.tagger(name).info.sha256, layer)) is not None


def filter_map(
    source: Source, name: str, layer: str, index: int, tell: state.Tell | None = None
) -> FeatureMap:
    """One filter's feature map of the first ``MAX_SECONDS`` of a clip. Raises ``PannscopeError``."""
    waveform = state.opened(source).clip.beginning(MAX_SECONDS)
    loaded = state.tagger(name)
    key = (source.key, loaded.info.sha256, layer)
    heard = shelves().heard.get(key)
    if heard is None:
        with state.server().gate.turn(tell):
            heard = shelves().heard.get_or_make(key, lambda: layer_input(loaded.model, layer, waveform))
    return feature_map(loaded.model, layer, index, heard)
