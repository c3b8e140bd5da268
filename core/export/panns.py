"""The authors' layout: a ``.pt`` state dict that their own classes load, the three frozen front-end tensors included.

The two code bases read two layouts. panns_inference (``AudioTagging``) takes ``checkpoint["model"]``; the E-PANNs demo
(``demo_tag.py``) takes the file's dict itself, as the published E-PANNs file has it. panns_inference builds no network but the
published width, so that width decides: a CNN14 of it is written under ``"model"``, any other as a bare state dict.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoints import MEL_KEY, load_checkpoint
from core.errors import ExportError
from core.export.check import Difference, ExportJob, Written
from core.export.formats import FORMATS
from core.files import unwritable
from core.models.cnn import CNN14_WIDTHS, Cnn14
from core.models.frontend import FRONT_END, FrontEnd, LogMel, mel_matrix
from core.models.network import Network, PannsNetwork
from core.models.registry import architecture

REAL = "spectrogram_extractor.stft.conv_real.weight"
IMAGINARY = "spectrogram_extractor.stft.conv_imag.weight"

NOTES = "pannscope"
"""The key of our description in ``state_dict._metadata``, which PyTorch saves and does not read when it loads."""

_PUBLISHED_EMBEDDING = 2048

_INSTALLABLE = {"cnn14": "Cnn14", "cnn14-decision-level-max": "Cnn14_DecisionLevelMax"}
"""Classes of panns_inference 0.1.1; the others are in the authors' audioset_tagging_cnn (``pytorch/models.py``)."""


def unsupported(network: Network) -> str:
    """Why there is no such layout of a network, in a sentence with what works instead; empty where there is one."""
    if isinstance(network, PannsNetwork):
        return ""
    return f"{network.architecture} is none of PANNs' networks, whose code reads this layout; onnx and safetensors work."


def stft_kernels(front_end: FrontEnd = FRONT_END) -> tuple[Tensor, Tensor]:
    """The reference's two Conv1d kernels, (bins, 1, window) each: a periodic Hann window times cos and -sin.

    torchlibrosa (``stft.py``, class STFT): W[n, k] = exp(-2 pi i n k / N), times the window, real and imaginary part
    transposed. In float64 with n k taken modulo N, which repeated powers of one root do only nearly.
    """
    size = front_end.n_fft
    n = np.arange(size)
    angle = 2 * np.pi * (np.outer(np.arange(size // 2 + 1), n) % size) / size
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / size)
    real, imaginary = np.cos(angle) * window, -np.sin(angle) * window
    return tuple(torch.tensor(kernel[:, None], dtype=torch.float32) for kernel in (real, imaginary))  # type: ignore[return-value]


def panns_state(network: Network) -> OrderedDict[str, Tensor]:
    """The state dict in the reference's layout and order, contiguous, float32 (counters int64)."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    if (front_end := network.published_front_end) is not None:
        state[REAL], state[IMAGINARY] = stft_kernels(front_end)
        state[MEL_KEY] = torch.tensor(mel_matrix(front_end))
    for name, value in network.state_dict().items():
        tensor = value.detach().cpu()
        state[name] = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
    return state


def write_panns(job: ExportJob, target: Path, describe: Callable[[Difference], dict[str, Any]]) -> Written:
    """Write ``target``, and check it after reading it back as the reference does."""
    network = job.tagger.model
    state = panns_state(network)
    save_state(state, network, target)
    difference = job.verify(reference(target, job), FORMATS["panns"])
    state._metadata = {NOTES: json.dumps(describe(difference))}  # type: ignore[attr-defined]
    save_state(state, network, target)
    return Written(difference, _notes(network), {})


def reference(path: Path, job: ExportJob) -> Callable[[Tensor], Tensor]:
    """The network of a ``.pt`` file, run as the reference runs it: with the file's own front-end tensors."""
    loaded = load_checkpoint(path, architecture=job.entry.name, classes=job.tagger.classes).model
    stored = torch.load(path, weights_only=True, mmap=True)
    stored = stored.get("model", stored)
    for name, module in loaded.named_modules():
        if isinstance(module, LogMel):
            parent, _, leaf = name.rpartition(".")
            setattr(loaded.get_submodule(parent), leaf, _StoredLogMel(module.front_end, stored))
    return loaded.probabilities


class _StoredLogMel(nn.Module):
    """The log-mel as torchlibrosa computes it, with a file's frozen tensors."""

    def __init__(self, front_end: FrontEnd, stored: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._front_end = front_end
        self._kernels, self._mel = (stored[REAL], stored[IMAGINARY]), stored[MEL_KEY]

    def forward(self, waveform: Tensor) -> Tensor:
        edge = self._front_end.n_fft // 2
        padded = F.pad(waveform[:, None], (edge, edge), mode="reflect")
        parts = (F.conv1d(padded, kernel, stride=self._front_end.hop) for kernel in self._kernels)
        power = torch.stack([part.square() for part in parts]).sum(dim=0)  # (batch, bins, frames)
        mel = power.transpose(1, 2) @ self._mel
        return (10.0 * torch.log10(mel.clamp(min=self._front_end.amin)))[:, None]


def pruning_arguments(widths: Sequence[int]) -> list[float]:
    """p1..p12 with which the authors' ``Cnn14_pruned`` gets these widths (it computes ``int(n * (1 - p))``)."""
    arguments = []
    for width, published in zip(widths, CNN14_WIDTHS, strict=True):
        # The ratio itself where their arithmetic gives the width; half a filter less where rounding down would lose one.
        ratio = round(1 - width / published, 6)
        arguments.append(ratio if int(published * (1 - ratio)) == width else 1 - (width + 0.5) / published)
    return arguments


def save_state(state: OrderedDict[str, Tensor], network: Network, target: Path) -> None:
    """Write a state dict as the code that loads it expects it: under "model" at the published width, else on its own."""
    try:
        torch.save({"model": state} if is_published_width(network) else state, target)
    except (OSError, RuntimeError) as error:
        raise ExportError(unwritable(target, error)) from error


def is_published_width(network: Network) -> bool:
    """Whether the authors' class has these widths, and so loads the file as it is."""
    published = architecture(network.architecture).configure(classes=network.config.classes)
    return (network.config.widths, network.config.embedding) == (published.widths, published.embedding)


def _notes(network: Network) -> list[str]:
    config, name = network.config, network.architecture
    classes = "" if config.classes == 527 else f" and classes_num={config.classes}"
    if is_published_width(network):
        code = (
            f"panns_inference.models.{_INSTALLABLE[name]}" if name in _INSTALLABLE else "The authors' class"
        )
        return [f"{code} loads checkpoint['model']{classes and ' with' + classes[4:]}."]
    if not isinstance(network, Cnn14):
        return [
            "It is narrower than published: the authors' class has to be built to its widths to load the dict."
        ]
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
