"""``train`` and ``finetune``: new networks, and further training of existing ones, on labelled clips."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.evaluation import print_quality, select_folds
from core.cli.options import NetworkOptions, grouped
from core.cli.output import print_json, say
from core.cli.recipe import TrainingOptions
from core.units import plural

if TYPE_CHECKING:
    from core.models.network import Network
    from core.training.data import LabelledClips
    from core.training.train import TrainingConfig


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("train")(grouped(train_command))
    app.command("finetune")(grouped(finetune_command))


def train_command(
    options: TrainingOptions,
    architecture: Annotated[
        str,
        typer.Option("--architecture", metavar="NAME", help="What to train: any that `models` lists."),
    ] = "cnn14",
    width: Annotated[
        float,
        typer.Option("--width", metavar="SHARE", help="Share of the filters in every layer, of CNN14 only."),
    ] = 1.0,
) -> None:
    """Train a new network on labelled clips.

    The recipe is the published one; --schedule, --augment, --average and --precision go beyond it. The state that
    --resume needs and the metrics are written beside --out.
    """
    config = options.config()

    import torch

    from core.models.registry import architecture as known_architecture
    from core.training.students import new_network

    options.prepare()
    clips = options.clips(own=known_architecture(architecture).output == "scenes")
    torch.manual_seed(options.seed)
    model = new_network(architecture, width, len(clips.classes))
    _train(model, clips, config, options, kept={}, earlier={})


def finetune_command(options: TrainingOptions, network: NetworkOptions) -> None:
    """Continue training a checkpoint, for instance a pruned one.

    Its classes stay as they are; labels outside of them are ignored.
    """
    config = options.config()
    options.prepare()
    tagger = network.load()
    clips = options.clips(tagger.classes)
    earlier = {
        **tagger.info.training,
        "finetuned_from": tagger.name,
        "finetuned_from_sha256": tagger.info.sha256,
    }
    _train(tagger.model, clips, config, options, kept=dict(tagger.info.kept), earlier=earlier)


def _train(
    model: Network,
    clips: LabelledClips,
    config: TrainingConfig,
    options: TrainingOptions,
    *,
    kept: dict[str, list[int]],
    earlier: dict[str, Any],
) -> None:
    """Train, save the checkpoint beside its state and metrics files, score it, and report."""
    from core.checkpoints import save_checkpoint
    from core.tagging import load_tagger
    from core.training.evaluate import evaluate
    from core.training.train import Trainer

    held_out = None if options.evaluate_folds is None else select_folds(clips, options.evaluate_folds)
    chosen = select_folds(clips, options.folds)
    if not options.resume:
        # Of a run that --force replaces: a later --resume must not continue that one.
        options.state_file.unlink(missing_ok=True)
    trainer = Trainer(model, chosen, config)
    if trainer.config != config:
        typer.echo(
            f"{model.architecture} is trained without mixup and SpecAugment, which work on PANNs' log-mels.",
            err=True,
        )
    trained = options.run(trainer, "training", lambda report: f"training, loss {report.loss:.4f}")
    record = {
        **asdict(trainer.config),
        "clips": len(chosen),
        "folds": options.folds or "all",
        "channel": options.channel,
        "final_loss": trainer.losses[-1],
    }
    save_checkpoint(
        options.out,
        trained,
        classes=clips.classes,
        name=options.out.stem,
        kept=kept,
        training={**earlier, "finetuning" if earlier else "training": record},
        half=options.half,
    )
    quality = evaluate(load_tagger(checkpoint=options.out), held_out) if held_out else None
    if options.json_output:
        metrics = {"loss": trainer.losses[-1], "evaluation": quality.document() if quality else None}
        print_json({"checkpoint": str(options.out), "steps": trainer.step, "metrics": metrics})
        return
    say(
        f"{options.out}: {plural(trainer.step, 'step')} on {plural(len(chosen), 'clip')}, last loss {trainer.losses[-1]:.4f}."
    )
    if quality:
        print_quality(quality)
