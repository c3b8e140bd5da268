"""Pannscope's own layout: one safetensors file with the weights, described in its header."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.checkpoints.info import CheckpointInfo, Metadata
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.files import atomic_write, file_sha256, unwritable
from core.models.cnn import Cnn14
from core.models.registry import ARCHITECTURES

CHECKPOINT_SUFFIX = ".safetensors"

# The dtypes that a weight or a counter may have; safetensors' names.
_DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}


@dataclass(frozen=True)
class TensorFile:
    """One of our files, its header read and checked; its weights are not loaded yet."""

    path: Path
    metadata: Metadata
    meta: dict[str, Tensor]

    def shapes(self) -> dict[str, Tensor]:
        """The tensors without their values, on the meta device."""
        return self.meta

    def tensors(self) -> dict[str, Tensor]:
        """The tensors as they are stored."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in self.meta}
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{self.path} cannot be read: {error}.") from error


def is_tensor_file(path: Path) -> bool:
    """Whether the file begins as safetensors does: the length of its header (8 bytes), then the header, which is JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000


def open_tensor_file(path: Path) -> TensorFile:
    """Read the header of ``path``; raises ``CheckpointError`` where it is damaged or not Pannscope's."""
    try:
        # safetensors itself refuses a header whose tensors overlap, leave holes or reach over the file's end.
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = Metadata.decode(file.metadata() or {})
            meta = {}
            for name in file.keys():  # noqa: SIM118 (it is not a dict)
                view = file.get_slice(name)
                dtype = _DTYPES.get(view.get_dtype())
                if dtype is None or 0 in view.get_shape():
                    raise CheckpointError(
                        f"holds {name[:60]!r} as {view.get_dtype()}, with shape {view.get_shape()}"
                    )
                meta[name] = torch.empty(view.get_shape(), dtype=dtype, device="meta")
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}.") from error
    except (OSError, safetensors.SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or truncated: {str(error).splitlines()[0]}.") from error
    return TensorFile(path, metadata, meta)


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Cnn14,
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
    model : Cnn14
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


def architecture_of(model: Cnn14) -> str:
    """The registry's name of a model's architecture."""
    for name, known in ARCHITECTURES.items():
        if isinstance(known.build, type) and type(model) is known.build:
            return name
    raise ModelError(
        f"{type(model).__name__} is not an architecture that Pannscope builds: {', '.join(ARCHITECTURES)}."
    )


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
