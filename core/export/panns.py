"""The authors' layout: a ``.pt`` state dict that their own classes load, the three frozen front-end tensors included.

The two code bases read two layouts. panns_inference (``AudioTagging``) takes ``checkpoint["model"]``; the E-PANNs demo
(``demo_tag.py``) takes the file's dict itself, as the published E-PANNs file has it. panns_inference builds no network but the
published width, so that width decides: a CNN14 of it is written under ``"model"``, any other as a bare state dict.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.checkpoints import MEL_KEY, load_checkpoint
from core.errors import ExportError
from core.export.check import Difference, ExportJob, Written
from core.export.formats import FORMATS
from core.files import unwritable
from core.models.cnn import CNN14_WIDTHS, Cnn14
from core.models.frontend import FRONT_END, mel_matrix

REAL = "spectrogram_extractor.stft.conv_real.weight"
IMAGINARY = "spectrogram_extractor.stft.conv_imag.weight"

NOTES = "pannscope"
"""The key of our description in ``state_dict._metadata``, which PyTorch saves and does not read when it loads."""

_PUBLISHED_EMBEDDING = 2048


def stft_kernels() -> tuple[Tensor, Tensor]:
    """The reference's two Conv1d kernels, (bins, 1, window) each: a periodic Hann window times cos and -sin.

    torchlibrosa (``stft.py``, class STFT): W[n, k] = exp(-2 pi i n k / N), times the window, real and imaginary part
    transposed. In float64 with n k taken modulo N, which repeated powers of one root do only nearly.
    """
    n = np.arange(FRONT_END.n_fft)
    k = np.arange(FRONT_END.n_fft // 2 + 1)
    angle = 2 * np.pi * (np.outer(k, n) % FRONT_END.n_fft) / FRONT_END.n_fft
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / FRONT_END.n_fft)
    real, imaginary = np.cos(angle) * window, -np.sin(angle) * window
    return tuple(torch.tensor(kernel[:, None], dtype=torch.float32) for kernel in (real, imaginary))  # type: ignore[return-value]


def panns_state(model: Cnn14) -> OrderedDict[str, Tensor]:
    """The state dict in the reference's layout and order, contiguous, float32 (counters int64)."""
    real, imaginary = stft_kernels()
    state: OrderedDict[str, Tensor] = OrderedDict(
        {REAL: real, IMAGINARY: imaginary, MEL_KEY: torch.tensor(mel_matrix())}
    )
    for name, value in model.state_dict().items():
        tensor = value.detach().cpu()
        state[name] = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
    return state


def write_panns(job: ExportJob, target: Path, describe: Callable[[Difference], dict[str, Any]]) -> Written:
    """Write ``target``, and check it after reading it back as the reference does."""
    model = job.tagger.model
    state = panns_state(model)
    save_state(state, model, target)
    difference = job.verify(reference(target, job), FORMATS["panns"])
    state._metadata = {NOTES: json.dumps(describe(difference))}  # type: ignore[attr-defined]
    save_state(state, model, target)
    return Written(difference, _notes(model), {})


def reference(path: Path, job: ExportJob) -> Callable[[Tensor], Tensor]:
    """The network of a ``.pt`` file, run as the reference runs it: with the file's own front-end tensors."""
    loaded = load_checkpoint(path, classes=job.tagger.classes).model
    stored = torch.load(path, weights_only=True, mmap=True)
    stored = stored.get("model", stored)
    edge = FRONT_END.n_fft // 2

    def network(waveform: Tensor) -> Tensor:
        with torch.inference_mode():
            padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")
            parts = (F.conv1d(padded, stored[name], stride=FRONT_END.hop) for name in (REAL, IMAGINARY))
            power = sum(part.square() for part in parts)  # (1, bins, frames)
            mel = power.transpose(1, 2) @ stored[MEL_KEY]  # type: ignore[union-attr]
            logmel = 10.0 * torch.log10(mel.clamp(min=FRONT_END.amin))
            return torch.sigmoid(loaded.network(logmel[:, None]))

    return network


def pruning_arguments(widths: Sequence[int]) -> list[float]:
    """p1..p12 with which the authors' ``Cnn14_pruned`` gets these widths (it computes ``int(n * (1 - p))``)."""
    arguments = []
    for width, published in zip(widths, CNN14_WIDTHS, strict=True):
        # The ratio itself where their arithmetic gives the width; half a filter less where rounding down would lose one.
        ratio = round(1 - width / published, 6)
        arguments.append(ratio if int(published * (1 - ratio)) == width else 1 - (width + 0.5) / published)
    return arguments


def save_state(state: OrderedDict[str, Tensor], model: Cnn14, target: Path) -> None:
    """Write a state dict as the code that loads it expects it: under "model" at the published width, else on its own."""
    try:
        torch.save({"model": state} if is_published_width(model) else state, target)
    except (OSError, RuntimeError) as error:
        raise ExportError(unwritable(target, error)) from error


def is_published_width(model: Cnn14) -> bool:
    """Whether panns_inference's class has these widths, and so loads the file as it is."""
    return model.config.widths == CNN14_WIDTHS and model.config.embedding == _PUBLISHED_EMBEDDING


def _notes(model: Cnn14) -> list[str]:
    config = model.config
    classes = "" if config.classes == 527 else f" and classes_num={config.classes}"
    if is_published_width(model):
        return [f"panns_inference.models.Cnn14 loads checkpoint['model']{classes and ' with' + classes[4:]}."]
    if max(width / full for width, full in zip(config.widths, CNN14_WIDTHS, strict=True)) > 1:
        return ["It is wider than the published CNN14: the authors' classes have to be widened to load it."]
    arguments = ", ".join(f"{ratio!r}" for ratio in pruning_arguments(config.widths))
    notes = [f"The E-PANNs code's Cnn14_pruned loads the dict itself with p1..p12 = {arguments}{classes}."]
    if config.embedding != _PUBLISHED_EMBEDDING:
        notes.append(
            f"Its fc1 has {config.embedding} outputs and the authors' class {_PUBLISHED_EMBEDDING}: replace fc1 and "
            "fc_audioset there before loading."
        )
    return notes
