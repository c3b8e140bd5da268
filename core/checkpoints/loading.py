"""Loading a checkpoint: its layout, its architecture, and then its weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.checkpoints.info import Checkpoint, CheckpointInfo, Metadata
from core.checkpoints.tensorfile import TensorFile, is_tensor_file, open_tensor_file
from core.checkpoints.torchfile import TorchFile, is_zip, open_torch_file
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.files import file_sha256
from core.models.cnn import CNN14_WIDTHS, Cnn14
from core.models.frontend import FRONT_END, mel_matrix
from core.models.registry import ARCHITECTURES
from core.models.registry import architecture as known_architecture
from core.models.widths import pruned_widths

_BINS = FRONT_END.n_fft // 2 + 1
MEL_KEY = "logmel_extractor.melW"
FRONT_END_SHAPES = {
    "spectrogram_extractor.stft.conv_real.weight": (_BINS, 1, FRONT_END.n_fft),
    "spectrogram_extractor.stft.conv_imag.weight": (_BINS, 1, FRONT_END.n_fft),
    MEL_KEY: (_BINS, FRONT_END.mel_bins),
}
"""The official layout's frozen front end. Pannscope computes the same by FFT, so these tensors are checked and dropped."""

_MEL_TOLERANCE = 1e-5  # the matrix's largest entry is 0.03; librosa's versions differ by rounding only
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    architecture: str | None = None,
    classes: ClassSet | Sequence[str] | str | None = None,
    ratio: float | None = None,
) -> Checkpoint:
    """Load a file in the official layout (``.pth``, ``.pt``) or in ours (``.safetensors``); its content decides which.

    Names, shapes and dtypes are checked before a weight is read. Nothing of a file is executed, and no more memory is
    allocated than the file is long. Half-precision weights are loaded as float32.

    Parameters
    ----------
    path : str or path
        The file.
    name : str, optional
        What to call it; by default the name it was saved under, or the file's.
    architecture : str, optional
        A name of the registry; by default the one that the file states, or the first that fits its tensors.
    classes : ClassSet, sequence of str or "audioset", optional
        The classes of the outputs, where the file does not state them. By default AudioSet's, if there are 527.
    ratio : float, optional
        The pruning ratio of C7..C12. The widths are read from the tensors anyway; a ratio that contradicts them is an error.

    Returns
    -------
    Checkpoint
        The network, in eval mode, and its description.

    Raises
    ------
    CheckpointError
        One line on what is wrong with the file: missing, truncated, of another format, unsafe, of another architecture …

    Examples
    --------
    >>> from core.checkpoints import entry, path_of
    >>> info = load_checkpoint(path_of(entry("demo-epanns"))).info
    >>> info.name, info.widths[:2], len(info.classes)
    ('demo-epanns', (16, 16), 18)
    """
    source = Path(path)
    file = _open(source)
    meta = file.metadata if isinstance(file, TensorFile) else None
    if meta and architecture not in (None, meta.architecture):
        raise CheckpointError(
            f"{source} holds a {meta.architecture}, not a {architecture}; leave the architecture out."
        )
    stated = classes if classes is not None or meta is None else meta.classes
    try:
        chosen = architecture or (meta.architecture if meta else _recognise(file.shapes()))
        model = _fit(source, chosen, file.shapes())
        outputs = _classes(source, model.config.classes, stated)
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if meta and (meta.widths, meta.embedding) != (model.config.widths, model.config.embedding):
        raise CheckpointError(f"{source} is damaged: its weights have other widths than its metadata.")
    if ratio is not None:
        _check_ratio(source, chosen, model.config.widths, ratio)
    state = file.tensors()
    _check_front_end(source, state)
    model.load_state_dict({key: _ready(source, key, state[key]) for key in model.state_dict()}, assign=True)
    notes = meta or Metadata(
        source.stem, chosen, model.config.widths, model.config.embedding, outputs, kept={}, training={}
    )
    described = {**vars(notes), "name": name or notes.name, "classes": outputs}
    try:
        sha256, size = file_sha256(source), source.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read: {error.strerror or error}.") from error
    info = CheckpointInfo(**described, sha256=sha256, size_bytes=size, path=source)
    return Checkpoint(model.eval(), info)


def _open(path: Path) -> TorchFile | TensorFile:
    """Open a file by the layout that its first bytes show."""
    try:
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder; give a checkpoint file (.safetensors, .pth or .pt).")
        if not path.is_file():
            raise CheckpointError(
                f"There is no file {path}; check the path, or `pannscope models` for known checkpoints."
            )
        with path.open("rb") as file:
            start = file.read(512)
        if not start:
            raise CheckpointError(f"{path} is empty; its download or copy failed: get it again.")
        if is_zip(path) or (start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
            return open_torch_file(path)
        if is_tensor_file(path):
            return open_tensor_file(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    raise CheckpointError(
        f"{path} is not a checkpoint: it {_foreign(start)}. Give a .safetensors file of Pannscope's, or a .pth or .pt file with "
        "a CNN14 state dict."
    )


def _foreign(start: bytes) -> str:
    """A guess at the format of a file that is not a checkpoint."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page (of an error or a login, in place of the download?)"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer; the file itself was not checked out"
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 (Keras) file"
    if start.startswith(b"\x1f\x8b"):
        return "is gzip-compressed; unpack it first"
    if start[257:262] == b"ustar":
        return "is a tar archive"
    printable = all(byte in b"\t\r\n" or byte >= 32 for byte in start)
    if printable and start.decode("utf-8", errors="ignore"):
        return "is a text file"
    return "is neither a safetensors nor a torch file, or its beginning is damaged"


def _recognise(shapes: dict[str, Tensor]) -> str:
    """The first architecture whose tensors the file has."""
    problem: ModelError | None = None
    for name in ARCHITECTURES:
        try:
            known_architecture(name).from_state(shapes)
            return name
        except ModelError as error:
            problem = problem or error
    raise problem or ModelError("no architecture is known")


def _fit(path: Path, name: str, shapes: dict[str, Tensor]) -> Cnn14:
    """An empty network (on the meta device) that the tensors fit; the error lists those that do not."""
    for key, wanted in FRONT_END_SHAPES.items():
        if key in shapes and tuple(shapes[key].shape) != wanted:
            _other_front_end(path, f"{key} is {tuple(shapes[key].shape)}, Pannscope has {wanted}")
    weights = {key: value for key, value in shapes.items() if key not in FRONT_END_SHAPES}
    config = known_architecture(name).from_state(weights)
    try:
        with torch.device("meta"):
            model = known_architecture(name).build(config)
    except RuntimeError as error:
        raise CheckpointError(f"{path} claims impossible widths {list(config.widths)}.") from error
    expected = model.state_dict()
    problems = [
        _listed("missing", [key for key in expected if key not in weights]),
        _listed("unexpected", [key for key in weights if key not in expected]),
        _listed(
            "of another shape",
            [
                f"{key} {tuple(weights[key].shape)} instead of {tuple(value.shape)}"
                for key, value in expected.items()
                if key in weights and weights[key].shape != value.shape
            ],
        ),
        _listed(
            "of another type",
            [
                f"{key} {weights[key].dtype} instead of {value.dtype}".replace("torch.", "")
                for key, value in expected.items()
                if key in weights and not _same_kind(weights[key].dtype, value.dtype)
            ],
        ),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise CheckpointError(
            f"{path} does not fit {name} with widths {list(config.widths)}: {'; '.join(problems)}."
        )
    return model


def _same_kind(stored: torch.dtype, wanted: torch.dtype) -> bool:
    return stored in _FLOATS if wanted.is_floating_point else stored == wanted


def _listed(what: str, items: list[str]) -> str:
    """``2 missing (a, b)``, with the first three named; empty where there are none."""
    if not items:
        return ""
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return f"{len(items)} {what} ({', '.join(_plain(item[:120]) for item in items[:3])}{more})"


def _plain(text: str) -> str:
    """A name from a file as it can be shown on one line, without control characters."""
    return text if text.isprintable() else ascii(text)


def _check_front_end(path: Path, state: dict[str, Tensor]) -> None:
    if MEL_KEY in state:
        difference = float(np.abs(state[MEL_KEY].float().numpy() - mel_matrix()).max())
        if not difference <= _MEL_TOLERANCE:  # also refuses NaN
            _other_front_end(path, f"its mel filters differ from Pannscope's by up to {difference:.2g}")


def _other_front_end(path: Path, detail: str) -> None:
    front = FRONT_END
    raise CheckpointError(
        f"{path} was trained with another front end ({detail}); Pannscope's is {front.sample_rate} Hz, windows of "
        f"{front.n_fft}, {front.mel_bins} mel bands from {front.fmin:g} to {front.fmax:g} Hz. Use a checkpoint trained with that."
    )


def _ready(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A tensor in the network's form. Vectors are searched for NaN and infinity; larger tensors may be mapped, and are not read."""
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32).contiguous()
        if tensor.ndim < 2 and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{path} holds NaN or infinite values in {name}: its training has diverged. Use an earlier checkpoint."
            )
    return tensor


def _classes(path: Path, outputs: int, stated: ClassSet | Sequence[str] | str | None) -> ClassSet:
    if stated is None:
        stated = "audioset"
        if outputs != len(ClassSet.audioset()):
            raise CheckpointError(
                f"{path} has {outputs} outputs and does not state their classes (AudioSet has 527); name them in "
                "`load_checkpoint(…, classes=[…])`, save it with `save_checkpoint`, and use that file."
            )
    if isinstance(stated, ClassSet):
        chosen = stated
    elif isinstance(stated, str):
        if stated != "audioset":
            raise CheckpointError(f"Classes are 'audioset' or a list of display names; got {stated!r}.")
        chosen = ClassSet.audioset()
    else:
        chosen = ClassSet.from_names(stated)
    if len(chosen) != outputs:
        raise CheckpointError(
            f"{path} has {outputs} outputs and {len(chosen)} classes were given; give one each."
        )
    return chosen


def _check_ratio(path: Path, name: str, widths: tuple[int, ...], ratio: float) -> None:
    """Compare a pruning ratio with the widths of the tensors: floor(n (1 - p)) filters stay of C7..C12."""
    if not 0 <= ratio < 1:
        raise CheckpointError(f"A pruning ratio is at least 0 and under 1; got {ratio}.")
    if name != "cnn14":
        return
    unpruned = [full * widths[0] // CNN14_WIDTHS[0] for full in CNN14_WIDTHS]
    expected = pruned_widths(ratio, widths=unpruned)
    if widths != expected:
        raise CheckpointError(
            f"{path} has widths {list(widths)}, which do not follow from a ratio of {ratio} ({list(expected)}); leave the ratio out: "
            "widths are read from the file."
        )
