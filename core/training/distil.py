"""Learning from another network on recordings without labels: a student is trained to give what its teacher gives.

The teacher gets exactly the student's window, after augmentation (Beyer et al., "Knowledge distillation: A good teacher is patient
and consistent", CVPR 2022). Every step's random numbers follow from the seed and the step, so that a run is resumed to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.audio import SAMPLE_RATE
from core.classes import ClassSet
from core.errors import CheckpointError, DataError
from core.models.network import Network
from core.training.agreement import teacher_agreement
from core.training.loop import REPORT_EVERY, Learner
from core.training.mixtures import Mixer, MixtureConfig
from core.training.recordings import Recordings
from core.training.students import at_rate, entry_of, probabilities
from core.training.teaching import common_classes, soft_loss

WINDOW_SHARES = (1.0, 0.5, 0.25)
"""Lengths of the windows as shares of the longest, because people's recordings are short and long."""

MEASUREMENTS = 10
"""How often the held-out agreement is measured in a run."""

MEASURED = 200  # held-out recordings at most

MAX_MINUTES = 10_080
"""A week."""

_ANY = 1 << 40  # steps of a run of so many minutes, before the first one has been timed

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class DistilConfig:
    """How to learn from a teacher.

    Attributes
    ----------
    steps : optimiser steps; 0 for as many as ``minutes`` allow.
    minutes : how long to learn at most; 0 for no limit. A run that is ended by its time does not end with the same bits twice.
    batch : windows a step.
    learning_rate, schedule : Adam's rate; "cosine" (up over 5% of the steps, then down to 0) or "constant".
    average : decay of a running average of the weights that is saved in their place; 0 switches it off.
    seconds, shares : the longest windows, and the lengths of all as shares of it; one a step, at random.
    divergence : weight of the Kullback-Leibler divergence of the two softmaxes over the logits.
    embedding : weight of one minus the cosine of the two embeddings; of different sizes, through a learned projection.
    labels : share of a label in a target where one is known, the rest being the teacher's probability.
    balance : 0 draws recordings equally often; 1 the classes that the teacher gives them first.
    dropout : whether the student's dropout is on.
    freeze_norms : whether its batch norms keep their statistics.
    precision : "float32", or "bfloat16" for the student's arithmetic (the weights stay float32).
    seed : of every random choice.
    save_every : steps between two saves of the state.
    mixtures : the augmentation.
    """

    steps: int = 0
    minutes: float = 0.0
    batch: int = 24
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    average: float = 0.999
    seconds: float = 10.0
    shares: tuple[float, ...] = WINDOW_SHARES
    divergence: float = 1.0
    embedding: float = 0.0
    labels: float = 0.0
    balance: float = 0.5
    dropout: bool = False
    freeze_norms: bool = False
    precision: str = "float32"
    seed: int = 0
    save_every: int = 500
    mixtures: MixtureConfig = field(default_factory=MixtureConfig)

    def __post_init__(self) -> None:
        accepted = {
            "steps": (self.steps >= (0 if self.minutes else 1), "at least 1 where no minutes are given"),
            "minutes": (0 <= self.minutes <= MAX_MINUTES, f"0 (no limit) to {MAX_MINUTES}"),
            "batch": (self.batch >= 2, "at least 2"),
            "learning_rate": (0 < self.learning_rate <= 1, "above 0 and at most 1"),
            "schedule": (self.schedule in ("constant", "cosine"), "'constant' or 'cosine'"),
            "average": (0 <= self.average < 1, "0 (off) to below 1"),
            "seconds": (0.1 <= self.seconds <= 60, "0.1 to 60"),
            "divergence": (0 <= self.divergence <= 100, "0 (off) to 100"),
            "embedding": (0 <= self.embedding <= 100, "0 (off) to 100"),
            "labels": (0 <= self.labels <= 1, "0 (off) to 1"),
            "balance": (0 <= self.balance <= 1, "0 to 1"),
            "precision": (self.precision in ("float32", "bfloat16"), "'float32' or 'bfloat16'"),
            "seed": (0 <= self.seed < 1 << 63, "a whole number from 0 to 2^63 - 1"),
            "save_every": (self.save_every >= 1, "at least 1"),
        }
        for name, (good, wanted) in accepted.items():
            if not good:
                raise DataError(
                    f"Distillation cannot use {name.replace('_', '-')} = {getattr(self, name)!r}; it must be {wanted}."
                )


@dataclass(frozen=True)
class Teacher:
    """A network to learn from, its classes, and the sha256 of its file."""

    network: Network
    classes: ClassSet
    sha256: str = ""


class Distiller(Learner):
    """Trains a student; ``loop.run`` runs it.

    Parameters
    ----------
    student, classes : the network and its classes; its outputs for classes that the teacher lacks are not trained.
    teacher : what it learns from, matched by the classes' AudioSet indices.
    recordings : what to learn on.
    held_out : recordings on which the agreement is measured as it goes; none for no measurement.
    on_measure : called with (done, total) recordings while it is measured.
    config : the recipe.
    device : where to compute; the student is moved there.

    Raises
    ------
    DataError
        No class in common, or windows that one of the networks cannot take.
    """

    config: DistilConfig

    def __init__(
        self,
        student: tuple[Network, ClassSet],
        teacher: Teacher,
        recordings: Recordings,
        config: DistilConfig,
        *,
        held_out: Recordings | None = None,
        on_measure: OnProgress | None = None,
        device: str = "cpu",
    ) -> None:
        network, classes = student
        self.device = torch.device(device)
        own, theirs = common_classes(classes, teacher.classes)
        self._own = torch.tensor(own, device=self.device)
        self._theirs = torch.tensor(theirs, device=self.device)
        indices = [classes.indices[column] for column in own] if config.labels > 0 else [0] * len(own)
        self._columns = torch.tensor(indices, device=self.device)  # of labels, which are AudioSet's
        self._shares = _shares(network, teacher.network, config)
        self.teacher: Network = teacher.network.to(self.device).eval()
        self._identity = {"recordings": recordings.digest(), "teacher": teacher.sha256}
        self._recordings = recordings.to(self.device)
        self._held_out = None if held_out is None else held_out.select(range(min(MEASURED, len(held_out))))
        self._on_measure = on_measure
        self._measured = -1
        self._mixer: Mixer | None = None
        self._first: list[int] = []
        self._decisions: npt.NDArray[np.float32] | None = None
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # windows have three lengths only
        torch.manual_seed(config.seed)
        super().__init__(network.to(self.device), config)
        self.projection = self._projection()
        parameters = chain(
            self.model.parameters(), [] if self.projection is None else self.projection.parameters()
        )
        self.optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
        self._generator = torch.Generator(self.device)
        if not config.dropout:
            self.model.eval()
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(not config.freeze_norms)

    def prepare(self, on_progress: OnProgress | None = None) -> None:
        """Run the teacher on the recordings once, to draw its classes evenly; ``advance`` does it where it was not done."""
        if self._mixer is not None:
            return
        count = len(self._recordings)
        if not self._first:
            self._first = (
                self._outputs(self.teacher, self._recordings, self._theirs, on_progress).argmax(1).tolist()
                if self.config.balance > 0
                else [0] * count
            )
        first = torch.tensor(self._first)
        weights = torch.bincount(first)[first].double() ** -self.config.balance
        self._mixer = Mixer(self._recordings, weights, self.config.mixtures)

    def advance(self) -> Tensor:
        self.prepare()
        assert self._mixer is not None
        config = self.config
        seed = int(np.random.SeedSequence((config.seed, self.step)).generate_state(1, np.uint64)[0] >> 1)
        self._generator.manual_seed(seed)
        torch.manual_seed(seed)  # for dropout
        share = self._shares[seed % len(self._shares)]
        batch = self._mixer.batch(config.batch, round(share * config.seconds * SAMPLE_RATE), self._generator)
        with torch.inference_mode():
            their_maps = self.teacher.feature_maps(
                self.teacher.front_end(at_rate(batch.waveforms, self.teacher))
            )
            their_logits = self.teacher.head(their_maps)[:, self._theirs]
        inputs = self.model.front_end(at_rate(batch.waveforms, self.model))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            maps = self.model.feature_maps(inputs)
        maps = maps.float()
        logits = self.model.head(maps)[:, self._own]
        loss = soft_loss(
            logits,
            their_logits.clone(),
            labels=batch.labels[:, self._columns],
            known=batch.known[:, self._columns],
            labels_share=config.labels,
            divergence=config.divergence,
        )
        if config.embedding > 0:
            with torch.inference_mode():
                their_embedding = self.teacher.embed(their_maps)
            own = self.model.embed(maps)
            own = own if self.projection is None else self.projection(own)
            cosine = F.cosine_similarity(own, their_embedding.clone(), dim=1)
            loss = loss + config.embedding * (1 - cosine.mean())
        self.update(loss)
        self.losses = [*self.losses[1 - REPORT_EVERY :], loss.detach()]  # a number only when it is reported
        return self.losses[-1]

    def steps(self) -> int:
        """Steps of the whole run: as configured, or as many as its time allows at the pace so far, whichever are fewer."""
        steps, budget = self.config.steps or _ANY, 60 * self.config.minutes
        if not budget or not self.seconds:
            return steps
        if self.seconds >= budget:
            return self.step
        return min(steps, max(self.step + 1, round(self.step * budget / self.seconds)))

    def measure(self) -> dict[str, float]:
        """Agreement with the teacher on the held-out recordings, ten times in a run and at its end."""
        part = self._part()
        if self._held_out is None or part <= self._measured:
            return {}
        self._measured = part
        if self._decisions is None:
            self._decisions = self._outputs(self.teacher, self._held_out, self._theirs, self._on_measure)
        student = self._outputs(self.trained().to(self.device), self._held_out, self._own, self._on_measure)
        return teacher_agreement(self._decisions, student).document()

    def _part(self) -> int:
        """How many of the parts of the run that end with a measurement are done."""
        return MEASUREMENTS * self.step // max(1, self.steps())

    def details(self) -> dict[str, Any]:
        return {**self._identity, "first": self._first}

    def apply_details(self, details: dict[str, Any]) -> None:
        for what, digest in self._identity.items():
            if details[what] != digest:
                raise CheckpointError(
                    f"This distillation was started with another {what.removesuffix('s')}; resume with the same {what}, or start "
                    "over without --resume."
                )
        self._first = details["first"]

    def state(self) -> dict[str, Any]:
        extra = {} if self.projection is None else {"projection": self.projection.state_dict()}
        return super().state() | extra

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._measured = MEASUREMENTS * (self.step // REPORT_EVERY * REPORT_EVERY) // max(1, self.steps())
        if self.projection is not None:
            self.projection.load_state_dict(state["projection"])

    @property
    def classes_in_common(self) -> int:
        """The classes that the student learns."""
        return len(self._own)

    def _projection(self) -> nn.Linear | None:
        own, theirs = self.model.config.embedding, self.teacher.config.embedding
        if self.config.embedding == 0 or own == theirs:
            return None
        return nn.Linear(own, theirs, bias=False).to(self.device)

    def _outputs(
        self, network: Network, recordings: Recordings, columns: Tensor, on_progress: OnProgress | None = None
    ) -> npt.NDArray[np.float32]:
        """Probabilities (recordings, classes in common) of whole recordings."""
        rows = []
        # Every recording has a length of its own: cuDNN must not look for the fastest algorithm for each of them.
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=False, allow_tf32=torch.backends.cudnn.allow_tf32
        ):
            for row in range(len(recordings)):
                rows.append(probabilities(network, recordings.waveform(row).to(self.device))[columns])
                if on_progress:
                    on_progress(row + 1, len(recordings))
        return torch.stack(rows).cpu().numpy()


def _shares(student: Network, teacher: Network, config: DistilConfig) -> tuple[float, ...]:
    """The lengths of windows that both networks can take; raises ``DataError`` where there are none."""
    entries, seconds = (entry_of(student), entry_of(teacher)), config.seconds
    for entry in entries:
        if entry.window_samples is None:
            continue
        only = entry.window_samples / entry.sample_rate
        if seconds != only:
            raise DataError(
                f"{entry.title} takes windows of one length only: learn from windows of {only:g} s, not {seconds:g} s."
            )
        return (1.0,)
    least = max(entry.least_samples / entry.sample_rate for entry in entries)
    shares = tuple(share for share in config.shares if share * seconds >= least)
    if not shares:
        raise DataError(
            f"Windows of {seconds:g} s are too short for these networks; give at least {least:.2f} s."
        )
    return shares
