"""How much to remove, as a person says it, and ``sensitivity``: the plans that ``prune`` carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    LayersOption,
    ModelOption,
    print_json,
    print_table,
    progress_bar,
    tagger_from,
)
from core.errors import PruningError

if TYPE_CHECKING:
    import numpy as np

    from core.pruning.plan import PruningPlan
    from core.pruning.search.search import Budget
    from core.pruning.search.sensitivity import Sensitivity
    from core.tagging import Tagger

CriterionOption = Annotated[
    str,
    typer.Option("--criterion", metavar="NAME", help="How filters are ranked; operator-norm is the paper's."),
]
ClipsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--clips", metavar="PATH", help="A recording or a folder of them to listen to; may be given again."
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--manifest", metavar="CSV", help="Labelled clips instead: losses are then falls of mAP."),
]
AudioFolderOption = Annotated[
    Path | None, typer.Option("--audio", metavar="FOLDER", help="Folder of the manifest's recordings.")
]
ManifestFoldsOption = Annotated[
    str | None,
    typer.Option("--folds", metavar="LIST", help="Use only these folds of the manifest, as 1,2,3."),
]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Listening:
    """Where the clips are that a plan is found on, or a network repaired on."""

    clips: tuple[Path, ...]
    manifest: Path | None = None
    audio: Path | None = None
    folds: str | None = None

    def check(self, needed_for: str | None) -> None:
        """Raise ``PruningError`` for contradictions, and where there are no clips but ``needed_for`` needs some."""
        if self.clips and self.manifest:
            raise PruningError("Both --clips and --manifest were given; give one of them.")
        if (self.manifest is None) != (self.audio is None) or (self.folds and not self.manifest):
            raise PruningError(
                "Labelled clips are a --manifest and the folder of its recordings, --audio; give both."
            )
        if needed_for and not self.clips and not self.manifest:
            raise PruningError(
                f"{needed_for} listens to clips; give some with --clips FILE or FOLDER (or --manifest)."
            )

    def read(self, tagger: Tagger) -> tuple[list[np.ndarray], np.ndarray | None]:
        """The waveforms, (samples,) each, and where there are labels the targets, (clips, classes)."""
        from core.audio import load_clip
        from core.training.data import read_manifest

        if self.manifest is None or self.audio is None:
            return [load_clip(path).waveform for path in self._files()], None
        labelled = read_manifest(self.manifest, self.audio, tagger.classes)
        if self.folds is not None:
            labelled = labelled.select([fold.strip() for fold in self.folds.split(",")])
        return [load_clip(path).waveform for path in labelled.paths], labelled.targets

    def _files(self) -> list[Path]:
        """The recordings: of a folder, the files with an accepted suffix; a file that is named, whatever its suffix."""
        from core.audio import SUFFIXES

        found = []
        for path in self.clips:
            if not path.is_dir():
                found.append(path)
                continue
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
            if not inside:
                raise PruningError(f"The folder {path} holds no recordings ({', '.join(SUFFIXES)}).")
            found += inside
        return found


@dataclass(frozen=True)
class Wish:
    """How much is to be removed: exactly one of a ratio, ratios, a plan, a budget or a tolerance (``similarity`` needs none)."""

    ratio: float | None = None
    ratios: str | None = None
    plan: Path | None = None
    budget: str | None = None
    tolerance: float | None = None
    layers: str | None = None
    criterion: str | None = None
    round_to: int | None = None
    repaired: bool = False

    def check(self) -> None:
        """Raise ``PruningError`` for contradictions, before anything is loaded."""
        ways = {
            "--ratio": self.ratio,
            "--ratios": self.ratios,
            "--plan": self.plan,
            "--budget": self.budget,
            "--tolerance": self.tolerance,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise PruningError(f"{' and '.join(given)} each say how much is to be removed; give one of them.")
        if not given and self.criterion != "similarity":
            raise PruningError(
                "Say how much is to be removed: --ratio SHARE (0.5 is E-PANNs'), --ratios, --plan, --budget or --tolerance. Only "
                "--criterion similarity needs none of them."
            )
        taken = {
            "--layers": (self.layers, self.plan or self.ratios),
            "--criterion": (self.criterion, self.plan),
            "--round-to": (self.round_to, self.plan or (None if given else "similarity")),
        }
        for name, (value, other) in taken.items():
            if value is not None and other is not None:
                where = (
                    "a plan's own"
                    if self.plan
                    else "named with --ratios"
                    if self.ratios
                    else "left to similarity"
                )
                raise PruningError(f"{name} cannot be given here: it is {where}; leave it out.")
        if self.budget is not None:
            parse_budget(self.budget)

    @property
    def listens(self) -> str | None:
        """The option that cannot do without clips, if there is one."""
        return (
            "--budget" if self.budget is not None else "--tolerance" if self.tolerance is not None else None
        )

    def made(self, tagger: Tagger, heard: tuple[list[np.ndarray], np.ndarray | None]) -> PruningPlan:
        """The plan for a network; ``heard`` are ``Listening.read``'s."""
        from core.pruning.plan import plan, similarity_plan
        from core.pruning.planfile import load_plan
        from core.pruning.ratios import parse_layers, parse_ratios
        from core.pruning.surgery import check_fits

        if self.plan is not None:
            loaded = load_plan(self.plan)
            check_fits(loaded, tagger.model)
            return loaded
        if self.listens:
            return self._found(tagger, *heard)
        layers = parse_layers(self.layers or "C7-C12")
        if self.ratio is None and self.ratios is None:
            return similarity_plan(tagger.model, layers)
        ratios = self.ratio if self.ratios is None else parse_ratios(self.ratios)
        assert ratios is not None
        name = self.criterion or "operator-norm"
        return plan(
            tagger.model, ratios, layers, name, round_to=1 if self.round_to is None else self.round_to
        )

    def _found(self, tagger: Tagger, waveforms: list[np.ndarray], targets: np.ndarray | None) -> PruningPlan:
        from core.models.widths import check_round_to
        from core.pruning.ratios import parse_layers
        from core.pruning.repair.repair import Repair
        from core.pruning.search.search import check_tolerance, find_plan

        layers = parse_layers(self.layers or "all")
        round_to = check_round_to(1 if self.round_to is None else self.round_to)
        if self.tolerance is not None:
            check_tolerance(self.tolerance)
        measured = measured_sensitivity(tagger, waveforms, targets, layers, self.criterion or "operator-norm")
        with showing("choosing the ratios") as show:
            return find_plan(
                tagger.model,
                measured,
                waveforms=waveforms,
                targets=targets,
                budget=None if self.budget is None else parse_budget(self.budget),
                tolerance=self.tolerance,
                round_to=round_to,
                repair=Repair() if self.repaired else None,
                on_progress=show,
            )


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("sensitivity")(sensitivity_command)


def sensitivity_command(
    clips: ClipsOption = None,
    *,
    manifest: LabelsOption = None,
    audio: AudioFolderOption = None,
    folds: ManifestFoldsOption = None,
    layers: LayersOption = "all",
    criterion: CriterionOption = "operator-norm",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure what each layer loses when it alone is pruned.

    Lost is the divergence from the unpruned network, in nats a clip; with labelled clips also mAP.
    """
    from core.pruning.criteria import criterion as known_criterion
    from core.pruning.ratios import parse_layers

    listening = Listening(tuple(clips or ()), manifest, audio, folds)
    listening.check("sensitivity")
    chosen = parse_layers(layers)
    known_criterion(criterion)
    tagger = tagger_from(model, checkpoint, architecture)
    waveforms, targets = listening.read(tagger)
    found = measured_sensitivity(tagger, waveforms, targets, chosen, criterion)
    if json_output:
        print_json({"model": tagger.name, **found.document()})
        return
    heard = f"{found.clips} clip{'s' if found.clips > 1 else ''}"
    _print_losses(f"{tagger.name}, divergence in nats over {heard}, by {criterion}", found, found.divergence)
    if found.mean_average_precision is not None:
        _print_losses(f"\nmAP; unpruned it is {found.base:.3f}", found, found.mean_average_precision)


def measured_sensitivity(
    tagger: Tagger,
    waveforms: list[np.ndarray],
    targets: np.ndarray | None,
    layers: tuple[str, ...],
    criterion: str,
) -> Sensitivity:
    """Sensitivity with a progress bar."""
    from core.pruning.search.sensitivity import measure_sensitivity

    with showing("measuring each layer") as show:
        return measure_sensitivity(
            tagger.model,
            waveforms,
            layers=layers,
            criterion_name=criterion,
            targets=targets,
            on_progress=show,
        )


@contextmanager
def showing(doing: str) -> Iterator[Progress]:
    """A progress bar for what reports (done, of how many)."""
    with progress_bar() as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def parse_budget(text: str) -> Budget:
    """Read ``params=0.5``, ``macs=0.6`` or ``time=0.7``."""
    from core.pruning.search.search import KINDS, Budget

    kind, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        raise PruningError(
            f"Cannot read the budget {text!r}; give what may remain of the {', the '.join(KINDS)}, such as macs=0.6."
        ) from None
    return Budget(kind.strip(), value)


def _print_losses(title: str, found: Sensitivity, table: Any) -> None:
    print_table(
        title,
        ["layer", *(f"{100 * ratio:g}%" for ratio in found.ratios)],
        [[layer, *(f"{value:.3f}" for value in row)] for layer, row in zip(found.layers, table, strict=True)],
    )
