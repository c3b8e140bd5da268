"""Scores of filters, how far they depend on the filters' order, and feature maps; each computed once.

Everything is cached under the checkpoint's sha256, never its name alone, so that two files cannot share a score.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np

from core.feature_map import FeatureMap, LayerInput, feature_map, layer_input
from core.pruning.criteria import CRITERIA, group_importance, group_weights
from core.pruning.order import OrderDependence, order_dependence
from core.pruning.ranking import ranks
from core.pruning.similarity import prototypes
from core.tagging import Tagger
from dashboard.server.cache import ByteLruCache
from dashboard.server.clips import Clips
from dashboard.server.inference_queue import InferenceQueue, OnWait
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.models import Models
from dashboard.server.source import Source

MAX_SECONDS = 30.0
"""A feature map is drawn of at most this much of a clip: 30 s before C2 of the full CNN14 take 49 MB."""

READINGS = ("operator-norm", "operator-norm-energy", "operator-norm-abs")
"""The published operator norm, and the two readings of it that do not depend on the order of the filters."""

_INPUT_BYTES = 64 * 2**20
_ORDER_BYTES = 8 * 2**20
_SCORE_BYTES = 8 * 2**20

OnStep = Callable[[int, int, str], None]
"""Called before every piece of work: how many are done, of how many, and what comes now."""


class Filters:
    """What is known of the filters of every network."""

    def __init__(self, models: Models, clips: Clips, queue: InferenceQueue, pressure: MemoryPressure) -> None:
        self._models, self._clips, self._queue = models, clips, queue
        self._scores: ByteLruCache[np.ndarray] = ByteLruCache(_SCORE_BYTES, _array_bytes)
        self._prototypes: ByteLruCache[np.ndarray] = ByteLruCache(_ORDER_BYTES, _array_bytes)
        self._orders: ByteLruCache[OrderDependence] = ByteLruCache(
            _ORDER_BYTES, lambda order: 128 + int(order.stays.nbytes + order.rank_when_first.nbytes)
        )
        self._inputs: ByteLruCache[LayerInput] = ByteLruCache(_INPUT_BYTES, lambda inputs: inputs.maps.nbytes)
        pressure.add(self._inputs)

    def weight(self, name: str, layer: str) -> np.ndarray:
        """A layer's weights (filters, input channels, height, width); read-only by agreement. A kernel of one axis has height 1."""
        weight = group_weights(self._models.tagger(name).model, layer)[layer]
        return weight if weight.ndim == 4 else weight[:, :, None]

    def has_scores(self, name: str, layer: str, criterion: str) -> bool:
        """Whether ``scores`` returns at once. Raises ``CheckpointError``."""
        return self._scores.get((*self._models.key(name), layer, criterion)) is not None

    def scores(self, name: str, layer: str, criterion: str, on_wait: OnWait | None = None) -> np.ndarray:
        """Importance (filters,) of one layer's filters in [0, 1], with those that share them. Raises ``PannscopeError``."""
        return self._scored(self._models.tagger(name), layer, criterion, self._queue.slot(on_wait))

    def layer_scores(self, tagger: Tagger, layer: str, criterion: str) -> np.ndarray:
        """The same without waiting for the queue: for jobs, which have a slot already."""
        return self._scored(tagger, layer, criterion)

    def all_scores(self, name: str, layer: str, on_step: OnStep) -> dict[str, np.ndarray]:
        """One layer's scores by every criterion; ``on_step`` is called for those still to be computed, and may stop the work."""
        missing = [criterion for criterion in CRITERIA if not self.has_scores(name, layer, criterion)]
        for done, criterion in enumerate(missing):
            on_step(done, len(missing), criterion)
            self.scores(name, layer, criterion)
        return {criterion: self.scores(name, layer, criterion) for criterion in CRITERIA}

    def prototypes(self, name: str, layer: str) -> np.ndarray:
        """The prototypes (filters, taps) that the similarity of filters is measured between."""
        key = (*self._models.key(name), layer)
        return self._prototypes.get_or_make(key, lambda: prototypes(self.weight(name, layer)))

    def order_dependence(self, name: str, layer: str, ratio: float) -> OrderDependence:
        """How much a layer's operator norm depends on the order of its filters."""
        return self._orders.get_or_make(
            (*self._models.key(name), layer, ratio),
            lambda: order_dependence(self.weight(name, layer), ratio),
            within=self._queue.slot(),
        )

    def order_by_layer(
        self, name: str, ratio: float, on_step: OnStep
    ) -> dict[str, tuple[OrderDependence, dict[str, int]]]:
        """Every layer's order dependence, and the rank that each of ``READINGS`` gives its filter 0.

        ``on_step`` is called for the layers still to be computed, and may stop the work.
        """
        key, layers = self._models.key(name), self._models.structure(name).layers
        missing = [layer for layer in layers if self._orders.get((*key, layer, ratio)) is None]
        result = {}
        for layer in layers:
            if layer in missing:
                on_step(missing.index(layer), len(missing), layer)
            first = {reading: int(ranks(self.scores(name, layer, reading))[0]) for reading in READINGS}
            result[layer] = (self.order_dependence(name, layer, ratio), first)
        return result

    def has_layer_input(self, source: Source, name: str, layer: str) -> bool:
        """Whether ``feature_map`` returns at once."""
        return self._inputs.get((source.key, *self._models.key(name), layer)) is not None

    def feature_map(
        self, source: Source, name: str, layer: str, index: int, on_wait: OnWait | None = None
    ) -> FeatureMap:
        """One filter's feature map of the first ``MAX_SECONDS`` of a clip. Raises ``PannscopeError``."""
        waveform = self._clips.clip(source, on_wait).clip.beginning(MAX_SECONDS)
        model = self._models.tagger(name).model
        inputs = self._inputs.get_or_make(
            (source.key, *self._models.key(name), layer),
            lambda: layer_input(model, layer, waveform),
            within=self._queue.slot(on_wait),
        )
        return feature_map(model, layer, index, inputs)

    def _scored(
        self,
        tagger: Tagger,
        layer: str,
        criterion: str,
        slot: AbstractContextManager[None] | None = None,
    ) -> np.ndarray:
        return self._scores.get_or_make(
            (tagger.name, tagger.info.sha256, layer, criterion),
            lambda: group_importance(tagger.model, layer, criterion),
            within=slot,
        )


def _array_bytes(array: np.ndarray) -> int:
    return 128 + int(array.nbytes)
