"""The loss of a plan: pruned networks on a set of clips, compared with the unpruned one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from core.compare import divergences
from core.errors import PruningError
from core.models.network import Network
from core.models.registry import architecture
from core.pruning.plan import PruningPlan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair as repair_network
from core.pruning.search.sensitivity import check_targets, mean_average_precision
from core.pruning.surgery import prune
from core.windows import split_windows, validate_waveform, window_mean


class PlanEvaluator:
    """Evaluates pruned networks on clips, against the unpruned network's output.

    Parameters
    ----------
    model : Network
        The unpruned network.
    waveforms : sequence of (samples,) array of float
        Clips at 32 kHz.
    targets : (clips, classes) array, optional
        True where a clip carries the class.
    repair : RepairConfig, optional
        How networks are repaired before they are evaluated. Then every first, third … clip is a calibration clip, and the others
        evaluate; a single clip is cut into two halves.

    Raises
    ------
    PruningError
        No clips, or targets that do not fit them.
    """

    def __init__(
        self,
        model: Network,
        waveforms: Sequence[np.ndarray],
        targets: np.ndarray | None = None,
        repair: RepairConfig | None = None,
    ) -> None:
        if not waveforms:
            raise PruningError("A plan is searched on clips; give at least one, better a dozen.")
        clips = [validate_waveform(waveform, 1) for waveform in waveforms]
        check_targets(targets, len(clips), model.config.classes)
        self.clips = len(clips)
        self.labelled = targets is not None
        self._model, self._targets, self._repair = model, targets, repair
        self._calibration_clips: list[np.ndarray] = []
        if repair is not None:
            self._calibration_clips, clips, self._targets = _split(clips, targets)
            check_targets(self._targets, len(clips), model.config.classes)
        # The front end is the same for every network, so it runs once: a log-mel is 0.26 MB for 10 s, the waveform 1.3 MB.
        entry = architecture(model.architecture)
        with torch.inference_mode():
            self._inputs = [
                [model.front_end(window) for window in split_windows(clip, entry)] for clip in clips
            ]
        self._unpruned = self._probabilities(model)

    def loss(self, plan: PruningPlan, on_progress: Callable[[int, int], None] | None = None) -> float:
        """The plan's loss: mean divergence in nats per clip, or with targets the fall of mAP."""
        if not plan.kept:
            return 0.0
        network = prune(self._model, plan, share=True)
        if self._repair is not None:
            network = repair_network(
                self._model, plan, network, self._calibration_clips, self._repair, on_progress=on_progress
            ).model
        pruned = self._probabilities(network)
        if self._targets is None:
            return float(divergences(self._unpruned, pruned).mean())
        return mean_average_precision(self._targets, self._unpruned) - mean_average_precision(
            self._targets, pruned
        )

    def _probabilities(self, model: Network) -> np.ndarray:
        with torch.inference_mode():
            return np.stack(
                [
                    window_mean(
                        [model.activate(model.head(model.feature_maps(x)))[0].numpy() for x in inputs]
                    )
                    for inputs in self._inputs
                ]
            )


def _split(
    clips: list[np.ndarray], targets: np.ndarray | None
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Calibration clips, and clips to evaluate on with their targets."""
    if len(clips) > 1:
        return clips[::2], clips[1::2], None if targets is None else targets[1::2]
    middle = len(clips[0]) // 2
    return [clips[0][:middle]], [clips[0][middle:]], targets
