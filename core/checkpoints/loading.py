"""Loading a checkpoint: its layout, its architecture, and then its weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.checkpoints.info import NUMBERED, Checkpoint, CheckpointInfo, Metadata
from core.checkpoints.opening import open_weights
from core.checkpoints.origin import assumed
from core.checkpoints.selection import class_names, select
from core.checkpoints.weights import WeightFile
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.files import file_sha256
from core.models.cnn import CNN14_WIDTHS
from core.models.frontend import FRONT_END, mel_matrix
from core.models.network import Network
from core.models.registry import architecture as known_architecture
from core.models.widths import pruned_widths
from core.units import plural

_BINS = FRONT_END.n_fft // 2 + 1
MEL_KEY = "logmel_extractor.melW"
FRONT_END_SHAPES = {
    "spectrogram_extractor.stft.conv_real.weight": (_BINS, 1, FRONT_END.n_fft),
    "spectrogram_extractor.stft.conv_imag.weight": (_BINS, 1, FRONT_END.n_fft),
    MEL_KEY: (_BINS, FRONT_END.mel_bins),
}
"""The official layout's frozen front end. Pannscope computes the same by FFT, so these tensors are checked and dropped."""

_PUBLISHED_RATES = {257: "a 16 kHz network: ", 129: "an 8 kHz network: "}
"""PANNs' Cnn14_16k and Cnn14_8k, by the bins of their spectrum."""

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
    """Load a file of ``torch.save`` (``.pth``, ``.pt``, ``.ckpt``) or a safetensors file; its content decides which.

    The weights may lie under ``model``, ``state_dict`` or ``model_state_dict`` or at the top, and their names may have a common
    prefix; what else the file holds is skipped. Names, shapes and dtypes are checked before a weight is read. Nothing of a file is
    executed, and no more memory is allocated than the file is long. Half-precision weights are loaded as float32.

    Parameters
    ----------
    path : str or path
        The file.
    name : str, optional
        What to call it; by default the name it was saved under, or the file's.
    architecture : str, optional
        A name of the registry; by default the one that the file states, or the first that fits its tensors.
    classes : ClassSet, sequence of str or "audioset", optional
        The classes of the outputs, of any names. By default those that the file states, or AudioSet's if there are 527, or else
        "output 1" and so on.
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
    file = open_weights(source)
    meta = file.metadata
    if meta and architecture not in (None, meta.architecture):
        raise CheckpointError(
            f"{source} holds a {meta.architecture}, not a {architecture}; leave the architecture out."
        )
    try:
        sha256, size = file_sha256(source), source.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{source} cannot be read: {error.strerror or error}.") from error
    try:
        selected = select(file)
        shapes = {
            key: torch.empty(claim.shape, dtype=claim.dtype, device="meta")
            for key, claim in selected.claims.items()
        }
        chosen = architecture or (meta.architecture if meta else _recognise(shapes))
        notes = [*selected.notes, *([] if meta else assumed(file, sha256, chosen, stated=architecture))]
        model = _fit(source, chosen, shapes)
        outputs, note = _classes(file, model.config.classes, classes)
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(str(error) if str(source) in str(error) else f"{source} {error}.") from error
    if meta and (meta.widths, meta.embedding) != (model.config.widths, model.config.embedding):
        raise CheckpointError(f"{source} is damaged: its weights have other widths than its metadata.")
    if ratio is not None:
        _check_ratio(source, chosen, model.config.widths, ratio)
    state = selected.tensors(file, [*model.state_dict(), MEL_KEY])
    _check_front_end(source, state)
    weights = {
        key: _ready(source, key, state.get(key, torch.zeros(()))) for key in model.state_dict()
    }  # only counters may be missing
    model.load_state_dict(weights, assign=True)
    described = meta or Metadata(
        source.stem, chosen, model.config.widths, model.config.embedding, outputs, kept={}, training={}
    )
    info = CheckpointInfo(
        **{**vars(described), "name": name or described.name, "classes": outputs},
        sha256=sha256,
        size_bytes=size,
        path=source,
        notes=tuple(notes + note),
    )
    return Checkpoint(model.eval(), info)


def _recognise(shapes: dict[str, Tensor]) -> str:
    """The first architecture whose tensors the file has."""
    known_architecture("cnn14").from_state(shapes)
    return "cnn14"


def _fit(path: Path, name: str, shapes: dict[str, Tensor]) -> Network:
    """An empty network (on the meta device) that the tensors fit; the error lists those that do not."""
    for key, wanted in FRONT_END_SHAPES.items():
        if key in shapes and tuple(shapes[key].shape) != wanted:
            rate = _PUBLISHED_RATES.get(shapes[key].shape[0], "")
            _other_front_end(path, f"{rate}{key} is {tuple(shapes[key].shape)}, Pannscope has {wanted}")
    weights = {key: value for key, value in shapes.items() if key not in FRONT_END_SHAPES}
    for key in [key for key in weights if _is_counter(key)]:
        del weights[key]
    config = known_architecture(name).from_state(weights)
    try:
        with torch.device("meta"):
            model = known_architecture(name).build(config)
    except RuntimeError as error:
        raise CheckpointError(f"{path} claims impossible widths {list(config.widths)}.") from error
    expected = {key: value for key, value in model.state_dict().items() if not _is_counter(key)}
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


def _is_counter(name: str) -> bool:
    """Whether a tensor counts a batch norm's training batches, which no output depends on."""
    return name.endswith("num_batches_tracked")


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
        stored, ours = state[MEL_KEY], torch.tensor(mel_matrix())
        difference = (stored.float() - ours).abs()
        # A copy in half precision differs by its rounding.
        if not bool((difference <= _MEL_TOLERANCE + torch.finfo(stored.dtype).eps * ours).all()):
            detail = f"its mel filters differ from Pannscope's by up to {difference.max():.2g}"
            _other_front_end(path, detail)


def _other_front_end(path: Path, detail: str) -> None:
    front = FRONT_END
    raise CheckpointError(
        f"{path} was trained with another front end ({detail}); Pannscope's is {front.sample_rate} Hz, windows of "
        f"{front.n_fft}, {front.mel_bins} mel bands from {front.fmin:g} to {front.fmax:g} Hz. Use a checkpoint trained with that."
    )


def _ready(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A tensor in the network's form."""
    if _is_counter(name):
        return tensor.reshape(()).to(torch.int64)
    ready = tensor.to(torch.float32).contiguous()
    if tensor.dtype == torch.float64 and not bool(torch.isfinite(ready).all()):
        raise CheckpointError(
            f"{path} holds values in {name} that float32 does not have; use an earlier checkpoint."
        )
    if name.endswith("running_var") and bool((ready < 0).any()):
        raise CheckpointError(
            f"{path} holds negative variances in {name}: it is damaged, or its training has diverged. Use an earlier checkpoint."
        )
    return ready


def _classes(
    file: WeightFile, outputs: int, stated: ClassSet | Sequence[str] | str | None
) -> tuple[ClassSet, list[str]]:
    """The classes: those that are given, or else the file's, or else AudioSet's; and a note where there are none of these."""
    names = class_names(file, outputs) if stated is None and file.metadata is None else None
    if stated is not None:
        if isinstance(stated, str) and stated != "audioset":
            raise CheckpointError(f"Classes are 'audioset' or a list of display names; got {stated!r}.")
        chosen = (
            stated
            if isinstance(stated, ClassSet)
            else ClassSet.audioset()
            if isinstance(stated, str)
            else ClassSet.named(stated)
        )
    elif file.metadata is not None:
        chosen = file.metadata.classes
    elif names is not None:
        chosen = ClassSet.named(names)
    elif outputs == len(ClassSet.audioset()):
        chosen = ClassSet.audioset()
    else:
        return ClassSet.unnamed(outputs), [NUMBERED]
    if len(chosen) != outputs:
        raise CheckpointError(
            f"{file.path} has {plural(outputs, 'output')} and {len(chosen)} classes were given; give one each."
        )
    return chosen, []


def _check_ratio(path: Path, name: str, widths: tuple[int, ...], ratio: float) -> None:
    """Compare a pruning ratio with the widths of the tensors: floor(n (1 - p)) filters stay of C7..C12."""
    if not 0 <= ratio < 1:
        raise CheckpointError(f"A pruning ratio is at least 0 and under 1; got {ratio}.")
    if name != "cnn14":
        return
    unpruned = [full * widths[0] // CNN14_WIDTHS[0] for full in CNN14_WIDTHS]
    expected = pruned_widths(ratio, known_architecture(name).default_layers, unpruned)
    if widths != expected:
        raise CheckpointError(
            f"{path} has widths {list(widths)}, which do not follow from a ratio of {ratio} ({list(expected)}); leave the ratio out: "
            "widths are read from the file."
        )
