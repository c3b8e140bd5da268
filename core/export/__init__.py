"""Export: a network as a file for other programs, each copy compared with the network before it is offered.

``saving`` writes, checks and publishes; ``formats`` lists the formats; ``writers`` has one function a format; ``check`` compares a
copy with its source.
"""

from __future__ import annotations

from core.export.compare_page import web
from core.export.formats import FORMATS, Exported, Format
from core.export.onnx_file import write_onnx
from core.export.saving import check_export, export, export_bytes
from core.export.writers import refusal

__all__ = [
    "FORMATS",
    "Exported",
    "Format",
    "check_export",
    "export",
    "export_bytes",
    "refusal",
    "web",
    "write_onnx",
]
