"""The official layout: a file of ``torch.save`` that holds a state dict, alone or under the key ``model``.

There are two containers. Since PyTorch 1.6 ``torch.save`` writes a zip archive, whose tensors are mapped into memory; before,
it wrote one stream of pickles with the tensors' bytes behind them ("legacy"), which are mapped from an aligned copy
(``core.checkpoints.mapping``). In both, the claims are read first (``core.checkpoints.claims``) and checked against the file's
size. Nothing is unpickled but by ``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import io
import logging
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoints.claims import MAX_PICKLE_BYTES, StorageClaim, TensorClaim, read_pickle
from core.checkpoints.mapping import map_tensors
from core.errors import CheckpointError

log = logging.getLogger(__name__)

# What torch.save wrote at the head of a file until 1.6 (torch/serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_MAX_RECORDS = 20_000


@dataclass(frozen=True)
class TorchFile:
    """A torch file whose claims agree with its size; nothing of it is loaded yet.

    Attributes
    ----------
    path : the file.
    key : "model" where the state dict is under that key, None where it is the whole file.
    claims : name -> the tensor's description in the file.
    positions : of a legacy file: storage key -> position of its bytes; None for a zip archive.
    """

    path: Path
    key: str | None
    claims: dict[str, TensorClaim]
    positions: dict[str, int] | None

    def shapes(self) -> dict[str, Tensor]:
        """The tensors without their values, on the meta device."""
        return {
            name: torch.empty(claim.shape, dtype=claim.dtype, device="meta")
            for name, claim in self.claims.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """The tensors. Mapped ones take memory only as they are used, and are invalid once the file changes."""
        if self.positions is not None:
            copied = map_tensors(self.path, self.claims, self.positions)
            if copied is not None:
                return copied
        try:
            zipped = self.positions is None
            loaded: Any = torch.load(self.path, map_location="cpu", weights_only=True, mmap=zipped)
        except Exception as error:
            # PyTorch's own message advises weights_only=False, which would run the file's code.
            log.debug("torch.load refused %s", self.path, exc_info=error)
            raise CheckpointError(
                f"{self.path} cannot be loaded: PyTorch's weights-only loader refused it ({type(error).__name__}); nothing "
                "was executed. Use a file that holds model.state_dict() alone."
            ) from error
        state = loaded[self.key] if self.key else loaded
        for name, claim in self.claims.items():
            tensor = state.get(name)
            if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (claim.shape, claim.dtype):
                raise CheckpointError(
                    f"{self.path} is damaged: {name} does not have the type or shape that the file claims."
                )
        return {name: state[name].detach() for name in self.claims}


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip archive does (as ``torch.load`` distinguishes its two formats)."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def open_torch_file(path: Path) -> TorchFile:
    """Read what the torch file ``path`` claims, and check it against the file. Raises ``CheckpointError``."""
    try:
        root, positions = (_zip_root(path), None) if is_zip(path) else _legacy_root(path)
        key, claims = _state_dict(root)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    return TorchFile(path, key, claims, positions)


def _state_dict(root: Any) -> tuple[str | None, dict[str, TensorClaim]]:
    """The state dict in a file's root object, and its key there."""
    if not isinstance(root, dict):
        raise CheckpointError(
            f"holds a {type(root).__name__} instead of a state dict; save model.state_dict()"
        )
    key = "model" if isinstance(root.get("model"), dict) else None
    state = root["model"] if key else root
    if not any(isinstance(value, TensorClaim) for value in state.values()):
        names = ", ".join(ascii(name)[:40] for name in list(root)[:5]) or "nothing"
        raise CheckpointError(
            f"holds no weights: it has {names}, and tensors are expected on top or under 'model'"
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, TensorClaim):
            raise CheckpointError(
                f"is not a state dict: {str(name)[:60]!r} is a {type(value).__name__}, not a tensor"
            )
        if 0 in value.shape:
            raise CheckpointError(f"is damaged: {name[:60]!r} has no elements")
    return key, dict(state)


def _storages(root: Any) -> dict[str, StorageClaim]:
    """Every storage that tensors refer to, by key; two claims about one storage have to agree."""
    storages: dict[str, StorageClaim] = {}
    waiting, seen = [root], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, TensorClaim):
            if storages.setdefault(value.storage.key, value.storage) != value.storage:
                raise CheckpointError("is damaged: it describes one storage in two ways")
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return storages


def _zip_root(path: Path) -> Any:
    """The root object of a zip file, its storages checked against the archive's records."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            sizes = {record.filename: record.file_size for record in records}
            pickles = [name for name in sizes if name.endswith("/data.pkl") and name.count("/") == 1]
            if any(name.endswith("/constants.pkl") for name in sizes):
                raise CheckpointError(
                    "is a TorchScript archive, which holds code; save model.state_dict() instead"
                )
            if len(pickles) != 1:
                raise CheckpointError("is a zip archive that torch.save did not write")
            if len(sizes) != len(records) or len(records) > _MAX_RECORDS:
                raise CheckpointError("is damaged: it holds a record twice, or too many records")
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise CheckpointError("is a compressed archive; torch.save writes plain ones")
            if sizes[pickles[0]] > MAX_PICKLE_BYTES:
                raise CheckpointError("is not a state dict: its pickle alone is over 1 MB")
            prefix = pickles[0].removesuffix("data.pkl")
            if sizes.get(prefix + "byteorder", 6) > 6 or (
                prefix + "byteorder" in sizes and archive.read(prefix + "byteorder") != b"little"
            ):
                raise CheckpointError("was written on a big-endian machine; save it again on another")
            root = read_pickle(io.BytesIO(archive.read(pickles[0])))
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        RuntimeError,
        EOFError,
        OverflowError,
        struct.error,
    ) as error:
        raise CheckpointError("is damaged or truncated: its zip archive cannot be read") from error
    storages = _storages(root)
    for storage in storages.values():
        stored = sizes.get(f"{prefix}data/{storage.key}")
        if stored != storage.nbytes:
            raise CheckpointError(
                f"is damaged: it claims {storage.nbytes} bytes for storage {storage.key[:20]!r} and holds {stored or 0}"
            )
    if sum(storage.nbytes for storage in storages.values()) > path.stat().st_size:
        raise CheckpointError("is damaged: its records overlap")
    return root


def _legacy_root(path: Path) -> tuple[Any, dict[str, int]]:
    """The root object of a file from before PyTorch 1.6, and the position of each storage's bytes behind the pickles."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
        if read_pickle(head) != _LEGACY_MAGIC or read_pickle(head) != _LEGACY_VERSION:
            raise CheckpointError("is a pickle that torch.save did not write; nothing was executed")
        read_pickle(head)  # the byte order and type sizes of the machine that wrote it
        root = read_pickle(head)
        keys = read_pickle(head)
        storages = _storages(root)
        listed = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not listed or set(keys) != set(storages) or len(keys) != len(storages):
            raise CheckpointError("is damaged: its list of storages does not fit its tensors")
        position = head.tell()
        positions = {}
        for key in keys:
            storage = storages[key]
            file.seek(position)
            length = file.read(8)
            positions[key] = position + 8
            position += 8 + storage.nbytes
            if len(length) < 8 or position > size:
                raise CheckpointError(f"is truncated: it claims at least {position} bytes and holds {size}")
            if struct.unpack("<q", length)[0] != storage.elements:
                raise CheckpointError(f"is damaged: storage {key[:20]!r} has another size than claimed")
    return root, positions
