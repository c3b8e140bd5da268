"""Where training computes, and in which precision."""

from __future__ import annotations

import torch

from core.errors import DataError


def precision_on(device: str, precision: str) -> str:
    """What ``--device`` and ``--precision`` come to: "float32" or "bfloat16"; "auto" is bfloat16 where hardware computes in it.

    Raises ``DataError`` for a device or a precision that is not known, or a GPU that is not there.

    Examples
    --------
    >>> precision_on("cpu", "float32")
    'float32'
    """
    if device not in ("cpu", "cuda"):
        raise DataError(f"--device is cpu or cuda; got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("This PyTorch sees no CUDA GPU; leave --device out, or install PyTorch for CUDA.")
    if precision != "auto":
        return precision
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if fast else "float32"
