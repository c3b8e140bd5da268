"""``distil``: learning from another network, on recordings without labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import FoldsOption, NetworkOptions, grouped
from core.cli.output import complain, print_json, progress, say
from core.cli.recipe import RunOptions
from core.errors import DataError

if TYPE_CHECKING:
    from core.classes import ClassSet
    from core.models.network import Network
    from core.training.distil import DistilConfig
    from core.training.loop import Progress
    from core.training.recordings import Recordings

_LISTED = 10  # unreadable files that are named; the metadata has all


@dataclass(frozen=True, kw_only=True)
class DistilOptions(RunOptions):
    """What ``distil`` learns from and how."""

    teacher: Annotated[
        str,
        typer.Option(
            "--teacher", metavar="MODEL", help="What to learn from: a model's name or a checkpoint."
        ),
    ]
    audio: Annotated[
        list[Path],
        typer.Option("--audio", metavar="FOLDER", help="Folder of recordings; may be given several times."),
    ]
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="MODEL",
            help="The network to train: a model's name or a checkpoint, for instance a pruned one.",
            show_default=False,
        ),
    ] = None
    architecture: Annotated[
        str,
        typer.Option("--architecture", metavar="NAME", help="Without --student: what to train from scratch."),
    ] = "cnn14"
    width: Annotated[
        float, typer.Option("--width", metavar="SHARE", help="Share of the filters of a new CNN14.")
    ] = 1.0
    new_outputs: Annotated[
        bool,
        typer.Option("--new-outputs", help="Give the student a new output layer for the teacher's classes."),
    ] = False
    manifest: Annotated[
        list[Path] | None,
        typer.Option(
            "--manifest",
            metavar="CSV",
            help="One for each --audio, in the same order: the columns filename and, optionally, source, labels and fold.",
            show_default=False,
        ),
    ] = None
    folds: FoldsOption = None
    held_out: Annotated[
        float,
        typer.Option(
            "--held-out",
            metavar="SHARE",
            help="Share of the recordings, whole sources, to measure the agreement on; 0 is none.",
        ),
    ] = 0.1
    labels_weight: Annotated[
        float,
        typer.Option(
            "--labels-weight",
            metavar="SHARE",
            help="Share of a label in a target that has one; 0 ignores them.",
        ),
    ] = 0.0
    steps: Annotated[
        int,
        typer.Option("--steps", metavar="N", help="Optimiser steps.", show_default=False),
    ] = 0
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            metavar="N",
            help="How long to learn at most, instead of --steps or with it.",
            show_default=False,
        ),
    ] = 0.0
    heal: Annotated[
        bool,
        typer.Option(
            "--heal",
            help="Other defaults, for a pruned student that learns from its unpruned network: batch norms keep their statistics, "
            "sounds are changed little.",
        ),
    ] = False
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", help="Windows a step: 24, healing 8.", show_default=False),
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="RATE",
            help="Adam's learning rate: 0.001, healing 0.0002.",
            show_default=False,
        ),
    ] = None
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="NAME", help="cosine (up, then down to 0), or constant.")
    ] = "cosine"
    average: Annotated[
        float | None,
        typer.Option(
            "--average",
            metavar="DECAY",
            help="Decay of a running average of the weights, saved in their place: 0.999, healing 0.99; 0 is off.",
            show_default=False,
        ),
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="S",
            help="Length of the longest windows: 10, healing 5.",
            show_default=False,
        ),
    ] = None
    divergence: Annotated[
        float,
        typer.Option("--divergence", metavar="WEIGHT", help="Weight of the divergence of the two softmaxes."),
    ] = 1.0
    embedding: Annotated[
        float,
        typer.Option("--embedding", metavar="WEIGHT", help="Weight of the embeddings' cosine distance."),
    ] = 0.0
    balance: Annotated[
        float | None,
        typer.Option(
            "--balance",
            metavar="SHARE",
            help="From 0, recordings are drawn equally often, to 1: the classes that the teacher gives first are. 0.5, healing 0.",
            show_default=False,
        ),
    ] = None
    mixtures: Annotated[
        str | None,
        typer.Option(
            "--mixtures",
            metavar="NAME",
            help="How much sounds are changed: full, or light (no room, no noise, no change of speed). full, healing light.",
            show_default=False,
        ),
    ] = None
    dropout: Annotated[
        bool, typer.Option("--dropout/--no-dropout", help="Whether the student's dropout is on.")
    ] = False
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="cpu or cuda.")] = "cpu"
    precision: Annotated[
        str,
        typer.Option(
            "--precision", metavar="NAME", help="float32, bfloat16, or auto: bfloat16 where it is fast."
        ),
    ] = "auto"

    def config(self) -> DistilConfig:
        """The recipe. Raises ``DataError`` for a value that distillation cannot use."""
        from core.training.devices import precision_on
        from core.training.distil import DistilConfig
        from core.training.healing import RECIPE
        from core.training.mixtures import named_mixtures

        recipe: dict[str, Any] = {
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "average": self.average,
            "seconds": self.seconds,
            "balance": self.balance,
            "mixtures": None if self.mixtures is None else named_mixtures(self.mixtures),
        }
        return replace(
            RECIPE if self.heal else DistilConfig(steps=1),
            steps=self.steps,
            minutes=self.minutes,
            schedule=self.schedule,
            divergence=self.divergence,
            embedding=self.embedding,
            labels=self.labels_weight,
            dropout=self.dropout,
            precision=precision_on(self.device, self.precision),
            seed=self.seed,
            save_every=self.save_every,
            **{name: value for name, value in recipe.items() if value is not None},
        )


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("distil")(grouped(distil_command))


def distil_command(options: DistilOptions) -> None:
    """Train a network to give what another gives, without labels.

    Teacher and student get the same random mixtures, in random rooms and behind noise. The state that --resume needs and
    the metrics, with the agreement on held-out recordings, are written beside --out.
    """
    config = options.config()
    options.prepare()

    from core.checkpoints import save_checkpoint
    from core.training.distil import Distiller, Teacher
    from core.training.teaching import common_classes

    taught = NetworkOptions(model=options.teacher).load(runtime="torch")
    student, classes, earlier = _student(options, taught.classes)
    common_classes(classes, taught.classes)  # before minutes of decoding
    recordings = _recordings(options)
    learned, held_out = (
        recordings.hold_out(options.held_out, options.seed) if options.held_out else (recordings, None)
    )
    if not options.resume:
        # Of a run that --force replaces: a later --resume must not continue that one.
        options.state_file.unlink(missing_ok=True)
    teacher = Teacher(taught.model, taught.classes, taught.info.sha256)
    distiller = Distiller(
        (student, classes), teacher, learned, config, held_out=held_out, device=options.device
    )
    if not options.resume:
        with progress("running the teacher") as show_teacher:
            distiller.prepare(show_teacher)
    last: dict[str, float] = {}

    def describe(report: Progress) -> str:
        last.update(report.measured)
        agreement = f", agreement {last['first_in_three']:.2f}" if last else ""
        return f"loss {report.loss:.3f}{agreement}"

    trained = options.run(distiller, "distilling", describe)
    loss = distiller.recent_loss()
    record = {
        **asdict(config),
        "steps": distiller.step,
        "teacher": taught.name,
        "teacher_sha256": taught.info.sha256,
        "classes": distiller.classes_in_common,
        "recordings": len(learned),
        "hours": round(learned.hours, 3),
        "folds": options.folds or "all",
        "held_out": 0 if held_out is None else len(held_out),
        "device": options.device,
        "final_loss": loss,
        "agreement": last,
    }
    kept = earlier.pop("kept", {})
    save_checkpoint(
        options.out,
        trained,
        classes=classes,
        name=options.out.stem,
        kept=kept,
        training={**earlier, "distillation": record},
        half=options.half,
    )
    if options.json_output:
        print_json(
            {
                "checkpoint": str(options.out),
                "steps": distiller.step,
                "classes": distiller.classes_in_common,
                "recordings": len(learned),
                "held_out": record["held_out"],
                "unreadable": list(recordings.unreadable),
                "silent": list(recordings.silent),
                "metrics": {"loss": loss, "agreement": last or None},
            }
        )
        return
    say(
        f"{options.out}: {distiller.step} steps on {len(learned)} recordings ({learned.hours:.2f} h), "
        f"{distiller.classes_in_common} classes, last loss {loss:.4f}."
    )
    if last and held_out is not None:
        say(
            f"On {len(held_out)} held-out recordings the likeliest class is among the teacher's first three for "
            f"{last['first_in_three']:.0%}; over the teacher's first ten, probabilities differ by {last['difference']:.3f}."
        )


def _student(options: DistilOptions, classes: ClassSet) -> tuple[Network, ClassSet, dict[str, Any]]:
    """The network to train, its classes, and what is known of its earlier training."""
    import torch

    from core.training.students import new_network, new_outputs

    torch.manual_seed(options.seed)
    if options.student is None:
        if options.new_outputs:
            raise DataError(
                "--new-outputs goes with --student; a new network has the teacher's classes anyway."
            )
        return new_network(options.architecture, options.width, len(classes)), classes, {}
    tagger = NetworkOptions(model=options.student).load(runtime="torch")
    earlier = {
        **tagger.info.training,
        "distilled_from": tagger.name,
        "distilled_from_sha256": tagger.info.sha256,
        "kept": dict(tagger.info.kept),
    }
    if options.new_outputs:
        return new_outputs(tagger.model, len(classes)), classes, earlier
    return tagger.model, tagger.classes, earlier


def _recordings(options: DistilOptions) -> Recordings:
    """The recordings of all folders; files that cannot be used are counted and named on stderr."""
    from core.training.recordings import list_folder, list_manifest, load_recordings

    manifests = options.manifest or []
    if manifests and len(manifests) != len(options.audio):
        raise DataError(
            f"Give one --manifest for each --audio, in the same order, or none; got {len(manifests)} and {len(options.audio)}."
        )
    if options.folds and not manifests:
        raise DataError("--folds are those of a manifest; give --manifest as well.")
    folds = None if options.folds is None else [fold.strip() for fold in options.folds.split(",")]
    listed = [
        entry
        for number, folder in enumerate(options.audio)
        for entry in (list_manifest(manifests[number], folder, folds) if manifests else list_folder(folder))
    ]
    with progress("decoding") as show:
        recordings = load_recordings(listed, show)
    for what, names in (("cannot be read", recordings.unreadable), ("are silent", recordings.silent)):
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            complain(f"{len(names)} of {len(listed)} recordings {what}: {'; '.join(names[:_LISTED])}{more}")
    return recordings
