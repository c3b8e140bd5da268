"""Training and fine-tuning with the published recipe, resumable to the bit.

Loss, optimizer, batch, mixup, SpecAugment and sampling are audioset_tagging_cnn's (``pytorch/main.py``, ``losses.py``). What a
small data set needs beyond it is optional: a cosine schedule, an average of the weights, waveform augmentation
(``augment.WaveformAugmentation``) and bfloat16 arithmetic.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import CheckpointError, DataError
from core.files import atomic_write, unwritable
from core.models.cnn import Cnn14
from core.training.augment import Mixup, SpecAugment, WaveformAugmentation, WaveformAugmentationConfig
from core.training.data import BalancedSampler, LabelledClips, Spectrograms
from core.units import plural


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the defaults are the published recipe's, but for ``steps`` and ``seconds``.

    Attributes
    ----------
    steps : optimizer steps.
    batch : clips per step after mixup (twice as many are sampled).
    learning_rate, schedule : Adam's rate (amsgrad); "constant", or "cosine": up over 5% of the steps, then down to 0.
    mixup_alpha : Beta parameter of mixup; 0 switches it off.
    spec_augment, augment_waveform : SpecAugment; waveform augmentation (ours).
    average : decay of a running average of the weights that is saved in their place; 0 switches it off.
    seconds : length of the training window.
    precision : "float32" or "bfloat16" (mixed; the weights stay float32).
    seed : of every random choice.
    save_every : steps between two saves of the training state.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1e-3
    schedule: str = "constant"
    mixup_alpha: float = 1.0
    spec_augment: bool = True
    augment_waveform: bool = False
    average: float = 0.0
    seconds: float = 10.0
    precision: str = "float32"
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        accepted = {
            "steps": (self.steps >= 1, "at least 1"),
            "batch": (self.batch >= 2, "at least 2"),
            "learning rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "schedule": (self.schedule in ("constant", "cosine"), "'constant' or 'cosine'"),
            "mixup": (0 <= self.mixup_alpha <= 100, "0 (off) to 100"),
            "average": (0 <= self.average < 1, "0 (off) to below 1"),
            "precision": (self.precision in ("float32", "bfloat16"), "'float32' or 'bfloat16'"),
            "seed": (0 <= self.seed < 1 << 63, "a whole number from 0 to 2^63 - 1"),
            "save-every": (self.save_every >= 1, "at least 1"),
        }
        for name, (good, wanted) in accepted.items():
            if not good:
                value = getattr(
                    self,
                    {"learning rate": "learning_rate", "mixup": "mixup_alpha"}.get(
                        name, name.replace("-", "_")
                    ),
                )
                raise DataError(f"Training cannot use {name} = {value!r}; it must be {wanted}.")


@dataclass(frozen=True)
class Progress:
    """One step's report: steps done, of how many, mean loss of the last 20 steps, and seconds spent in this run."""

    step: int
    steps: int
    loss: float
    seconds: float


class Trainer:
    """Trains a network on labelled clips; with ``state`` and ``restore`` a stopped run resumes exactly."""

    def __init__(self, model: Cnn14, clips: LabelledClips, config: TrainingConfig) -> None:
        if model.config.classes != len(clips.classes):
            raise DataError(
                f"The network has {plural(model.config.classes, 'class', 'classes')} and the clips are labelled with {len(clips.classes)}; "
                "train from the same class set, or give the network new outputs."
            )
        self.model = model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.config = config
        self.step = 0
        self.losses: list[float] = []
        torch.manual_seed(config.seed)
        self._generator = np.random.default_rng(config.seed)
        self._clips_digest = clips.digest()
        self._targets = torch.from_numpy(clips.targets)
        self._spectrograms = Spectrograms(clips, config.seconds)
        self._sampler = BalancedSampler(clips.targets, self._generator)
        self._augment_waveform = (
            WaveformAugmentation(WaveformAugmentationConfig(), self._generator)
            if config.augment_waveform
            else None
        )
        self._spec_augment = SpecAugment(self._generator) if config.spec_augment else None
        self._mixup = Mixup(self._generator, config.mixup_alpha) if config.mixup_alpha > 0 else None
        self._optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-8, amsgrad=True
        )
        self._average = deepcopy(model.state_dict()) if config.average > 0 else None

    def advance(self) -> float:
        """Do one step and return its loss."""
        config = self.config
        indices = self._sampler.draw(config.batch * (2 if self._mixup else 1))
        power = self._spectrograms.batch(indices)
        if self._augment_waveform:
            power = self._augment_waveform(power)
        targets = self._targets[indices]
        if self._mixup:
            self._mixup.draw(config.batch)
            targets = self._mixup.mix(targets)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        logmel = self.model.front_end.decibels(power)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = self.model.network(logmel, self._augment)
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.step += 1
        self._update_average()
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            raise DataError(
                f"Training diverged at step {self.step}: the loss is {self.losses[-1]}. "
                "Use a smaller learning rate, or float32 precision."
            )
        return self.losses[-1]

    def _augment(self, x: Tensor) -> Tensor:
        if self._spec_augment:
            x = self._spec_augment(x)
        if self._mixup:
            x = self._mixup.mix(x)
        return x.contiguous(memory_format=torch.channels_last)

    def _learning_rate(self) -> float:
        config = self.config
        if config.schedule == "constant":
            return config.learning_rate
        warm = max(1, round(0.05 * config.steps))
        if self.step < warm:
            return config.learning_rate * (self.step + 1) / warm
        done = (self.step - warm) / max(1, config.steps - warm)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _update_average(self) -> None:
        if self._average is None:
            return
        # A young average decays faster: otherwise it would keep the random initial weights.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self._average[name].lerp_(value, 1 - decay)
            else:
                self._average[name].copy_(value)

    def trained(self) -> Cnn14:
        """A copy of the network as it would be saved now: averaged if configured, in eval mode."""
        copy = deepcopy(self.model)
        if self._average is not None:
            copy.load_state_dict(self._average)
        return copy.to(memory_format=torch.contiguous_format).eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on: tensors, and JSON for the rest (so that no pickle is needed)."""
        rest = {
            "step": self.step,
            "config": asdict(self.config),
            "generator": self._generator.bit_generator.state,
            "clips": self._clips_digest,
            "sampler": self._sampler.state(),
            "losses": self.losses,
        }
        return {
            "model": self.model.state_dict(),
            "average": self._average,
            "optimiser": self._optimizer.state_dict(),
            "torch_generator": torch.get_rng_state(),
            "rest": json.dumps(rest),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from ``state``; raises ``CheckpointError`` if it belongs to another network or configuration."""
        try:
            rest = json.loads(state["rest"])
            if "disguise" in rest["config"]:  # a state that an earlier version wrote
                rest["config"]["augment_waveform"] = rest["config"].pop("disguise")
            differing = [
                key
                for key, value in asdict(self.config).items()
                if key != "save_every" and rest["config"][key] != value
            ]
            if differing:
                key = differing[0]
                raise CheckpointError(
                    f"This training was started with {key} = {rest['config'][key]!r}, not {asdict(self.config)[key]!r}; "
                    "resume with the same settings, or start over without --resume."
                )
            if rest.get("clips", self._clips_digest) != self._clips_digest:
                raise CheckpointError(
                    "This training was started with other clips; resume with the same manifest and folds, or start over "
                    "without --resume."
                )
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimiser"])
            self._average = state["average"]
            self._generator.bit_generator.state = rest["generator"]
            self._sampler.restore(rest["sampler"])
            self.step, self.losses = rest["step"], rest["losses"]
            torch.set_rng_state(state["torch_generator"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"The training state does not fit this network ({error}); start over."
            ) from error


def run(
    trainer: Trainer,
    state_file: Path,
    *,
    metrics_file: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Cnn14:
    """Train to the configured number of steps and return the network; the state file is kept for ``resume``.

    ``metrics_file`` gets one JSON line every 20 steps: {step, loss, learning_rate, seconds}.
    """
    config = trainer.config
    if resume:
        trainer.restore(_read_state(state_file))
    started = time.perf_counter()
    if metrics_file is not None:
        _keep_lines(metrics_file, trainer.step)
    while trainer.step < config.steps:
        trainer.advance()
        done = trainer.step == config.steps
        if done or trainer.step % 20 == 0:
            recent = float(np.mean(trainer.losses[-20:]))
            report = Progress(trainer.step, config.steps, recent, time.perf_counter() - started)
            if metrics_file is not None:
                line = {
                    "step": report.step,
                    "loss": round(recent, 6),
                    "learning_rate": trainer._learning_rate(),
                }
                with metrics_file.open("a") as file:
                    file.write(json.dumps(line | {"seconds": round(report.seconds, 1)}) + "\n")
            if on_progress:
                on_progress(report)
        if done or trainer.step % config.save_every == 0:
            _write_state(trainer.state(), state_file)
    return trainer.trained()


def _write_state(state: dict[str, Any], path: Path) -> None:
    try:
        with atomic_write(path) as draft:
            torch.save(state, draft)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(unwritable(path, error)) from error


def _read_state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"There is no training state {path} to resume from; start without --resume.")
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"The training state {path} is damaged ({type(error).__name__}); start over."
        ) from error
    return state


def _keep_lines(path: Path, step: int) -> None:
    """Drop the lines that a stopped run wrote after its last saved state, so that each step is reported once."""
    lines = path.read_text().splitlines() if path.is_file() and step else []
    matches = [re.match(r'\{"step": (\d+),.*\}$', line) for line in lines]  # the last line may be cut short
    kept = [line for line, match in zip(lines, matches, strict=True) if match and int(match[1]) <= step]
    path.write_text("".join(line + "\n" for line in kept))
