"""The loop that training and distillation share: steps, a log of the losses, and a state from which a stopped run resumes to the bit."""

from __future__ import annotations

import json
import math
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import CheckpointError, DataError
from core.files import atomic_write, unwritable
from core.models.network import Network

REPORT_EVERY = 20
"""Steps between two lines of the log, whose loss is their mean."""

SAVE_SECONDS = 300.0
"""The state is saved at least this often, however long a step takes."""

_WARM_UP = 0.05  # share of a cosine schedule's steps


@dataclass(frozen=True)
class Progress:
    """One step's report: steps done, of how many, mean loss of the last 20 steps, seconds spent in this run, and what was measured."""

    step: int
    steps: int
    loss: float
    seconds: float
    measured: dict[str, float]


def _memory_format(model: nn.Module) -> torch.memory_format:
    """Channels-last, which is faster on CPUs, where that is safe.

    Found by running, with PyTorch 2.13 on an AMD EPYC with AVX-512: the backward pass of a channels-last 1 x 1 convolution with a stride and fewer
    than 16 input channels writes past its buffer, and the process ends ("free(): invalid next size"); with 16 or more it does not.
    """
    faulty = any(
        isinstance(module, nn.Conv2d)
        and max(module.kernel_size) == 1 < max(module.stride)
        and module.in_channels < 16
        for module in model.modules()
    )
    return torch.contiguous_format if faulty else torch.channels_last


class Learner(ABC):
    """A network in training, with everything that its next step depends on.

    Attributes
    ----------
    model : Network
    config : object
        A dataclass with ``steps``, ``learning_rate``, ``schedule``, ``average`` and ``save_every``.
    optimizer : torch.optim.Optimizer
    step : int
        Steps done.
    seconds : float
        What they took, with what went on between them.
    losses : list of float or of tensors ()
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, model: Any, config: Any) -> None:
        self.model = model.to(memory_format=_memory_format(model)).train()
        self.config = config
        self.step = 0
        self.seconds = 0.0
        self.losses: list[Any] = []
        self._average: dict[str, Tensor] | None = (
            {name: value.clone() for name, value in model.state_dict().items()}
            if config.average > 0
            else None
        )

    @abstractmethod
    def advance(self) -> Any:
        """Do one step, append its loss to ``losses`` and return it."""

    @abstractmethod
    def details(self) -> dict[str, Any]:
        """What the next step depends on besides tensors and the configuration, as plain JSON."""

    @abstractmethod
    def apply_details(self, details: dict[str, Any]) -> None:
        """Read ``details`` back; raises ``CheckpointError`` where they belong to other data."""

    def measure(self) -> dict[str, float]:
        """What is reported besides the loss after this step; nothing for most."""
        return {}

    def steps(self) -> int:
        """Steps of the whole run."""
        return int(self.config.steps)

    def learning_rate(self) -> float:
        """The rate of the next step."""
        rate, steps = float(self.config.learning_rate), self.steps()
        if self.config.schedule == "constant":
            return rate
        warm = max(1, round(_WARM_UP * steps))
        if self.step < warm:
            return rate * (self.step + 1) / warm
        return rate * 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, steps - warm)))

    def update(self, loss: Tensor) -> None:
        """One step of the optimiser against ``loss``, and of the weights' average."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        if self._average is None:
            return
        # A young average decays faster: otherwise it would keep the random initial weights.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
                else:
                    self._average[name].copy_(value)

    def recent_loss(self) -> float:
        """Mean of the last 20 losses; raises ``DataError`` where it is NaN or infinite."""
        recent = [float(loss) for loss in self.losses[-REPORT_EVERY:]]
        mean = math.fsum(recent) / len(recent)
        if not math.isfinite(mean):
            raise DataError(
                f"Training diverged by step {self.step}: the loss is {mean}. Use a smaller learning rate, or float32 precision."
            )
        return mean

    def trained(self) -> Any:
        """A copy of the network as it would be saved now: averaged if configured, in eval mode, on the CPU."""
        copy = deepcopy(self.model)
        if self._average is not None:
            copy.load_state_dict(self._average)
        return copy.cpu().to(memory_format=torch.contiguous_format).eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on: tensors, and JSON for the rest (so that no pickle is needed)."""
        rest = {
            "step": self.step,
            "seconds": self.seconds,
            "config": asdict(self.config),
            "losses": [float(loss) for loss in self.losses],
            **self.details(),
        }
        return {
            "model": self.model.state_dict(),
            "average": self._average,
            "optimiser": self.optimizer.state_dict(),
            "torch_generator": torch.get_rng_state(),
            "rest": json.dumps(rest),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state``; raises ``CheckpointError`` if it belongs to another network, other data or another configuration."""
        try:
            rest = json.loads(state["rest"])
            if "disguise" in rest["config"]:  # a state that an earlier version wrote
                rest["config"]["augment_waveform"] = rest["config"].pop("disguise")
            wanted = json.loads(json.dumps(asdict(self.config)))
            for key, value in wanted.items():
                if key != "save_every" and rest["config"][key] != value:
                    raise CheckpointError(
                        f"This training was started with {key} = {rest['config'][key]!r}, not {value!r}; "
                        "resume with the same settings, or start over without --resume."
                    )
            self.apply_details(rest)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimiser"])
            if self._average is not None:
                for name, value in self._average.items():
                    value.copy_(state["average"][name])
            self.step, self.losses = rest["step"], rest["losses"]
            self.seconds = rest.get("seconds", 0.0)  # an earlier version did not write it
            torch.set_rng_state(state["torch_generator"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"The training state does not fit this network ({error}); start over."
            ) from error


def run(
    learner: Learner,
    state_file: Path | None,
    *,
    metrics_file: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    report_every: int = REPORT_EVERY,
) -> Network:
    """Train to the end and return the network; the state file is kept for ``resume``.

    Ctrl-C, and an exception that ``on_progress`` raises, end the run after a whole step whose state is saved.

    Parameters
    ----------
    learner : the network, its data and its configuration.
    state_file : written every ``save_every`` steps, every five minutes, and at the end; None for a run that is not resumed.
    metrics_file : gets one JSON line with every report: {step, loss, learning_rate, seconds} and what the learner measures.
    resume : continue from ``state_file``.
    on_progress : called with every report.
    report_every : steps between two reports.
    """

    def save() -> None:
        if state_file is not None:
            write_state(learner.state(), state_file)

    if resume and state_file is not None:
        learner.restore(read_state(state_file))
    started = saved = time.perf_counter()
    earlier = learner.seconds
    if metrics_file is not None:
        keep_lines(metrics_file, learner.step)
    with _stop_requested() as stopping:
        while learner.step < learner.steps():
            learner.advance()
            learner.seconds = earlier + time.perf_counter() - started
            done = learner.step >= learner.steps()
            stop = stopping.is_set()
            if done or learner.step % report_every == 0:
                report = Progress(
                    learner.step,
                    learner.steps(),
                    learner.recent_loss(),
                    learner.seconds - earlier,
                    learner.measure(),
                )
                _log(metrics_file, report, learner.learning_rate())
                if on_progress:
                    try:
                        on_progress(report)
                    except BaseException:
                        save()
                        raise
            late = time.perf_counter() - saved > SAVE_SECONDS
            if done or stop or late or learner.step % learner.config.save_every == 0:
                save()
                saved = time.perf_counter()
            if stop and not done:
                raise KeyboardInterrupt
    return learner.trained()


def write_state(state: dict[str, Any], path: Path) -> None:
    """Save a state in one step; raises ``CheckpointError`` where the disk does not permit it, and leaves the earlier one as it was."""
    try:
        with atomic_write(path) as draft:
            torch.save(state, draft)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(unwritable(path, error)) from error


def read_state(path: Path) -> dict[str, Any]:
    """Read ``write_state`` back, to the CPU; raises ``CheckpointError`` for no file or a damaged one."""
    if not path.is_file():
        raise CheckpointError(f"There is no training state {path} to resume from; start without --resume.")
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise CheckpointError(
            f"The training state {path} is damaged ({type(error).__name__}); start over."
        ) from error
    return state


def keep_lines(path: Path, step: int) -> None:
    """Drop the lines that a stopped run wrote after its last saved state, so that each step is reported once."""
    lines = path.read_text().splitlines() if path.is_file() and step else []
    matches = [re.match(r'\{"step": (\d+),.*\}$', line) for line in lines]  # the last line may be cut short
    kept = [line for line, match in zip(lines, matches, strict=True) if match and int(match[1]) <= step]
    if kept:
        path.write_text("".join(line + "\n" for line in kept))
    else:  # an empty file would be what a training that fails at its first step leaves
        path.unlink(missing_ok=True)


def _log(path: Path | None, report: Progress, rate: float) -> None:
    if path is None:
        return
    line = {"step": report.step, "loss": round(report.loss, 6), "learning_rate": rate}
    with path.open("a") as file:
        file.write(json.dumps(line | {"seconds": round(report.seconds, 1)} | report.measured) + "\n")


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that the step in progress ends; the second one interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    earlier = signal.getsignal(signal.SIGINT)

    def request(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, earlier)

    signal.signal(signal.SIGINT, request)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, earlier)
