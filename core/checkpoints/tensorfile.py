"""Safetensors files: Pannscope's own, with a description in their header, and other people's."""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.checkpoints.claims import MAX_AXES, Skipped, StorageClaim, TensorClaim, is_count
from core.checkpoints.info import KEY, CheckpointInfo, Metadata
from core.checkpoints.weights import WeightFile
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.files import atomic_write, file_sha256, unwritable
from core.models.network import Network

CHECKPOINT_SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 8 << 20
"""Of a safetensors file. That of a pruned CNN14 with its plan has 300 kB."""

# The dtypes that a weight, a mask or a counter may have; safetensors' names.
_DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def is_tensor_file(path: Path) -> bool:
    """Whether the file begins as safetensors does: the length of its header (8 bytes), then the header, which is JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000


def open_tensor_file(path: Path) -> WeightFile:
    """Read the header of ``path``; raises ``CheckpointError`` where it is damaged, or Pannscope's description in it is."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise CheckpointError(
                    f"has a header of over {MAX_HEADER_BYTES >> 20} MB; that is no description"
                )
            header = json.loads(file.read(length).decode("utf-8"))
        notes = header.pop("__metadata__", None) or {}
        if not all(isinstance(text, str) for text in notes.values()):
            raise ValueError("its metadata are not texts")
        root, positions = _claims(header, 8 + length, path.stat().st_size)
        metadata = Metadata.decode(notes[KEY]) if KEY in notes else None
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {str(error)[:80]}"
        raise CheckpointError(
            f"{path} is damaged or truncated: its header cannot be read ({what})."
        ) from error
    return WeightFile(path, root, positions, metadata, notes)


def _claims(
    header: dict[str, dict[str, Any]], start: int, size: int
) -> tuple[dict[str, TensorClaim | Skipped], dict[str, int]]:
    """The tensors of a header, and where they lie: one behind the other, without holes, up to the end of the file."""
    root: dict[str, TensorClaim | Skipped] = {}
    positions: dict[str, int] = {}
    position = 0
    for name, described in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = described["data_offsets"]
        shape, dtype = described["shape"], _DTYPES.get(described["dtype"])
        few = len(shape) <= MAX_AXES
        if begin != position or not few or not all(map(is_count, (begin, end, *shape))):
            raise ValueError(f"{name[:60]!r} does not lie behind the tensor before it")
        position = end
        if dtype is None:
            root[name] = Skipped(str(described["dtype"])[:20])
            continue
        storage = StorageClaim(name, dtype, prod(shape))
        if end - begin != storage.nbytes:
            raise ValueError(f"{name[:60]!r} has another size than its shape")
        stride = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
        root[name] = TensorClaim(storage, 0, tuple(shape), stride)
        positions[name] = start + begin
    if start + position != size:
        raise ValueError(f"it claims {start + position} bytes and holds {size}")
    return root, positions


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Network,
    *,
    classes: ClassSet,
    name: str,
    kept: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    half: bool = False,
) -> CheckpointInfo:
    """Write a checkpoint in Pannscope's layout, all at once: a reader sees the old file or the new one, never a part.

    The file holds the model's whole state dict (``num_batches_tracked`` included, so that fine-tuning can continue) without
    the front end, which follows from the architecture.

    Parameters
    ----------
    path : str or path
        Ends in ``.safetensors``; missing folders are created.
    model : Network
        The network; it may be pruned.
    classes : ClassSet
        The network's outputs, in order.
    name : str
        What the checkpoint is called where it is listed.
    kept : dict, optional
        Layer -> kept filters as indices into the unpruned layer (any sequence of ints), if the network was pruned.
    training : dict, optional
        Notes to keep with the weights; plain JSON.
    half : bool
        Store the convolutions and linear layers' weights as float16. Vectors (batch norm, biases) stay float32: they are
        0.1 % of the file, and running variances lose the most by rounding. They are loaded as float32 again.

    Returns
    -------
    CheckpointInfo
        The description of the file that was written.

    Raises
    ------
    CheckpointError
        Classes that do not fit, NaN or infinite weights (or weights not representable in half precision), a path that cannot
        be written.

    Examples
    --------
    >>> import tempfile
    >>> from core import load_tagger
    >>> tagger = load_tagger("demo-epanns")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     info = save_checkpoint(Path(folder, "copy.safetensors"), tagger.model, classes=tagger.classes, name="copy")
    >>> info.name, info.architecture, info.path.name
    ('copy', 'cnn14', 'copy.safetensors')
    """
    target = Path(path)
    if target.suffix != CHECKPOINT_SUFFIX:
        raise CheckpointError(
            f"Checkpoints are saved as {CHECKPOINT_SUFFIX} files; got {target.name!r}: name it {target.stem}{CHECKPOINT_SUFFIX}."
        )
    if len(classes) != model.config.classes:
        raise CheckpointError(
            f"The model has {model.config.classes} outputs and {len(classes)} classes were given; give one each."
        )
    try:
        metadata = Metadata(
            name=name,
            architecture=architecture_of(model),
            widths=model.config.widths,
            embedding=model.config.embedding,
            classes=classes,
            kept={layer: [int(index) for index in indices] for layer, indices in (kept or {}).items()},
            training=training or {},
        )
    except CheckpointError as error:
        raise CheckpointError(f"The checkpoint {name!r} {error}.") from error
    tensors = {key: _stored(key, value, half) for key, value in model.state_dict().items()}
    _write(target, tensors, metadata.encode())
    return CheckpointInfo(
        **vars(metadata), sha256=file_sha256(target), size_bytes=target.stat().st_size, path=target
    )


def architecture_of(model: Network) -> str:
    """The registry's name of a network's architecture; raises ``ModelError`` for one that the registry did not build."""
    if not model.architecture:
        raise ModelError(
            f"This {type(model).__name__} is of no architecture of the registry; build it with `architecture(name).build(config)`."
        )
    return model.architecture


def _stored(name: str, value: Tensor, half: bool) -> Tensor:
    tensor = value.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float16 if half and tensor.ndim > 1 else torch.float32)
        if not bool(torch.isfinite(tensor).all()):
            why = (
                "is too large for half precision; save with half=False"
                if value.isfinite().all()
                else "holds NaN or infinite values"
            )
            raise CheckpointError(f"{name} {why}, so the checkpoint was not saved.")
    return tensor.contiguous()


def _write(target: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as draft:
            save_file(tensors, draft, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(unwritable(target, error)) from error
