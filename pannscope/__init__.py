"""Pannscope in Python: load an audio tagger, tag, compare, prune, repair, heal, count and export.

Every name is imported when it is first used, so that ``import pannscope`` takes no time. docs/api.md is the reference.

>>> import pannscope
>>> tagger = pannscope.load_tagger("demo-cnn14")
>>> pruned = pannscope.prune(tagger, pannscope.plan(tagger, 0.5))
>>> pannscope.profile(pruned).params_trainable / pannscope.profile(tagger).params_trainable < 0.35
True
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.api import heal, plan, profile, prune, repair
    from core.audio import load_clip
    from core.compare import compare
    from core.errors import (
        AudioError,
        CheckpointError,
        DataError,
        DownloadError,
        ExportError,
        ModelError,
        PannscopeError,
        PruningError,
        SettingsError,
    )
    from core.export import export
    from core.panns_inference import AudioTagging, SoundEventDetection
    from core.streaming import Stream
    from core.tagging import Tagger, load_tagger
    from core.tags import Tags

__all__ = [
    "AudioError",
    "AudioTagging",
    "CheckpointError",
    "DataError",
    "DownloadError",
    "ExportError",
    "ModelError",
    "PannscopeError",
    "PruningError",
    "SettingsError",
    "SoundEventDetection",
    "Stream",
    "Tagger",
    "Tags",
    "compare",
    "export",
    "heal",
    "load_clip",
    "load_tagger",
    "plan",
    "profile",
    "prune",
    "repair",
]


def foreign_core() -> str | None:
    """One line that names the package that hides Pannscope's ``core``; None where the import finds the right one."""
    spec = find_spec("core")
    found = Path((spec and spec.origin) or ".").resolve()
    ours = Path(__file__).resolve().parents[1] / "core" / "__init__.py"
    if found == ours:
        return None
    return (
        f"Python imports another project's package `core` ({found}) instead of Pannscope's ({ours}). Start from another folder, or "
        "remove that project from PYTHONPATH."
    )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pannscope' has no attribute {name!r}")
    if problem := foreign_core():
        raise ImportError(problem)
    return getattr(import_module(import_module("core").API[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
