"""Checkpoints: the manifest, fetching what it lists, loading and saving.

``entries`` reads the manifest; ``install`` (with ``download`` and ``verify``) downloads and verifies; ``loading`` makes a network of a file, which
``opening`` opens (``torchfile`` with ``pickles``, or ``tensorfile``), in which ``selection`` finds the weights and ``origin`` what they
belong to; ``weights`` copies them; ``info`` describes a loaded checkpoint.
"""

from __future__ import annotations

from core.checkpoints.download import DownloadCancelledError
from core.checkpoints.entries import (
    CHECKPOINTS_DIR,
    Entry,
    entry,
    manifest,
    missing_package,
    named_file,
    path_of,
    status,
)
from core.checkpoints.info import Checkpoint, CheckpointInfo
from core.checkpoints.install import Fetched, fetch, recorded_sha256, remove
from core.checkpoints.loading import MEL_KEY, load_checkpoint
from core.checkpoints.tensorfile import (
    CHECKPOINT_SUFFIX,
    architecture_of,
    is_tensor_file,
    open_tensor_file,
    save_checkpoint,
)

__all__ = [
    "CHECKPOINTS_DIR",
    "CHECKPOINT_SUFFIX",
    "MEL_KEY",
    "Checkpoint",
    "CheckpointInfo",
    "DownloadCancelledError",
    "Entry",
    "Fetched",
    "architecture_of",
    "entry",
    "fetch",
    "is_tensor_file",
    "load_checkpoint",
    "manifest",
    "missing_package",
    "named_file",
    "open_tensor_file",
    "path_of",
    "recorded_sha256",
    "remove",
    "save_checkpoint",
    "status",
]
