"""Which engine runs a network, and why."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from core.errors import ModelError
from core.models.cnn import Cnn14
from core.models.network import Network
from core.models.registry import architecture
from core.runtime import ncnn_engine, winograd
from core.runtime.bf16 import Bf16Engine
from core.runtime.engine import RUNTIMES, Engine, EngineError, TorchEngine
from core.runtime.machine import threads
from core.runtime.memory import drop_library_pages, page_out_weights, trim_heap, weights_paged_out_after_use
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.onnx_engine import OnnxEngine
from core.runtime.profiles import choose_profile

TOLERANCE = 1e-4
"""The largest accepted difference of a probability from torch's in float32; 1e-6 is usual."""

TOLERANCE_BF16 = 0.1
"""The same for ``bf16``, which shows only whether it works; its loss of quality is measured on labelled clips."""

_FAST: dict[str, Callable[[Network], bool]] = {
    "winograd": winograd.runs,
    "ncnn": ncnn_engine.runs,
    "onnxruntime": lambda _: True,
}
"""Engines that "auto" tries on a CPU, the fastest first, and whether each runs a network."""

_log = logging.getLogger(__name__)


def check_runtime(runtime: str) -> None:
    """Raise ``ModelError`` for an unknown runtime."""
    if runtime not in RUNTIMES:
        raise ModelError(
            f"Unknown runtime {runtime!r}; Pannscope runs models on {', '.join(RUNTIMES[1:])} ('auto' picks one)."
        )


def engine_for(model: Network, runtime: str = "auto", profile: str | None = None) -> Engine:
    """An engine for a network with its present weights; a later change of them may or may not reach the engine.

    Parameters
    ----------
    model : Network
        The network, in eval mode.
    runtime : str
        "auto" takes torch where there is a CUDA device, else the first of Pannscope's own kernels, ncnn and onnxruntime that is
        made for the architecture, can run the network here and gives torch's probabilities. Where none can, that is torch, and a
        warning is logged once.
    profile : str, optional
        "fast" or "small"; by default the one that PANNSCOPE_PROFILE names, else by the free memory.

    Raises
    ------
    EngineError
        The engine that ``runtime`` names cannot run the network here.
    ModelError
        An unknown runtime or profile.

    Examples
    --------
    >>> from core import load_tagger
    >>> engine_for(load_tagger("demo-epanns").model, "torch").why
    'torch, as requested'
    """
    check_runtime(runtime)
    thread_count = threads()
    if torch.get_num_threads() > thread_count:  # a container's quota, which torch does not read
        torch.set_num_threads(thread_count)
    if runtime == "torch":
        return _torch(model, "torch, as requested")
    if runtime != "auto":
        return _checked(model, runtime, profile, thread_count, f"{runtime}, as requested")
    if torch.cuda.is_available():
        return _torch(model, "torch, because there is a CUDA device")
    failures: list[str] = []
    for name in (name for name, runs in _FAST.items() if runs(model)):
        reason = f"{name}, the fastest here without a CUDA device"
        if failures:
            reason = f"{name}, because a faster engine cannot be used: {' '.join(failures)}"
        try:
            return _checked(model, name, profile, thread_count, reason)
        except EngineError as error:
            failures.append(f"{name}: {error}")
    why = f"torch, because no faster engine can be used: {' '.join(failures)}"
    _warn_once(why)
    return TorchEngine(model, why, fell_back=True)


def _torch(model: Network, why: str) -> TorchEngine:
    return TorchEngine(model, why, "cuda" if torch.cuda.is_available() else "cpu")


def _checked(model: Network, runtime: str, profile: str | None, thread_count: int, reason: str) -> Engine:
    """An engine that gave torch's probabilities for the probe; ``EngineError`` if it cannot."""
    of_cnn14 = runtime != "onnxruntime"
    if of_cnn14 and not (winograd.runs(model) if runtime == "winograd" else isinstance(model, Cnn14)):
        raise EngineError(
            f"{runtime} runs CNN14{' on 64 mel bands' if runtime == 'winograd' else ''}, not {model.architecture}; "
            "give auto, onnxruntime or torch."
        )
    chosen, why_profile = choose_profile(model.config, profile) if of_cnn14 else (None, "")
    cnn14: Any = model
    engines: dict[str, Callable[[], Engine]] = {
        # Its module imports the compiler, which only this engine needs.
        "winograd": lambda: importlib.import_module("core.runtime.winograd.engine").WinogradEngine(
            cnn14, chosen, thread_count
        ),
        "ncnn": lambda: NcnnEngine(cnn14, chosen, thread_count),  # type: ignore[arg-type]
        "bf16": lambda: Bf16Engine(cnn14),
        "onnxruntime": lambda: OnnxEngine(model, thread_count),
    }
    entry = architecture(model.architecture)
    probe = _probe(entry.window_samples or max(entry.least_samples, entry.sample_rate // 2))
    with weights_paged_out_after_use(model):
        expected = model.probabilities(probe)
    trim_heap()  # before the engine takes memory of its own
    try:
        engine = engines[runtime]()
        difference = float((engine.probabilities(probe) - expected).abs().max())
    # What another version of a package may raise; such an engine is left out.
    except (ImportError, RuntimeError, MemoryError, AttributeError, TypeError, OSError) as error:
        raise EngineError(f"{runtime} failed ({type(error).__name__}: {error}).") from error
    allowed = TOLERANCE_BF16 if runtime == "bf16" else TOLERANCE
    if not difference <= allowed:  # also refuses NaN
        raise EngineError(
            f"{runtime}'s probabilities differ from torch's by {difference:.2g}, more than {allowed:g}."
        )
    page_out_weights(model)
    drop_library_pages()  # the code that built and checked the engine
    threads_used = f"{thread_count} thread{'s' if thread_count > 1 else ''}"
    profiled = [why_profile] if runtime in ("winograd", "ncnn") else []
    engine.why = "; ".join([reason, *profiled, threads_used])
    return engine


@lru_cache(maxsize=4)
def _probe(samples: int) -> Tensor:
    """Rising noise, (1, samples), on which an engine is compared with torch before it is used."""
    noise = torch.randn((1, samples), generator=torch.Generator().manual_seed(0))
    return noise * torch.linspace(0.0, 0.3, samples)


@lru_cache(maxsize=8)
def _warn_once(text: str) -> None:
    _log.warning(text)
