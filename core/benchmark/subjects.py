"""What can be timed: our engines, and other ways of running the same network. Every one takes waveforms and gives probabilities."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.checkpoints import load_checkpoint
from core.models.cnn import CNN14_WIDTHS, LAYERS, Cnn14, layer_modules
from core.runtime import NcnnEngine, engine_for

Waveforms = npt.NDArray[np.float32]
"""(batch, samples) at 32 kHz."""

Run = Callable[[Waveforms], Waveforms]
"""Waveforms -> probabilities (batch, classes)."""


@dataclass(frozen=True)
class Files:
    """One network's weights in every form that a subject reads: ours, the official layout, and ONNX."""

    safetensors: Path
    pth: Path
    onnx: Path


@dataclass(frozen=True)
class Subject:
    """Something that can be timed.

    Attributes
    ----------
    packages : what it needs besides Pannscope's own requirements; without them it is left out.
    load : files and number of threads -> the function that is timed.
    stages : where the time of one clip goes in ms, if it can tell.
    """

    says: str
    packages: tuple[str, ...]
    load: Callable[[Files, int], Run]
    stages: Callable[[Files, Waveforms], dict[str, float]] | None = None


def available(name: str) -> bool:
    """Whether a subject's packages are installed."""
    return all(importlib.util.find_spec(package) for package in SUBJECTS[name].packages)


def _engine(runtime: str, profile: str | None = None) -> Callable[[Files, int], Run]:
    def load(files: Files, threads: int) -> Run:
        engine = engine_for(load_checkpoint(files.safetensors).model, runtime, profile)
        return lambda waveforms: engine.probabilities(torch.from_numpy(waveforms)).numpy()

    return load


def _stages(runtime: str, profile: str | None = None) -> Callable[[Files, Waveforms], dict[str, float]]:
    """Medians over 5 passes of the front end and of every layer."""

    def stages(files: Files, waveforms: Waveforms) -> dict[str, float]:
        model = load_checkpoint(files.safetensors).model
        engine = engine_for(model, runtime, profile)
        heard = torch.from_numpy(waveforms[:1])
        passes: list[dict[str, float]] = []
        for _ in range(6):
            started = time.perf_counter()
            with torch.inference_mode():
                logmel = model.front_end(heard)
            front_end = 1e3 * (time.perf_counter() - started)
            layers = (
                engine.layer_times(logmel[0].numpy())
                if isinstance(engine, NcnnEngine)
                else _torch_layer_times(model, logmel)
            )
            passes.append({"front end": front_end, **layers})
        return {stage: float(np.median([taken[stage] for taken in passes[1:]])) for stage in passes[0]}

    return stages


def _torch_layer_times(model: Cnn14, logmel: torch.Tensor) -> dict[str, float]:
    times = {}
    with torch.inference_mode():
        x = model.normalised(logmel)
        for layer in LAYERS:
            started = time.perf_counter()
            x = model.layer(layer, x)
            times[layer] = 1e3 * (time.perf_counter() - started)
        started = time.perf_counter()
        torch.sigmoid(model.classified(x))
        times["rest"] = 1e3 * (time.perf_counter() - started)
    return times


def _reference(files: Files, threads: int) -> Run:
    """panns_inference's CNN14, its layers narrowed to the weights' widths as the E-PANNs authors' code has them."""
    from panns_inference.models import Cnn14 as Reference

    state = torch.load(files.pth, map_location="cpu", weights_only=True)["model"]
    widths = tuple(state[".".join(layer_modules(layer)[:2]) + ".weight"].shape[0] for layer in LAYERS)
    embedding, classes = state["fc1.weight"].shape[0], state["fc_audioset.weight"].shape[0]
    model = Reference(32000, 1024, 320, 64, 50, 14000, classes)
    if widths != CNN14_WIDTHS:
        inputs = 1
        for layer, width in zip(LAYERS, widths, strict=True):
            block, convolution, norm = layer_modules(layer)
            module = model.get_submodule(block)
            setattr(module, convolution, nn.Conv2d(inputs, width, 3, padding=1, bias=False))
            setattr(module, norm, nn.BatchNorm2d(width))
            inputs = width
        model.fc1, model.fc_audioset = nn.Linear(inputs, embedding), nn.Linear(embedding, classes)
    # The front end's frozen tensors follow from its settings and are not in our files.
    model.load_state_dict(state, strict=False)
    model.eval()

    def run(waveforms: Waveforms) -> Waveforms:
        with torch.no_grad():
            return model(torch.from_numpy(waveforms), None)["clipwise_output"].numpy()

    return run


def _onnxruntime(files: Files, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(files.onnx), options, providers=["CPUExecutionProvider"])
    return lambda waveforms: session.run(["probabilities"], {"waveform": waveforms})[0]


def _openvino(precision: str) -> Callable[[Files, int], Run]:
    def load(files: Files, threads: int) -> Run:
        openvino: Any = importlib.import_module("openvino")
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
        compiled = openvino.Core().compile_model(str(files.onnx), "CPU", settings)
        return lambda waveforms: np.array(compiled(waveforms)[0])

    return load


REFERENCE = "reference"

SUBJECTS: dict[str, Subject] = {
    REFERENCE: Subject(
        "panns_inference's network, narrowed where the weights are (the E-PANNs authors' layout)",
        ("panns_inference", "torchlibrosa"),
        _reference,
    ),
    "torch": Subject("Pannscope on torch", (), _engine("torch"), _stages("torch")),
    "ncnn-fast": Subject(
        "Pannscope on ncnn, profile fast", ("ncnn",), _engine("ncnn", "fast"), _stages("ncnn", "fast")
    ),
    "ncnn-small": Subject(
        "Pannscope on ncnn, profile small", ("ncnn",), _engine("ncnn", "small"), _stages("ncnn", "small")
    ),
    "ncnn-bf16": Subject(
        "Pannscope on ncnn in bfloat16", ("ncnn",), _engine("ncnn-bf16", "fast"), _stages("ncnn-bf16", "fast")
    ),
    "onnxruntime": Subject("Pannscope's ONNX file in onnxruntime", ("onnxruntime",), _onnxruntime),
    "openvino": Subject("the same file in OpenVINO, float32", ("openvino",), _openvino("f32")),
    "openvino-bf16": Subject("the same in bfloat16", ("openvino",), _openvino("bf16")),
}
