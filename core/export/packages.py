"""The packages that a format needs, imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any

from core.errors import ExportError


def require(module: str) -> Any:
    """Import a module of onnx, onnxruntime or ncnn; raises ``ExportError`` where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ExportError(
            f"This format needs the package {package}, which cannot be imported ({error}); install what requirements.txt "
            f"lists, or {package} alone: pip install {package}"
        ) from error
