"""The official layout: a file of ``torch.save``, whose pickle describes tensors and whose bytes lie beside it.

There are two containers. Since PyTorch 1.6 ``torch.save`` writes a zip archive with a record for each storage; before, it wrote one
stream of pickles with the storages behind them ("legacy": the published CNN14 is one). In both, the claims are read first
(``core.checkpoints.pickles``) and checked against the file's size. Nothing is unpickled.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import IO

from core.checkpoints.info import KEY
from core.checkpoints.pickles import MAX_OPCODES, MAX_PICKLE_BYTES, Pickle, read_pickle
from core.checkpoints.weights import WeightFile
from core.errors import CheckpointError

# What torch.save wrote at the head of a file until 1.6 (torch/serialization.py: MAGIC_NUMBER, PROTOCOL_VERSION).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_MAX_RECORDS = 20_000
_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # of a zip record: signature, lengths of its name and of its extra field

FOLDER = "folder"
"""The note that has a zip archive's top folder: the name that the file was saved under."""


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def open_torch_file(path: Path) -> WeightFile:
    """Read what the torch file ``path`` claims, and check it against the file. Raises ``CheckpointError``."""
    try:
        with path.open("rb") as file:
            return _open_zip(path, file) if is_zip(path) else _open_legacy(path, file)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_zip(path: Path, file: IO[bytes]) -> WeightFile:
    try:
        with zipfile.ZipFile(file) as archive:
            records = {record.filename: record for record in archive.infolist()}
            prefix, saved = _description(archive, records)
        positions = {}
        for storage in saved.storages.values():
            record = records.get(f"{prefix}data/{storage.key}")
            if record is None or record.file_size != storage.nbytes:
                stored = record.file_size if record else 0
                raise CheckpointError(
                    f"is damaged: it claims {storage.nbytes} bytes for storage {storage.key[:20]!r} and holds {stored}"
                )
            file.seek(record.header_offset)
            _signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            positions[storage.key] = record.header_offset + _LOCAL_HEADER.size + name + extra
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
    # Records on top of one another could claim any amount of memory for a small file.
    end = 0
    for key in sorted(positions, key=positions.__getitem__):
        if positions[key] < end:
            raise CheckpointError("is damaged: its records overlap")
        end = positions[key] + saved.storages[key].nbytes
    if end > path.stat().st_size:
        raise CheckpointError("is damaged or truncated: its weights reach over its end")
    return WeightFile(path, saved.root, positions, notes={FOLDER: prefix, KEY: saved.note})


def _description(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> tuple[str, Pickle]:
    """The folder of an archive's records, and its pickle."""
    pickles = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    if any(name.endswith("/constants.pkl") for name in records):
        raise CheckpointError("is a TorchScript archive, which holds code; save model.state_dict() instead")
    if len(pickles) != 1:
        raise CheckpointError("is a zip archive that torch.save did not write")
    if len(records) != len(archive.infolist()) or len(records) > _MAX_RECORDS:
        raise CheckpointError("is damaged: it holds a record twice, or too many records")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
        raise CheckpointError("is a compressed archive; torch.save writes plain ones")
    if records[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"is not a state dict: its pickle alone is over {MAX_PICKLE_BYTES >> 20} MB")
    prefix = pickles[0].removesuffix("data.pkl")
    order = records.get(prefix + "byteorder")
    if order is not None and (order.file_size > 6 or archive.read(order) != b"little"):
        raise CheckpointError("was written on a big-endian machine; save it again on another")
    return prefix, read_pickle(io.BytesIO(archive.read(pickles[0])), MAX_OPCODES)


def _open_legacy(path: Path, file: IO[bytes]) -> WeightFile:
    size = path.stat().st_size
    head = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    few = 1_000  # opcodes
    if read_pickle(head, few).root != _LEGACY_MAGIC or read_pickle(head, few).root != _LEGACY_VERSION:
        raise CheckpointError("is a pickle that torch.save did not write; nothing was executed")
    read_pickle(head, few)  # the byte order and type sizes of the machine that wrote it
    saved = read_pickle(head, MAX_OPCODES)
    keys = read_pickle(head, 4 * _MAX_RECORDS).root
    listed = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not listed or set(keys) != set(saved.storages) or len(keys) != len(saved.storages):
        raise CheckpointError("is damaged: its list of storages does not fit its tensors")
    position, positions = head.tell(), {}
    for key in keys:
        storage = saved.storages[key]
        file.seek(position)
        length = file.read(8)
        positions[key] = position + 8
        position += 8 + storage.nbytes
        if len(length) < 8 or position > size:
            raise CheckpointError(f"is truncated: it claims at least {position} bytes and holds {size}")
        if struct.unpack("<q", length)[0] != storage.elements:
            raise CheckpointError(f"is damaged: storage {key[:20]!r} has another size than claimed")
    return WeightFile(path, saved.root, positions, notes={KEY: saved.note})
