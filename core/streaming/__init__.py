"""Tags of sound as it arrives: after every hop the tags of the last seconds."""

from __future__ import annotations

from core.streaming.stream import Stream, StreamOutput

__all__ = ["Stream", "StreamOutput"]
