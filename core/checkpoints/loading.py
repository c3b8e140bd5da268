"""Loading a checkpoint: its layout, its architecture, and then its weights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoints.info import NUMBERED, Checkpoint, CheckpointInfo, Metadata
from core.checkpoints.opening import open_weights
from core.checkpoints.origin import choose, contradiction
from core.checkpoints.selection import class_names, select
from core.checkpoints.weights import WeightFile
from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.files import file_sha256
from core.models.extras import MissingPackageError
from core.models.fitting import counted, is_counter, learned
from core.models.frontend import FrontEnd, mel_matrix
from core.models.network import Network
from core.models.recognition import recognize
from core.models.registry import ARCHITECTURES, Architecture
from core.models.registry import architecture as known_architecture
from core.models.widths import pruned_widths
from core.units import plural

MEL_KEY = "logmel_extractor.melW"
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
    ('demo-epanns', (16, 16), 527)
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
        stated = meta.architecture if meta else architecture
        if stated is None:
            chosen, assumed = choose(file, sha256, recognize(shapes))
        else:
            chosen = known_architecture(stated).name
            assumed = [] if meta else contradiction(file, stated)
        notes = [*selected.notes, *assumed]
        model = _empty(known_architecture(chosen), _configuration(chosen, shapes), shapes)
        outputs, note = _classes(file, known_architecture(chosen), model.config.classes, classes)
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(str(error) if str(source) in str(error) else f"{source} {error}.") from error
    if meta and (meta.widths, meta.embedding) != (model.config.widths, model.config.embedding):
        raise CheckpointError(f"{source} is damaged: its weights have other widths than its metadata.")
    if ratio is not None:
        _check_ratio(source, known_architecture(chosen), model.config.widths, ratio)
    state = selected.tensors(file, [*model.state_dict(), MEL_KEY])
    _check_front_end(source, state, known_architecture(chosen), model.published_front_end)
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


def _configuration(name: str, shapes: dict[str, Tensor]) -> Any:
    """The configuration of an architecture that was named; the error lists the tensors that do not fit, and names the one that does."""
    try:
        return known_architecture(name).from_state(shapes)
    except ModelError as error:
        if name not in ARCHITECTURES or isinstance(error, MissingPackageError):
            raise
        with contextlib.suppress(ModelError):
            raise ModelError(f"it is no {name} but {' or '.join(recognize(shapes))}: {error}") from error
        raise ModelError(f"it does not fit {name}: {error}") from error


def _empty(entry: Architecture, config: Any, shapes: dict[str, Tensor]) -> Network:
    """A network on the meta device; the error lists the tensors whose types do not fit."""
    with torch.device("meta"):
        model = entry.build(config)
    wrong = [
        f"{key} {shapes[key].dtype} instead of {value.dtype}".replace("torch.", "")
        for key, value in learned(model.state_dict()).items()
        if not _same_kind(shapes[key].dtype, value.dtype)
    ]
    if wrong:
        raise ModelError(f"it does not fit {entry.name}: {counted('of another type', wrong)}.")
    return model


def _same_kind(stored: torch.dtype, wanted: torch.dtype) -> bool:
    return stored in _FLOATS if wanted.is_floating_point else stored == wanted


def _check_front_end(
    path: Path, state: dict[str, Tensor], entry: Architecture, front: FrontEnd | None
) -> None:
    """Refuse mel filters of other bands than the architecture's; their shape was compared before."""
    if MEL_KEY not in state or front is None:
        return
    stored, ours = state[MEL_KEY], torch.tensor(mel_matrix(front))
    difference = (stored.float() - ours).abs()
    # A copy in half precision differs by its rounding.
    if not bool((difference <= _MEL_TOLERANCE + torch.finfo(stored.dtype).eps * ours).all()):
        raise CheckpointError(
            f"{path} was trained with another front end (its mel filters differ by up to {difference.max():.2g}); that of {entry.title} is "
            f"{front.sample_rate} Hz, windows of {front.n_fft}, {front.mel_bins} mel bands from {front.fmin:g} to {front.fmax:g} Hz. "
            "Use a checkpoint trained with that."
        )


def _ready(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A tensor in the network's form."""
    if is_counter(name):
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
    file: WeightFile, entry: Architecture, outputs: int, stated: ClassSet | Sequence[str] | str | None
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
    elif outputs == len(entry.scenes):
        chosen = ClassSet.named(entry.scenes)
    elif outputs == len(ClassSet.audioset()) and not entry.scenes:
        chosen = ClassSet.audioset()
    else:
        return ClassSet.unnamed(outputs), [NUMBERED]
    if len(chosen) != outputs:
        raise CheckpointError(
            f"{file.path} has {plural(outputs, 'output')} and {len(chosen)} classes were given; give one each."
        )
    return chosen, []


def _check_ratio(path: Path, entry: Architecture, widths: tuple[int, ...], ratio: float) -> None:
    """Compare a pruning ratio with the widths of the tensors: floor(n (1 - p)) filters stay of the layers that the paper prunes."""
    if not 0 <= ratio < 1:
        raise CheckpointError(f"A pruning ratio is at least 0 and under 1; got {ratio}.")
    published = entry.configure().widths
    if not entry.paper_layers:
        raise CheckpointError(
            f"A ratio is checked for CNN14 and its variants, of which C7 to C12 are pruned, and {path} is {entry.title}; leave the ratio "
            "out: widths are read from the file."
        )
    unpruned = [full * widths[0] // published[0] for full in published]
    expected = pruned_widths(ratio, entry.default_layers, unpruned)
    if widths != expected:
        raise CheckpointError(
            f"{path} has widths {list(widths)}, which do not follow from a ratio of {ratio} ({list(expected)}); leave the ratio out: "
            "widths are read from the file."
        )
