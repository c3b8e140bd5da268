"""Mapping the weights of a legacy torch file, which lie at odd places in it and so cannot be mapped where they are.

The bytes are copied, a megabyte at a time, to aligned places in a scratch file that is mapped and at once unlinked: it goes with
the last tensor that uses it. CNN14's 327 MB (the published file is a legacy one) then cost no more memory than what is being
used, and the system may take even that back when memory is short, instead of 327 MB that stay.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from core.checkpoints.claims import TensorClaim

log = logging.getLogger(__name__)

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
_PIECE = 1 << 20


def map_tensors(
    path: Path, claims: Mapping[str, TensorClaim], places: Mapping[str, int]
) -> dict[str, Tensor] | None:
    """The claimed tensors of ``path``, mapped from an aligned copy; None where no scratch file can be had.

    Parameters
    ----------
    claims : name -> tensor, each already held against the file.
    places : storage key -> position of its first byte in the file.

    Notes
    -----
    The scratch file is created beside the checkpoint, where a file of its size has found room before, or else where
    temporary files go. Nothing of the file is unpickled. Windows deletes no file that is mapped, so there is none there.
    """
    if sys.platform == "win32":
        return None
    for folder in (path.parent, Path(tempfile.gettempdir())):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".pannscope-", suffix=".map") as scratch:
                starts, size = _copy(path, claims, places, scratch)
                storage: Any = torch.UntypedStorage.from_file(scratch.name, False, size)
        except (OSError, RuntimeError) as error:
            log.debug("no scratch file in %s: %s", folder, error)
            continue
        return {name: _window(storage, starts[claim.storage.key], claim) for name, claim in claims.items()}
    return None


def _copy(
    path: Path, claims: Mapping[str, TensorClaim], places: Mapping[str, int], scratch: IO[bytes]
) -> tuple[dict[str, int], int]:
    """Copy every storage to an aligned place; (key -> its first byte there, bytes in all)."""
    starts: dict[str, int] = {}
    position = 0
    with path.open("rb") as file:
        for storage in {claim.storage.key: claim.storage for claim in claims.values()}.values():
            starts[storage.key] = position
            scratch.seek(position)
            file.seek(places[storage.key])
            left = storage.nbytes
            while left:
                piece = file.read(min(left, _PIECE))
                if not piece:
                    raise OSError("the checkpoint became shorter while it was read")
                scratch.write(piece)
                left -= len(piece)
            position += -(-storage.nbytes // _ALIGNMENT) * _ALIGNMENT
    scratch.truncate(position)
    scratch.flush()
    return starts, position


def _window(storage: Any, start: int, claim: TensorClaim) -> Tensor:
    first = start // claim.dtype.itemsize + claim.offset
    tensor = torch.empty(0, dtype=claim.dtype, device="cpu")
    return tensor.set_(storage, first, claim.shape, claim.stride)
