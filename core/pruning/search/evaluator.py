"""Hearing what a plan costs: pruned networks on a set of clips, beside the unpruned one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from core.errors import PruningError
from core.models.cnn import Cnn14
from core.pruning.fidelity import divergences
from core.pruning.plan import PruningPlan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair as repair_network
from core.pruning.search.sensitivity import check_targets, mean_average_precision
from core.pruning.surgery import prune
from core.windows import split_windows, validate_waveform, window_mean


class PlanEvaluator:
    """Clips to hear pruned networks on, with the unpruned network's answers.

    Parameters
    ----------
    model : the unpruned network.
    waveforms : clips, (samples,) at 32 kHz each.
    targets : (clips, classes), true where the class is heard, or None.
    method : how networks are repaired before they are heard, or None. On every first, third … clip they are repaired then, and heard
        on the others; a single clip is cut into two halves for it.

    Raises
    ------
    PruningError
        No clips, or targets that do not fit them.
    """

    def __init__(
        self,
        model: Cnn14,
        waveforms: Sequence[np.ndarray],
        targets: np.ndarray | None = None,
        method: RepairConfig | None = None,
    ) -> None:
        if not waveforms:
            raise PruningError("A plan is found by listening to clips; give at least one, better a dozen.")
        clips = [validate_waveform(waveform) for waveform in waveforms]
        check_targets(targets, len(clips), model.config.classes)
        self.clips = len(clips)
        self.labelled = targets is not None
        self._model, self._targets, self._method = model, targets, method
        self._repaired_on: list[np.ndarray] = []
        if method is not None:
            self._repaired_on, clips, self._targets = _divided(clips, targets)
            check_targets(self._targets, len(clips), model.config.classes)
        # The front end is the same for every network, so it listens once: 0.26 MB for 10 s.
        with torch.inference_mode():
            self._logmels = [[model.front_end(window) for window in split_windows(clip)] for clip in clips]
        self._parent = self._answers(model)

    def loss(self, plan: PruningPlan, on_progress: Callable[[int, int], None] | None = None) -> float:
        """What carrying the plan out loses: mean divergence in nats a clip, with targets the fall of mAP."""
        if not plan.kept:
            return 0.0
        network = prune(self._model, plan, share=True)
        if self._method is not None:
            network = repair_network(
                self._model, plan, network, self._repaired_on, self._method, on_progress=on_progress
            ).model
        answers = self._answers(network)
        if self._targets is None:
            return float(divergences(self._parent, answers).mean())
        before, after = (mean_average_precision(self._targets, each) for each in (self._parent, answers))
        return before - after

    def _answers(self, model: Cnn14) -> np.ndarray:
        with torch.inference_mode():
            return np.stack(
                [
                    window_mean([torch.sigmoid(model.network(logmel))[0].numpy() for logmel in logmels])
                    for logmels in self._logmels
                ]
            )


def _divided(
    clips: list[np.ndarray], targets: np.ndarray | None
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Clips to repair on, and clips to hear afterwards with their targets."""
    if len(clips) > 1:
        return clips[::2], clips[1::2], None if targets is None else targets[1::2]
    middle = len(clips[0]) // 2
    return [clips[0][:middle]], [validate_waveform(clips[0][middle:])], targets
