"""What was done to a pruned network, kept with it: in a checkpoint on disk, or in memory without a file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.checkpoints import CHECKPOINT_SUFFIX, CheckpointInfo, save_checkpoint
from core.models.network import Network
from core.pruning.plan import PruningPlan
from core.pruning.surgery import compose
from core.tagging import Tagger

KEY = "pruning"
"""Entry of a checkpoint's training notes that holds its plan."""


def save_pruned(
    path: str | os.PathLike[str],
    tagger: Tagger,
    plan: PruningPlan,
    pruned: Network,
    *,
    repair: dict[str, Any] | None = None,
    half: bool = False,
) -> CheckpointInfo:
    """Write a pruned network as a checkpoint, with its plan.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file; the checkpoint is named after it.
    tagger : Tagger
        The network before.
    plan : PruningPlan
        What was removed from it; kept indices in the file are composed with those of earlier prunings, so that they refer to
        the original, unpruned network.
    pruned : Network
        The network after, repaired or not.
    repair : dict, optional
        ``Repaired.document``.
    half : bool
        Store matrices as float16.

    Raises
    ------
    CheckpointError
        As ``save_checkpoint`` does.
    """
    return save_checkpoint(
        path,
        pruned,
        classes=tagger.classes,
        name=Path(path).stem,
        kept=compose(tagger.info.kept, plan),
        training=_notes(tagger.info, plan, repair),
        half=half,
    )


def pruned_info(
    info: CheckpointInfo,
    plan: PruningPlan,
    pruned: Network,
    name: str,
    repair: dict[str, Any] | None = None,
) -> CheckpointInfo:
    """The ``CheckpointInfo`` of a pruned network that is in memory only, as ``save_pruned`` would write it under ``name``.

    There is no file: ``path`` does not exist, ``size_bytes`` are the tensors', and ``sha256`` is the hash of everything that the
    network was made from (the unpruned checkpoint, the plan, the repair), so that different networks have different hashes.
    """
    notes = _notes(info, plan, repair)
    return CheckpointInfo(
        name=name,
        architecture=info.architecture,
        widths=pruned.config.widths,
        embedding=pruned.config.embedding,
        classes=info.classes,
        kept=compose(info.kept, plan),
        training=notes,
        sha256=_digest(info, notes),
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in pruned.state_dict().values()),
        path=Path(f"{name}{CHECKPOINT_SUFFIX}"),
    )


def healed_info(pruned: CheckpointInfo, healing: dict[str, Any], name: str) -> CheckpointInfo:
    """The ``CheckpointInfo`` of a healed network that is in memory only, from that of the pruned one and ``Healed.document``."""
    notes = pruned.training | {"healing": healing}
    return replace(
        pruned,
        name=name,
        training=notes,
        sha256=_digest(pruned, notes),
        path=Path(f"{name}{CHECKPOINT_SUFFIX}"),
    )


def _digest(info: CheckpointInfo, notes: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([info.sha256, notes], sort_keys=True).encode()).hexdigest()


def _notes(info: CheckpointInfo, plan: PruningPlan, repair: dict[str, Any] | None) -> dict[str, Any]:
    pruning = {
        "pruned_from": info.name,
        "pruned_from_sha256": info.sha256,
        "ratio": plan.ratio,
        **plan.document(),
    }
    # What was done after an earlier pruning was not done to this network.
    earlier = {key: value for key, value in info.training.items() if key not in ("repair", "healing")}
    return {**earlier, KEY: pruning} | ({"repair": repair} if repair else {})
