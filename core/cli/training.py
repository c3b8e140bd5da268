"""``train``, ``finetune`` and ``evaluate``: making models and scoring them on labelled clips."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    ModelOption,
    RuntimeOption,
    print_json,
    print_table,
    progress_bar,
    say,
    tagger_from,
)
from core.cli.recipe import (
    AudioOption,
    AverageOption,
    BatchOption,
    DisguiseOption,
    EvaluateFoldsOption,
    FoldsOption,
    ForceOption,
    HalfOption,
    ManifestOption,
    MixupOption,
    OutOption,
    PrecisionOption,
    RateOption,
    ResumeOption,
    SaveEveryOption,
    ScheduleOption,
    SecondsOption,
    SeedOption,
    SpecAugmentOption,
    StepsOption,
    ThreadsOption,
)
from core.errors import CheckpointError, DataError
from core.files import check_output

if TYPE_CHECKING:
    from core.models.cnn import Cnn14
    from core.training.data import LabelledClips
    from core.training.metrics import Quality
    from core.training.train import Progress, TrainingConfig

MAX_THREADS = 1024


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("train")(train_command)
    app.command("finetune")(finetune_command)
    app.command("evaluate")(evaluate_command)


def train_command(
    *,
    manifest: ManifestOption,
    audio: AudioOption,
    out: OutOption,
    steps: StepsOption,
    width: Annotated[
        float, typer.Option("--width", metavar="SHARE", help="Share of CNN14's filters in every layer.")
    ] = 1.0,
    folds: FoldsOption = None,
    evaluate_folds: EvaluateFoldsOption = None,
    batch: BatchOption = 32,
    learning_rate: RateOption = 1e-3,
    schedule: ScheduleOption = "constant",
    mixup_alpha: MixupOption = 1.0,
    spec_augment: SpecAugmentOption = True,
    disguise: DisguiseOption = False,
    average: AverageOption = 0.0,
    seconds: SecondsOption = 10.0,
    precision: PrecisionOption = "float32",
    seed: SeedOption = 0,
    save_every: SaveEveryOption = 500,
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
    half: HalfOption = False,
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Train a CNN14 of any width on labelled clips.

    The recipe is the published one; --schedule, --disguise, --average and --precision go beyond it. The state that
    --resume needs and the metrics are written beside --out.
    """
    config = _recipe(locals())

    import torch

    from core.models.cnn import CNN14_WIDTHS, Cnn14, Cnn14Config
    from core.training.data import read_manifest

    _prepare(out, force, resume, threads)
    if not 0 < width <= 1:
        raise DataError(f"--width is a share of CNN14's filters, above 0 and at most 1; got {width:g}.")
    clips = read_manifest(manifest, audio)
    torch.manual_seed(seed)
    widths = tuple(max(1, round(width * filters)) for filters in CNN14_WIDTHS)
    model = Cnn14(Cnn14Config(widths, len(clips.classes), max(1, round(width * 2048))))
    _train(
        model,
        clips,
        config,
        out,
        folds,
        evaluate_folds=evaluate_folds,
        resume=resume,
        half=half,
        kept={},
        earlier={},
        json_output=json_output,
    )


def finetune_command(
    *,
    manifest: ManifestOption,
    audio: AudioOption,
    out: OutOption,
    steps: StepsOption,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    folds: FoldsOption = None,
    evaluate_folds: EvaluateFoldsOption = None,
    batch: BatchOption = 32,
    learning_rate: RateOption = 1e-3,
    schedule: ScheduleOption = "constant",
    mixup_alpha: MixupOption = 1.0,
    spec_augment: SpecAugmentOption = True,
    disguise: DisguiseOption = False,
    average: AverageOption = 0.0,
    seconds: SecondsOption = 10.0,
    precision: PrecisionOption = "float32",
    seed: SeedOption = 0,
    save_every: SaveEveryOption = 500,
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
    half: HalfOption = False,
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Go on training a checkpoint, for instance a pruned one.

    Its classes stay as they are; labels outside of them are ignored.
    """
    config = _recipe(locals())

    from core.training.data import read_manifest

    _prepare(out, force, resume, threads)
    tagger = tagger_from(model, checkpoint, architecture)
    clips = read_manifest(manifest, audio, tagger.classes)
    before = {
        **tagger.info.training,
        "finetuned_from": tagger.name,
        "finetuned_from_sha256": tagger.info.sha256,
    }
    _train(
        tagger.model,
        clips,
        config,
        out,
        folds,
        evaluate_folds=evaluate_folds,
        resume=resume,
        half=half,
        kept=dict(tagger.info.kept),
        earlier=before,
        json_output=json_output,
    )


def evaluate_command(
    *,
    manifest: ManifestOption,
    audio: AudioOption,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    runtime: RuntimeOption = "auto",
    folds: FoldsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Score a model on labelled clips: mAP, AUC and d'.

    Classes that no clip carries are left out.
    """
    from core.training.data import read_manifest
    from core.training.evaluate import evaluate

    tagger = tagger_from(model, checkpoint, architecture, runtime=runtime)
    clips = _fold(read_manifest(manifest, audio, tagger.classes), folds)
    with progress_bar() as bar:
        task = bar.add_task("evaluating", total=len(clips))
        found = evaluate(tagger, clips, lambda done, _total: bar.update(task, completed=done))
    if json_output:
        print_json(found.document())
    else:
        _print_quality(found)


def _recipe(options: dict[str, Any]) -> TrainingConfig:
    """The recipe among a command's options, which are named as its fields are."""
    from core.training.train import TrainingConfig

    return TrainingConfig(**{field.name: options[field.name] for field in fields(TrainingConfig)})


def _prepare(out: Path, force: bool, resume: bool, threads: int | None) -> None:
    check_output(out, ".safetensors", force=force or resume, error=CheckpointError)
    state = _state_file(out)
    if state.exists() and not (force or resume):
        raise CheckpointError(
            f"{state} holds the state of an earlier training; go on with --resume, or replace it with --force."
        )
    if threads is not None:
        import torch

        if not 1 <= threads <= MAX_THREADS:
            raise DataError(f"--threads is a number of CPU threads, 1 to {MAX_THREADS}; got {threads}.")
        torch.set_num_threads(threads)


def _state_file(out: Path) -> Path:
    return out.with_suffix(".state.pt")


def _train(
    model: Cnn14,
    clips: LabelledClips,
    config: TrainingConfig,
    out: Path,
    folds: str | None,
    *,
    evaluate_folds: str | None,
    resume: bool,
    half: bool,
    kept: dict[str, list[int]],
    earlier: dict[str, Any],
    json_output: bool,
) -> None:
    """Train, save the checkpoint beside its state and metrics files, score it, and report."""
    from core.checkpoints import save_checkpoint
    from core.classes import ClassSet
    from core.tagging import load_tagger
    from core.training.evaluate import evaluate
    from core.training.train import Trainer, run

    held_out = None if evaluate_folds is None else _fold(clips, evaluate_folds)
    chosen = _fold(clips, folds)
    if not resume:
        _state_file(out).unlink(missing_ok=True)  # of a run that --force replaces: --resume must not find it
    trainer = Trainer(model, chosen, config)
    with progress_bar() as bar:
        task = bar.add_task("training", total=config.steps)

        def show(report: Progress) -> None:
            bar.update(task, completed=report.step, description=f"training, loss {report.loss:.4f}")

        trained = run(
            trainer,
            _state_file(out),
            metrics_file=out.with_suffix(".metrics.jsonl"),
            resume=resume,
            on_progress=show,
        )
    record = {
        **asdict(config),
        "clips": len(chosen),
        "folds": folds or "all",
        "final_loss": trainer.losses[-1],
    }
    history = {**earlier, "finetuning" if earlier else "training": record}
    info = save_checkpoint(
        out,
        trained,
        classes=ClassSet(clips.classes.indices),
        name=out.stem,
        kept=kept,
        training=history,
        half=half,
    )
    found = evaluate(load_tagger(checkpoint=out), held_out) if held_out else None
    metrics = {"loss": trainer.losses[-1], "evaluation": found.document() if found else None}
    if json_output:
        print_json({"checkpoint": str(info.path or out), "steps": trainer.step, "metrics": metrics})
        return
    say(f"{out}: {trainer.step} steps on {len(chosen)} clips, last loss {trainer.losses[-1]:.4f}.")
    if found:
        _print_quality(found)


def _fold(clips: LabelledClips, folds: str | None) -> LabelledClips:
    """The clips of these folds, all of them without any; refused where none of them carries a class."""
    if folds is None:
        return clips
    chosen = clips.select([fold.strip() for fold in folds.split(",")])
    if not chosen.targets.any():
        raise DataError(
            f"No clip of fold {folds} is labelled with a class of this model; there is nothing to learn or score. Give other folds."
        )
    return chosen


def _print_quality(found: Quality) -> None:
    print_table(
        f"{found.clips} clips",
        ["class", "average precision", "AUC", "d'", "positives"],
        [
            [
                row.name,
                f"{row.average_precision:.3f}",
                "-" if row.auc is None else f"{row.auc:.3f}",
                "-" if row.d_prime is None else f"{row.d_prime:.2f}",
                f"{row.positives}",
            ]
            for row in found.per_class
        ],
    )
    separation = "-" if found.d_prime is None else f"{found.d_prime:.2f}"
    area = "-" if found.auc is None else f"{found.auc:.4f}"
    say(
        f"mAP {found.mean_average_precision:.4f}, AUC {area}, d' {separation}, over {len(found.per_class)} classes."
    )
