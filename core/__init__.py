"""Pannscope's core: audio taggers, their pruning, and the measuring of both.

``core`` knows nothing of the dashboard and never prints; see ``core.load_tagger`` for the shortest way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.tagging import Tagger, Tags, load_tagger

__all__ = ["Tagger", "Tags", "load_tagger"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the tagging half (and with it torch) only when it is first asked for."""
    if name in __all__:
        from core import tagging

        return getattr(tagging, name)
    raise AttributeError(f"module 'core' has no attribute {name!r}")
