"""What can be timed: our engines, and other packages that run the same network. Each maps waveforms to probabilities."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.audio import SAMPLE_RATE
from core.benchmark.clips import Waveforms
from core.benchmark.stages import stage_times
from core.checkpoints import load_checkpoint
from core.models.frontend import LogMel
from core.models.registry import architecture
from core.runtime.choice import engine_for
from core.runtime.engine import RUNTIMES

Stages = Callable[[Path, Waveforms], dict[str, dict[str, float]]]
"""A recording and the waveforms of the same clip -> times by stage and by layer."""


@dataclass(frozen=True)
class Files:
    """One network's weights in every format that a subject reads, ours and ONNX, and the rate of its waveforms in Hz."""

    safetensors: Path
    onnx: Path
    rate: int = SAMPLE_RATE


@dataclass(frozen=True)
class Loaded:
    """A subject that has loaded: ``run`` is timed, (batch, samples) -> (batch, classes); ``stages`` times the stages, where it can."""

    run: Callable[[Waveforms], Waveforms]
    stages: Stages | None = None


@dataclass(frozen=True)
class Subject:
    """Something that can be timed.

    Attributes
    ----------
    about : what it is.
    packages : packages that it needs besides Pannscope's own requirements.
    load : files and number of threads -> the loaded subject.
    ours : runs with Pannscope's process settings; others run at their own defaults, except for the number of threads.
    """

    about: str
    packages: tuple[str, ...]
    load: Callable[[Files, int], Loaded]
    ours: bool = False


def available(name: str) -> bool:
    """Whether a subject's packages are installed."""
    return all(importlib.util.find_spec(package) for package in SUBJECTS[name].packages)


def _engine(runtime: str, profile: str | None) -> Callable[[Files, int], Loaded]:
    def load(files: Files, _threads: int) -> Loaded:
        model = load_checkpoint(files.safetensors).model
        engine = engine_for(model, runtime, profile)
        return Loaded(
            lambda waveforms: engine.probabilities(torch.from_numpy(waveforms)).numpy(),
            lambda recording, waveforms: stage_times(model, engine, recording, waveforms),
        )

    return load


def _reference(files: Files, _threads: int) -> Loaded:
    """The original's network: panns_inference's own where the weights have its widths, else the same network behind its front end.

    panns_inference has CNN14 and its decision-level variant with the maximum. Of any other, and of narrower ones, the layers run in torch
    as they do there, and torchlibrosa's front end takes the place of ours.
    """
    from panns_inference import models
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    loaded = load_checkpoint(files.safetensors).model
    config, front = loaded.config, loaded.published_front_end
    published = architecture(loaded.architecture).configure(classes=config.classes)
    original = {"cnn14": "Cnn14", "cnn14-decision-level-max": "Cnn14_DecisionLevelMax"}.get(
        loaded.architecture
    )
    settings = (
        {}
        if front is None
        else {"n_fft": front.n_fft, "sr": front.sample_rate, "fmin": front.fmin, "fmax": front.fmax}
    )
    if original and (config.widths, config.embedding) == (published.widths, published.embedding):
        model = getattr(models, original)(32000, 1024, 320, 64, 50, 14000, config.classes)
        # The front end's frozen tensors follow from its settings and are not in our files.
        model.load_state_dict(loaded.state_dict(), strict=False)
        model.eval()

        def run(waveforms: Waveforms) -> Waveforms:
            with torch.no_grad():
                return model(torch.from_numpy(waveforms), None)["clipwise_output"].numpy()

        return Loaded(run)
    for path, module in list(loaded.named_modules()):
        if front is not None and isinstance(module, LogMel):
            theirs = nn.Sequential(
                Spectrogram(n_fft=front.n_fft, hop_length=front.hop),
                LogmelFilterBank(n_mels=front.mel_bins, ref=1.0, amin=front.amin, top_db=None, **settings),
            )
            parent, _, leaf = path.rpartition(".")
            setattr(loaded.get_submodule(parent), leaf, theirs.eval())
    return Loaded(lambda waveforms: loaded.probabilities(torch.from_numpy(waveforms)).numpy())


def _onnxruntime(files: Files, threads: int) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(files.onnx), options, providers=["CPUExecutionProvider"])
    return Loaded(lambda waveforms: session.run(["probabilities"], {"waveform": waveforms})[0])


def _openvino(precision: str) -> Callable[[Files, int], Loaded]:
    def load(files: Files, threads: int) -> Loaded:
        openvino: Any = importlib.import_module("openvino")
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(str(files.onnx), "CPU", settings)
        return Loaded(lambda waveforms: np.array(compiled(waveforms)[0]))

    return load


REFERENCE = "reference"

# Our engines: name, runtime, profile, and what it is.
_OURS: tuple[tuple[str, str, str | None, str], ...] = (
    ("torch", "torch", None, "Pannscope on torch"),
    ("winograd-fast", "winograd", "fast", "Pannscope's own float32 engine, profile fast"),
    ("winograd-small", "winograd", "small", "the same, profile small"),
    ("ncnn-fast", "ncnn", "fast", "Pannscope on ncnn, profile fast"),
    ("ncnn-small", "ncnn", "small", "Pannscope on ncnn, profile small"),
    ("onnxruntime-body", "onnxruntime", None, "Pannscope on onnxruntime, behind its own front end"),
    ("bf16", "bf16", None, "Pannscope on torch in bfloat16"),
)

SUBJECTS: dict[str, Subject] = {
    REFERENCE: Subject(
        "panns_inference's network, or the same layers behind torchlibrosa's front end where it has no such network",
        ("panns_inference", "torchlibrosa"),
        _reference,
    ),
    **{
        name: Subject(about, (), _engine(runtime, profile), ours=True)
        for name, runtime, profile, about in _OURS
        if runtime in RUNTIMES
    },
    "onnxruntime": Subject("Pannscope's ONNX file in onnxruntime", ("onnxruntime",), _onnxruntime),
    "openvino": Subject("the same file in OpenVINO, float32", ("openvino",), _openvino("f32")),
    "openvino-bf16": Subject("the same in bfloat16", ("openvino",), _openvino("bf16")),
}
