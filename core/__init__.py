"""Pannscope's core: audio taggers, their pruning, and the measurement of both.

``core`` knows nothing of the dashboard and never prints (``panns_inference`` alone prints what its original does). ``API`` is the public interface; ``import pannscope`` offers all of it, and
this package every name that no module of its own has (``core.compare`` and ``core.export`` are modules).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.api import heal, plan, profile, prune, repair
    from core.audio import load_clip
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
    from core.panns_inference import AudioTagging, SoundEventDetection
    from core.streaming import Stream
    from core.tagging import Tagger, load_tagger
    from core.tags import Tags

API = {
    "load_clip": "core.audio",
    "load_tagger": "core.tagging",
    "Tagger": "core.tagging",
    "Tags": "core.tags",
    "Stream": "core.streaming",
    "compare": "core.compare",
    "plan": "core.api",
    "prune": "core.api",
    "repair": "core.api",
    "heal": "core.api",
    "profile": "core.api",
    "AudioTagging": "core.panns_inference",
    "SoundEventDetection": "core.panns_inference",
    "export": "core.export",
    "PannscopeError": "core.errors",
    "AudioError": "core.errors",
    "CheckpointError": "core.errors",
    "DataError": "core.errors",
    "DownloadError": "core.errors",
    "ExportError": "core.errors",
    "ModelError": "core.errors",
    "PruningError": "core.errors",
    "SettingsError": "core.errors",
}
"""Every public name and its module, which is imported when the name is first used: torch takes seconds, the errors nothing."""

__all__ = [
    "API",
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
    "heal",
    "load_clip",
    "load_tagger",
    "plan",
    "profile",
    "prune",
    "repair",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(API[name]), name)
    raise AttributeError(f"module 'core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
