"""Take home: a network as a file for other programs, each copy checked against the network before it is offered.

``saving`` writes, checks and publishes; ``formats`` lists what there is; ``panns`` is the authors' layout; ``check`` holds a copy
against its source.
"""

from __future__ import annotations

from core.export.formats import FORMATS, Exported, Format
from core.export.saving import export, export_bytes

__all__ = ["FORMATS", "Exported", "Format", "export", "export_bytes"]
