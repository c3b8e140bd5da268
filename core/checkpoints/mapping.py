"""Mapping the weights of a legacy torch file, which are not aligned in it and so cannot be mapped where they are.

The bytes are copied, a megabyte at a time, to aligned positions in a scratch file that is mapped and at once unlinked: the system
removes it with the last tensor that uses it. CNN14's 327 MB (the published file is a legacy one) then take only the memory of the
pages in use, and the system may reclaim even that when memory is short.
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
    path: Path, claims: Mapping[str, TensorClaim], positions: Mapping[str, int]
) -> dict[str, Tensor] | None:
    """The claimed tensors of ``path``, mapped from an aligned copy; None where there can be no scratch file.

    Parameters
    ----------
    path : Path
        The torch file.
    claims : mapping of str to TensorClaim
        Tensors by name, already checked against the file.
    positions : mapping of str to int
        Storage key -> position of its first byte in the file.

    Notes
    -----
    The scratch file is created beside the checkpoint, where there was room for a file of its size before, or else in the
    folder for temporary files. Nothing of the checkpoint is unpickled. Windows cannot delete a file that is mapped, so that
    there is no mapping on it.
    """
    if sys.platform == "win32":
        return None
    for folder in (path.parent, Path(tempfile.gettempdir())):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".pannscope-", suffix=".map") as scratch:
                starts, size = _copy(path, claims, positions, scratch)
                storage: Any = torch.UntypedStorage.from_file(scratch.name, False, size)
        except (OSError, RuntimeError) as error:
            log.debug("no scratch file in %s: %s", folder, error)
            continue
        return {name: _window(storage, starts[claim.storage.key], claim) for name, claim in claims.items()}
    return None


def _copy(
    path: Path, claims: Mapping[str, TensorClaim], positions: Mapping[str, int], scratch: IO[bytes]
) -> tuple[dict[str, int], int]:
    """Copy every storage to an aligned position; (key -> position of its first byte, bytes in all)."""
    starts: dict[str, int] = {}
    position = 0
    with path.open("rb") as file:
        for storage in {claim.storage.key: claim.storage for claim in claims.values()}.values():
            starts[storage.key] = position
            scratch.seek(position)
            file.seek(positions[storage.key])
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
