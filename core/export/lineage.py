"""The origin of a network: the known checkpoint that it is, or that it was pruned or fine-tuned from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.checkpoints import CheckpointInfo, Entry, manifest, path_of, recorded_sha256, status
from core.files import file_sha256


@dataclass(frozen=True)
class Lineage:
    """A network's origin.

    Attributes
    ----------
    entry : the known checkpoint, None where neither the network nor what it was made from is one.
    same : whether the network is that checkpoint itself, rather than made from it.
    """

    entry: Entry | None
    same: bool


def lineage(info: CheckpointInfo, pruning: dict[str, Any] | None) -> Lineage:
    """Find the known checkpoint by sha256; the names in a file's metadata are not verified.

    A network that was pruned in memory carries the sha256 of its parent; it is not the parent.
    """
    made_from = [value for key, value in (pruning or {}).items() if key.endswith("_from_sha256")]
    made_from += [value for key, value in info.training.items() if key.endswith("_from_sha256")]
    itself = known_by(info.sha256)
    if itself is not None:
        return Lineage(itself, info.sha256 not in made_from and itself.widths == info.widths)
    parents = (known_by(sha256) for sha256 in made_from)
    return Lineage(next((parent for parent in parents if parent is not None), None), False)


def known_by(sha256: str | None) -> Entry | None:
    """The known checkpoint with this sha256, among the installed ones."""
    if sha256 is None:
        return None
    return next((entry for entry in manifest().values() if _sha256(entry) == sha256), None)


def _sha256(entry: Entry) -> str | None:
    state = status(entry)
    if state == "embedded" and path_of(entry).is_file():
        return _digest(path_of(entry), path_of(entry).stat().st_mtime_ns)
    return recorded_sha256(path_of(entry)) if state == "installed" else None


@lru_cache(maxsize=8)
def _digest(path: Path, _modified_ns: int) -> str:
    return file_sha256(path)
