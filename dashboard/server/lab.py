"""What the server keeps of filters: their scores, under the checkpoint's sha256, so that no two files can share one."""

from __future__ import annotations

import numpy as np

from core.pruning.criteria import layer_importance
from core.tagging import Tagger
from dashboard.server import state


def scores(name: str, criterion: str, layer: str) -> np.ndarray:
    """Importance (filters,) of one layer's filters in [0, 1], computed once for a checkpoint's content."""
    return scores_of(state.server(), state.tagger(name), criterion, layer)


def scores_of(server: state.Server, tagger: Tagger, criterion: str, layer: str) -> np.ndarray:
    """The same for a loaded network: what a thread without a page can ask."""
    return server.scores.get_or_make(
        (tagger.info.sha256, criterion, layer), lambda: layer_importance(tagger.model, layer, criterion)
    )
