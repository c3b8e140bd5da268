"""The options of the training recipe, which ``train`` and ``finetune`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ManifestOption = Annotated[
    Path,
    typer.Option(
        "--manifest",
        metavar="CSV",
        help="CSV with the columns filename, labels (separated by ;) and, if wanted, fold.",
    ),
]
AudioOption = Annotated[Path, typer.Option("--audio", metavar="FOLDER", help="Folder of the recordings.")]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The trained checkpoint, a .safetensors file.")
]
FoldsOption = Annotated[
    str | None,
    typer.Option("--folds", metavar="LIST", help="Use only these folds of the manifest, as 1,2,3."),
]
EvaluateFoldsOption = Annotated[
    str | None,
    typer.Option("--evaluate-folds", metavar="LIST", help="Score the result on these folds, as 4."),
]
StepsOption = Annotated[int, typer.Option("--steps", metavar="N", help="Optimiser steps.")]
BatchOption = Annotated[int, typer.Option("--batch", metavar="N", help="Clips a step, after mixup.")]
RateOption = Annotated[float, typer.Option("--learning-rate", metavar="RATE", help="Adam's learning rate.")]
ScheduleOption = Annotated[
    str, typer.Option("--schedule", metavar="NAME", help="constant, or cosine (up, then down to 0).")
]
MixupOption = Annotated[
    float, typer.Option("--mixup", metavar="ALPHA", help="Beta parameter of mixup; 0 switches it off.")
]
SpecAugmentOption = Annotated[
    bool, typer.Option("--spec-augment/--no-spec-augment", help="Blank stripes while training.")
]
DisguiseOption = Annotated[
    bool,
    typer.Option(
        "--disguise/--no-disguise", help="Random level, band limit, room, noise, pace and position."
    ),
]
AverageOption = Annotated[
    float,
    typer.Option(
        "--average",
        metavar="DECAY",
        help="Decay of a running average of the weights, saved in their place; 0 is off.",
    ),
]
SecondsOption = Annotated[
    float, typer.Option("--seconds", metavar="S", help="Length of the training window.")
]
PrecisionOption = Annotated[str, typer.Option("--precision", metavar="NAME", help="float32 or bfloat16.")]
SeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="Of every random choice.")]
SaveEveryOption = Annotated[
    int, typer.Option("--save-every", metavar="N", help="Steps between two saves of the training state.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads; by default one a core.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped, exactly.")]
HalfOption = Annotated[bool, typer.Option("--half", help="Store float16: half the size.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
