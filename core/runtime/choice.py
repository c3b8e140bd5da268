"""Which engine runs a network, and why."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from core.errors import ModelError
from core.models.cnn import Cnn14
from core.models.frontend import FRONT_END
from core.runtime.bf16 import Bf16Engine
from core.runtime.engine import RUNTIMES, Engine, EngineError, TorchEngine
from core.runtime.machine import threads
from core.runtime.memory import page_out_library, page_out_weights
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.profiles import choose_profile

TOLERANCE = 1e-4
"""Most that a probability may differ from torch's in float32; 1e-6 is usual."""

TOLERANCE_BF16 = 0.1
"""The same for ``bf16``: whether it works at all. What it loses is measured on labelled clips."""

_FAST = ("winograd", "ncnn")
"""What "auto" tries on a CPU, the fastest first."""

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
    runtime : "auto" takes torch where there is a CUDA device, else the first of our own kernels, ncnn and torch that can run the network
        here and answers as torch does. That neither of the first two can is logged, once. A name takes that engine or raises
        ``EngineError``.
    profile : "fast" or "small"; by default what PANNSCOPE_PROFILE says, else what memory allows.
    """
    check_runtime(runtime)
    used = threads()
    if torch.get_num_threads() > used:  # a container's quota, which torch does not look at
        torch.set_num_threads(used)
    if runtime == "torch":
        return _torch(model, "torch was asked for")
    if runtime != "auto":
        return _checked(model, runtime, profile, used, f"{runtime} was asked for")
    if torch.cuda.is_available():
        return _torch(model, "torch, because there is a CUDA device")
    complaints: list[str] = []
    for name in _FAST:
        reason = f"{name}, the fastest here without a CUDA device"
        if complaints:
            reason = f"{name}, because a faster engine cannot be used: {' '.join(complaints)}"
        try:
            return _checked(model, name, profile, used, reason)
        except EngineError as error:
            complaints.append(f"{name}: {error}")
    why = f"torch, because no faster engine can be used: {' '.join(complaints)}"
    _warn_once(why)
    return TorchEngine(model, why)


def _torch(model: Cnn14, why: str) -> TorchEngine:
    return TorchEngine(model, why, "cuda" if torch.cuda.is_available() else "cpu")


def _checked(model: Cnn14, runtime: str, profile: str | None, used: int, reason: str) -> Engine:
    """An engine that has answered as torch does; ``EngineError`` if it cannot."""
    chosen, why_profile = choose_profile(model.config, profile)
    makers: dict[str, Callable[[], Engine]] = {
        # Its module imports the compiler, which only this engine needs.
        "winograd": lambda: importlib.import_module("core.runtime.winograd.engine").WinogradEngine(
            model, chosen, used
        ),
        "ncnn": lambda: NcnnEngine(model, chosen, used),
        "bf16": lambda: Bf16Engine(model),
    }
    probe = _probe()
    wanted = model.probabilities(probe)
    page_out_weights(model)  # before the engine takes memory of its own
    try:
        engine = makers[runtime]()
        apart = float((engine.probabilities(probe) - wanted).abs().max())
    # Whatever another version of a package may raise: an engine that cannot be made is none.
    except (ImportError, RuntimeError, MemoryError, AttributeError, TypeError, OSError) as error:
        raise EngineError(f"{runtime} failed ({type(error).__name__}: {error}).") from error
    allowed = TOLERANCE_BF16 if runtime == "bf16" else TOLERANCE
    if not apart <= allowed:  # not a number is none either
        raise EngineError(
            f"{runtime}'s probabilities differ from torch's by {apart:.2g} where {allowed:g} passes."
        )
    page_out_weights(model)
    page_out_library("libtorch")  # 80 MB of code that made and checked the engine, of which 15 come back
    threads_used = f"{used} thread{'s' if used > 1 else ''}"
    engine.why = "; ".join([reason, *([] if runtime == "bf16" else [why_profile]), threads_used])
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
