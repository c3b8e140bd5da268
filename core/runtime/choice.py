"""Which engine runs a network, and why."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor

from core.errors import ModelError
from core.logmel import FRONT_END
from core.models.cnn import Cnn14
from core.runtime.engine import RUNTIMES, Engine, EngineError, TorchEngine
from core.runtime.machine import threads
from core.runtime.memory import set_aside
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.profiles import choose_profile

TOLERANCE = 1e-4
"""Most that a probability may differ from torch's in float32; 1e-6 is usual."""

TOLERANCE_BF16 = 0.1
"""The same for ``ncnn-bf16``: whether it works at all. What it loses is measured on labelled clips."""

_log = logging.getLogger(__name__)


def check_runtime(runtime: str) -> None:
    """Raise ``ModelError`` for a runtime that there is not."""
    if runtime not in RUNTIMES:
        raise ModelError(
            f"Unknown runtime {runtime!r}; Pannscope runs models on {', '.join(RUNTIMES[1:])} ('auto' picks one)."
        )


def engine_for(model: Cnn14, runtime: str = "auto", profile: str | None = None) -> Engine:
    """The engine for a network as it is now; a later change of its weights may or may not reach the engine.

    Parameters
    ----------
    model : the network, in eval mode.
    runtime : "auto" takes torch where there is a CUDA device, else ncnn, and torch again where ncnn cannot run the network or answers
        differently (which is logged once). A name takes that engine or raises ``EngineError``.
    profile : ncnn's "fast" or "small"; by default what PANNSCOPE_PROFILE says, else what memory allows.
    """
    check_runtime(runtime)
    used = threads()
    if torch.get_num_threads() > used:  # a container's quota, which torch does not look at
        torch.set_num_threads(used)
    if runtime == "torch":
        return _torch(model, "torch was asked for")
    if runtime == "auto" and torch.cuda.is_available():
        return _torch(model, "torch, because there is a CUDA device")
    try:
        return _ncnn(model, profile, used, bf16=runtime == "ncnn-bf16", asked=runtime != "auto")
    except EngineError as error:
        if runtime != "auto":
            raise
        why = f"torch, because ncnn, which is faster, cannot be used: {error}"
        _warn_once(why)
        return TorchEngine(model, why)


def _torch(model: Cnn14, why: str) -> TorchEngine:
    return TorchEngine(model, why, "cuda" if torch.cuda.is_available() else "cpu")


def _ncnn(model: Cnn14, profile: str | None, used: int, *, bf16: bool, asked: bool) -> NcnnEngine:
    chosen, reason = choose_profile(model.config, profile)
    try:
        engine = NcnnEngine(model, chosen, used, bf16)
        probe = _probe()
        apart = float((engine.probabilities(probe) - model.probabilities(probe)).abs().max())
    except (RuntimeError, MemoryError, AttributeError, TypeError) as error:  # another version of the package
        raise EngineError(f"ncnn failed ({type(error).__name__}: {error}).") from error
    allowed = TOLERANCE_BF16 if bf16 else TOLERANCE
    if not apart <= allowed:  # not a number is none either
        raise EngineError(
            f"ncnn's probabilities differ from torch's by {apart:.2g} where {allowed:g} passes."
        )
    set_aside(model)
    first = "ncnn was asked for" if asked else "ncnn, the fastest here without a CUDA device"
    engine.why = f"{first}; {reason}; {used} thread{'s' if used > 1 else ''}"
    return engine


@lru_cache(maxsize=1)
def _probe() -> Tensor:
    """Half a second of rising noise, (1, samples): an engine's answer to it is compared with torch's before it is used."""
    samples = FRONT_END.sample_rate // 2
    noise = torch.randn((1, samples), generator=torch.Generator().manual_seed(0))
    return noise * torch.linspace(0.0, 0.3, samples)


@lru_cache(maxsize=8)
def _warn_once(text: str) -> None:
    _log.warning(text)
