"""Training and fine-tuning with the published recipe, resumable to the bit.

Loss, optimiser, batch, mixup, SpecAugment and sampling are audioset_tagging_cnn's (``pytorch/main.py``, ``losses.py``); of a network
of scenes the loss is the cross-entropy of its softmax. What a small data set needs beyond it is optional: a cosine schedule, an
average of the weights, waveform augmentation (``augment.WaveformAugmentation``) and bfloat16 arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import CheckpointError, DataError
from core.models.network import LogMelNetwork, Network
from core.models.registry import architecture
from core.training.augment import Mixup, SpecAugment, WaveformAugmentation, WaveformAugmentationConfig
from core.training.data import BalancedSampler, LabelledClips
from core.training.inputs import FrontEndOutputs, Spectrograms
from core.training.loop import Learner
from core.units import plural


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the defaults are the published recipe's, but for ``steps`` and ``seconds``.

    Attributes
    ----------
    steps : optimiser steps.
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


def recipe_for(network: Network, config: TrainingConfig) -> TrainingConfig:
    """The part of a recipe that a network can be trained with.

    SpecAugment, mixup and waveform augmentation work on the log-mels of PANNs' networks; others train without the first two, and
    ``DataError`` is raised for the third, which is never on by default.

    Examples
    --------
    >>> entry = architecture("dcase2021-task1a")
    >>> recipe_for(entry.build(entry.configure()), TrainingConfig(steps=1)).mixup_alpha
    0.0
    """
    if isinstance(network, LogMelNetwork):
        return config
    if config.augment_waveform:
        title = architecture(network.architecture).title
        raise DataError(
            f"Waveform augmentation works on PANNs' log-mels, which {title} does not take; leave it out."
        )
    return replace(config, mixup_alpha=0.0, spec_augment=False)


class Trainer(Learner):
    """Trains a network on labelled clips; ``loop.run`` runs it."""

    config: TrainingConfig

    def __init__(self, model: Network, clips: LabelledClips, config: TrainingConfig) -> None:
        if model.config.classes != len(clips.classes):
            raise DataError(
                f"The network has {plural(model.config.classes, 'class', 'classes')} and the clips are labelled with {len(clips.classes)}; "
                "train from the same class set, or give the network new outputs."
            )
        entry = architecture(model.architecture)
        self._scenes = entry.output == "scenes"
        if self._scenes:
            clips.single_labels()  # raises where one has several
        config = recipe_for(model, config)
        super().__init__(model, config)
        torch.manual_seed(config.seed)
        self._generator = np.random.default_rng(config.seed)
        self._clips_digest = clips.digest()
        self._targets = torch.from_numpy(clips.targets)
        front_end: Any = model.front_end
        self._inputs = (
            Spectrograms(clips, config.seconds, entry, front_end=front_end)
            if isinstance(model, LogMelNetwork)
            else FrontEndOutputs(clips, config.seconds, entry, front_end)
        )
        self._sampler = BalancedSampler(clips.targets, self._generator)
        self._augment_waveform = (
            WaveformAugmentation(WaveformAugmentationConfig(), self._generator, front_end.front_end)
            if config.augment_waveform
            else None
        )
        self._spec_augment = SpecAugment(self._generator) if config.spec_augment else None
        self._mixup = Mixup(self._generator, config.mixup_alpha) if config.mixup_alpha > 0 else None
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-8, amsgrad=True
        )

    def advance(self) -> float:
        config = self.config
        indices = self._sampler.draw(config.batch * (2 if self._mixup else 1))
        inputs = self._inputs.batch(indices)
        if self._augment_waveform:
            inputs = self._augment_waveform(inputs)
        targets = self._targets[indices]
        if self._mixup:
            self._mixup.draw(config.batch)
            targets = self._mixup.mix(targets)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = self._logits(inputs).float()
        loss = (F.cross_entropy if self._scenes else F.binary_cross_entropy_with_logits)(logits, targets)
        self.update(loss)
        self.losses.append(loss.item())
        self.recent_loss()  # raises where it diverges
        return loss.item()

    def _logits(self, inputs: Any) -> Tensor:
        if isinstance(self._inputs, FrontEndOutputs):
            return self.model.head(self.model.feature_maps(inputs))
        return self.model.network(self.model.front_end.decibels(inputs), self._augment)

    def _augment(self, x: Tensor) -> Tensor:
        if self._spec_augment:
            x = self._spec_augment(x)
        if self._mixup:
            x = self._mixup.mix(x)
        return x.contiguous(memory_format=torch.channels_last)

    def details(self) -> dict[str, Any]:
        return {
            "generator": self._generator.bit_generator.state,
            "clips": self._clips_digest,
            "sampler": self._sampler.state(),
        }

    def apply_details(self, details: dict[str, Any]) -> None:
        if details.get("clips", self._clips_digest) != self._clips_digest:
            raise CheckpointError(
                "This training was started with other clips; resume with the same manifest and folds, or start over "
                "without --resume."
            )
        self._generator.bit_generator.state = details["generator"]
        self._sampler.restore(details["sampler"])
