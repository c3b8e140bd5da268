"""What the server keeps of pruning: scores of filters, pruned networks, and what they say about a clip."""

from __future__ import annotations

import numpy as np

from core.pruning.importance import layer_importance
from dashboard import state


def scores(name: str, criterion: str, layer: str) -> np.ndarray:
    """Importance (filters,) of one layer's filters in [0, 1], computed once for a checkpoint's content."""
    tagger = state.tagger(name)
    return state.server().scores.get_or_make(
        (tagger.info.sha256, criterion, layer), lambda: layer_importance(tagger.model, layer, criterion)
    )
