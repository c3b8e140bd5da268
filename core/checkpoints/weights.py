"""A file with weights, of either layout, and the weights taken from it.

They are copied, a megabyte at a time, to aligned positions in a scratch file without a name, and mapped from there. So nothing that
happens to the checkpoint afterwards reaches the program (a mapped file that is truncated ends it with SIGBUS), CNN14's 327 MB take
only the memory of the pages in use, and the system removes the copy with the last tensor that uses it. Where there can be no scratch
file the weights are read into memory.
"""

from __future__ import annotations

import io
import logging
import mmap
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.claims import StorageClaim, TensorClaim
from core.checkpoints.info import Metadata
from core.errors import CheckpointError

log = logging.getLogger(__name__)

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
_EXPONENTS: dict[torch.dtype, tuple[type[np.unsignedinteger[Any]], int]] = {
    torch.float16: (np.uint16, 0x7C00),
    torch.bfloat16: (np.uint16, 0x7F80),
    torch.float32: (np.uint32, 0x7F80_0000),
    torch.float64: (np.uint64, 0x7FF0_0000_0000_0000),
}
"""The bits that are all ones in NaN and infinity, and in nothing else (IEEE 754; bfloat16 is float32's upper half)."""
_PIECE = 1 << 20  # bytes; a multiple of every dtype's size


@dataclass(frozen=True)
class WeightFile:
    """A file whose claims agree with its size; no weight of it is read yet.

    Attributes
    ----------
    path : the file.
    root : what it holds: dicts, lists and plain values, with a ``TensorClaim`` for each tensor.
    positions : storage key -> position of its first byte in the file.
    metadata : Pannscope's own description; None in another program's file.
    notes : other texts that describe the network, by name.
    """

    path: Path
    root: Any
    positions: Mapping[str, int]
    metadata: Metadata | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def tensors(self, claims: Mapping[str, TensorClaim]) -> dict[str, Tensor]:
        """The claimed tensors, by name, as they are stored. Raises ``CheckpointError`` for NaN and infinity."""
        storages = {claim.storage.key: claim.storage for claim in claims.values()}
        starts, size = {}, 0
        for storage in storages.values():
            starts[storage.key] = size
            size += -(-max(1, storage.nbytes) // _ALIGNMENT) * _ALIGNMENT
        try:
            content, damaged = self._copy(storages.values(), starts, size)
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        tensors = {name: _window(content, starts[claim.storage.key], claim) for name, claim in claims.items()}
        for name, claim in claims.items():
            # A storage can be larger than its tensor.
            if claim.storage.key in damaged and not bool(torch.isfinite(tensors[name]).all()):
                raise CheckpointError(
                    f"{self.path} holds NaN or infinite values in {name}: its training has diverged. Use an earlier checkpoint."
                )
        return tensors

    def _copy(
        self, storages: Iterable[StorageClaim], starts: Mapping[str, int], size: int
    ) -> tuple[mmap.mmap | memoryview, set[str]]:
        """The storages, each from its start in ``size`` bytes on, and the keys of those that hold NaN or infinity."""
        # Where there was room for the checkpoint before, or else where temporary files go. Windows deletes no file that is mapped.
        folders = () if sys.platform == "win32" else (self.path.parent, tempfile.gettempdir())
        for folder in folders:
            try:
                with tempfile.TemporaryFile(dir=folder, prefix=".pannscope-") as scratch:
                    scratch.truncate(size)
                    damaged = self._fill(scratch, storages, starts)
                    scratch.flush()
                    return mmap.mmap(scratch.fileno(), size, access=mmap.ACCESS_COPY), damaged
            except OSError as error:
                log.debug("no scratch file in %s: %s", folder, error)
        memory = io.BytesIO(bytes(size))
        damaged = self._fill(memory, storages, starts)
        return memory.getbuffer(), damaged

    def _fill(
        self, target: IO[bytes], storages: Iterable[StorageClaim], starts: Mapping[str, int]
    ) -> set[str]:
        damaged: set[str] = set()
        buffer = bytearray(_PIECE)
        with self.path.open("rb") as file:
            for storage in storages:
                file.seek(self.positions[storage.key])
                target.seek(starts[storage.key])
                left = storage.nbytes
                while left:
                    piece = memoryview(buffer)[: min(left, _PIECE)]
                    if file.readinto(piece) < len(piece):
                        raise CheckpointError(
                            f"{self.path} became shorter while it was read; load it once it is complete."
                        )
                    if storage.dtype in _EXPONENTS and not _finite(piece, *_EXPONENTS[storage.dtype]):
                        damaged.add(storage.key)
                    target.write(piece)
                    left -= len(piece)
        return damaged


def _finite(piece: memoryview, kind: type[np.unsignedinteger[Any]], exponent: int) -> bool:
    """Whether no exponent is all ones. By numpy: torch would wake all its threads for every piece, 9 s of work for a CNN14."""
    mask = kind(exponent)
    return not bool(np.equal(np.frombuffer(piece, kind) & mask, mask).any())


def _window(content: mmap.mmap | memoryview, start: int, claim: TensorClaim) -> Tensor:
    stored = torch.frombuffer(content, dtype=claim.dtype, count=claim.storage.elements, offset=start)
    return stored.as_strided(claim.shape, claim.stride, claim.offset)
