"""The options of a training run: what becomes of the result, and of ``train`` and ``finetune`` the clips and the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.options import (
    AudioOption,
    ChannelOption,
    FoldsOption,
    ForceOption,
    HalfOption,
    JsonOption,
    ManifestOption,
    channel_of,
)
from core.cli.output import progress_bar
from core.errors import CheckpointError, DataError
from core.files import check_output
from core.settings import MAX_THREADS

if TYPE_CHECKING:
    from core.classes import ClassSet
    from core.models.network import Network
    from core.training.data import LabelledClips
    from core.training.loop import Learner, Progress
    from core.training.train import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every training run has: ``train``, ``finetune`` and ``distil``."""

    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The trained checkpoint, a .safetensors file.")
    ]
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Optimiser steps.")]
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every random choice.")] = 0
    save_every: Annotated[
        int, typer.Option("--save-every", metavar="N", help="Steps between two saves of the training state.")
    ] = 500
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="CPU threads; by default one a core.")
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped, exactly.")] = (
        False
    )
    half: HalfOption = False
    force: ForceOption = False
    json_output: JsonOption = False

    @property
    def state_file(self) -> Path:
        """The training state that ``--resume`` reads, beside the checkpoint."""
        return self.out.with_suffix(".state.pt")

    @property
    def metrics_file(self) -> Path:
        """The log of what is measured as it goes, beside the checkpoint."""
        return self.out.with_suffix(".metrics.jsonl")

    def prepare(self) -> None:
        """Check where the run writes, and set the number of threads.

        Raises ``CheckpointError`` where its files cannot be written or are another run's, and ``DataError`` for an impossible number.
        """
        replace = self.force or self.resume
        check_output(self.out, ".safetensors", force=replace, error=CheckpointError)
        if self.state_file.exists() and not replace:
            raise CheckpointError(
                f"{self.state_file} holds the state of an earlier training; continue it with --resume, or replace it with --force."
            )
        if self.threads is not None:
            import torch

            if not 1 <= self.threads <= MAX_THREADS:
                raise DataError(
                    f"--threads is a number of CPU threads, 1 to {MAX_THREADS}; got {self.threads}."
                )
            torch.set_num_threads(self.threads)

    def run(self, trainer: Learner, doing: str, describe: Callable[[Progress], str]) -> Network:
        """Run to the end behind a progress bar; the state is saved as it goes."""
        from core.training.loop import run

        with progress_bar() as bar:
            task = bar.add_task(doing, total=self.steps or None)

            def show(report: Progress) -> None:
                bar.update(task, completed=report.step, total=report.steps, description=describe(report))

            return run(
                trainer,
                self.state_file,
                metrics_file=self.metrics_file,
                resume=self.resume,
                on_progress=show,
            )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(RunOptions):
    """What ``train`` and ``finetune`` share."""

    manifest: ManifestOption
    audio: AudioOption
    folds: FoldsOption = None
    channel: ChannelOption = "mean"
    evaluate_folds: Annotated[
        str | None,
        typer.Option("--evaluate-folds", metavar="LIST", help="Score the result on these folds, as 4."),
    ] = None
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Clips a step, after mixup.")] = 32
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="RATE", help="Adam's learning rate.")
    ] = 1e-3
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="NAME", help="constant, or cosine (up, then down to 0).")
    ] = "constant"
    mixup: Annotated[
        float, typer.Option("--mixup", metavar="ALPHA", help="Beta parameter of mixup; 0 switches it off.")
    ] = 1.0
    spec_augment: Annotated[
        bool,
        typer.Option(
            "--spec-augment/--no-spec-augment", help="SpecAugment: mask stripes of the spectrogram."
        ),
    ] = True
    augment: Annotated[
        bool,
        typer.Option(
            "--augment/--no-augment",
            help="Waveform augmentation: random level, band limit, room, noise, speed and position.",
        ),
    ] = False
    disguise: Annotated[
        bool | None, typer.Option("--disguise/--no-disguise", hidden=True, help="The old name of --augment.")
    ] = None
    average: Annotated[
        float,
        typer.Option(
            "--average",
            metavar="DECAY",
            help="Decay of a running average of the weights, saved in their place; 0 is off.",
        ),
    ] = 0.0
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="Length of the training window.")
    ] = 10.0
    precision: Annotated[str, typer.Option("--precision", metavar="NAME", help="float32 or bfloat16.")] = (
        "float32"
    )

    def clips(self, classes: ClassSet | None = None, *, own: bool = False) -> LabelledClips:
        """The manifest's clips, with these classes or those that it uses, AudioSet's alone unless ``own``. Raises ``DataError``."""
        from core.training.data import read_manifest

        return read_manifest(self.manifest, self.audio, classes, channel=channel_of(self.channel), own=own)

    def config(self) -> TrainingConfig:
        """The recipe. Raises ``DataError`` for a value that training cannot use."""
        from core.training.train import TrainingConfig

        return TrainingConfig(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            mixup_alpha=self.mixup,
            spec_augment=self.spec_augment,
            augment_waveform=self.augment if self.disguise is None else self.disguise,
            average=self.average,
            seconds=self.seconds,
            precision=self.precision,
            seed=self.seed,
            save_every=self.save_every,
        )
