"""Options that mean the same in every command, and the groups of them that commands share as dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

# What a command computes with is imported when it runs: torch and scikit-learn take two seconds, and --help needs neither.
if TYPE_CHECKING:
    from core.audio import Channel
    from core.tagging import Tagger

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="What runs the network: auto, torch, winograd, ncnn, onnxruntime or bf16.",
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="LAYERS",
        help="Layers to prune: C7-C12, C9, C7,C9-C11, a module as resnet.layer4, a pattern as *.conv2, or all.",
        show_default=False,
    ),
]
MaxSecondsOption = Annotated[
    float, typer.Option("--max-seconds", metavar="S", help="Refuse longer recordings.")
]
ChannelOption = Annotated[
    str,
    typer.Option(
        "--channel",
        metavar="N",
        help="What to use of several channels: one, counted from 1, their mean, or the loudest.",
    ),
]
OverlapOption = Annotated[
    float,
    typer.Option("--overlap", metavar="SHARE", help="Share of a window that the next one has too, 0 to 0.9."),
]
CriterionOption = Annotated[
    str,
    typer.Option("--criterion", metavar="NAME", help="How filters are ranked; operator-norm is the paper's."),
]
ManifestOption = Annotated[
    Path,
    typer.Option(
        "--manifest",
        metavar="CSV",
        help="CSV with the columns filename, labels (separated by ;) and, optionally, fold.",
    ),
]
AudioOption = Annotated[Path, typer.Option("--audio", metavar="FOLDER", help="Folder of the recordings.")]
FoldsOption = Annotated[
    str | None,
    typer.Option("--folds", metavar="LIST", help="Use only these folds of the manifest, as 1,2,3."),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Names of the outputs, one a line, or AudioSet's class_labels_indices.csv.",
        show_default=False,
    ),
]
SampleRateOption = Annotated[
    int | None,
    typer.Option(
        "--sample-rate",
        metavar="HZ",
        help="What rate an ONNX file takes, where it does not say.",
        show_default=False,
    ),
]
LogitsOption = Annotated[
    bool | None,
    typer.Option(
        "--logits/--probabilities",
        help="What an ONNX file outputs, where it does not say.",
        show_default=False,
    ),
]
HalfOption = Annotated[bool, typer.Option("--half", help="Store float16: half the size.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


def channel_of(text: str) -> Channel:
    """The channel that ``--channel`` names; raises ``typer.BadParameter`` for another word."""
    if text == "mean":
        return "mean"
    if text == "loudest":
        return "loudest"
    if text.isdecimal() and int(text) >= 1:
        return int(text)
    raise typer.BadParameter(
        f"{text!r} is not a channel; give a number from 1 on, mean or loudest", param_hint="--channel"
    )


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have dataclasses as parameters: on the command line each stands for the options that its fields are.

    typer reads a command's options from its signature, so the returned function has the fields in the dataclass's place.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if not (isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        group = groups[parameter.name] = parameter.annotation
        hints = get_type_hints(group, include_extras=True)
        for field in fields(group):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=hints[field.name],
                )
            )

    @wraps(command)
    def flat(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field.name: options.pop(field.name) for field in fields(group)})
        command(**options)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


_OPTIONS = {
    "so that they are numbered": " --labels FILE names them.",
    "that was assumed": " --architecture NAME states it.",
    "were taken for logits": " --probabilities states otherwise.",
    "were taken for probabilities": " --logits states otherwise.",
}
"""What settles something that a note says of a network."""


@dataclass(frozen=True)
class NetworkOptions:
    """Which network: a name of the manifest or a checkpoint file; without any the best installed baseline."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model's name (see `pannscope models`) or a checkpoint file.",
            show_default=False,
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="A checkpoint file, in the official layout or ours, or an ONNX tagger.",
        ),
    ] = None
    architecture: Annotated[
        str | None,
        typer.Option("--architecture", metavar="NAME", help="The checkpoint's architecture: cnn14."),
    ] = None
    labels: LabelsOption = None

    @property
    def file(self) -> Path | None:
        """The file; None where a name of the manifest was given, or nothing."""
        from core.checkpoints import named_file

        if self.model is None or self.checkpoint is not None:
            return self.checkpoint
        return named_file(self.model)

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return self.file is not None and self.file.suffix.lower() == ".onnx"

    def load(self, ratio: float | None = None, runtime: str = "auto") -> Tagger:
        """The tagger; a ``--model`` that is not a known name may be a file. What its file does not say is noted on stderr."""
        if self.is_onnx and self.file is not None:
            from core.onnx_tagger.network import not_prunable

            raise not_prunable(self.file.name)
        return self._load(ratio, runtime)

    def _load(self, ratio: float | None, runtime: str, **of_onnx: Any) -> Tagger:
        from core.classes import read_labels
        from core.tagging import load_tagger

        tagger = load_tagger(
            None if self.checkpoint is None and self.file else self.model,
            checkpoint=self.file,
            architecture=self.architecture,
            ratio=ratio,
            classes=None if self.labels is None else read_labels(self.labels),
            runtime=runtime,
            **of_onnx,
        )
        for note in tagger.info.notes:
            option = next((option for said, option in _OPTIONS.items() if said in note), "")
            typer.echo(f"{tagger.name}: {note}{option}", err=True)
        return tagger


@dataclass(frozen=True)
class TaggerOptions(NetworkOptions):
    """Which network, of commands that only run it: an ONNX file will do, too."""

    sample_rate: SampleRateOption = None
    logits: LogitsOption = None

    def load(self, ratio: float | None = None, runtime: str = "auto") -> Tagger:
        """As ``NetworkOptions.load``."""
        return self._load(ratio, runtime, sample_rate=self.sample_rate, logits=self.logits)
