"""Checkpoints: the manifest, fetching what it lists, loading and saving.

``entries`` reads the manifest; ``install`` (with ``download``) downloads and verifies; ``loading`` opens both layouts, ``torchfile``
(with ``claims`` and ``mapping``) the official one and ``tensorfile`` ours; ``info`` describes a loaded checkpoint.
"""

from __future__ import annotations

from core.checkpoints.download import DownloadCancelledError
from core.checkpoints.entries import (
    CHECKPOINTS_DIR,
    Entry,
    entry,
    manifest,
    path_of,
    read_manifest,
    status,
)
from core.checkpoints.info import Checkpoint, CheckpointInfo
from core.checkpoints.install import Fetched, fetch, recorded_sha256
from core.checkpoints.loading import load_checkpoint
from core.checkpoints.tensorfile import save_checkpoint

__all__ = [
    "CHECKPOINTS_DIR",
    "Checkpoint",
    "CheckpointInfo",
    "DownloadCancelledError",
    "Entry",
    "Fetched",
    "entry",
    "fetch",
    "load_checkpoint",
    "manifest",
    "path_of",
    "read_manifest",
    "recorded_sha256",
    "save_checkpoint",
    "status",
]
