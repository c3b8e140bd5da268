#!/usr/bin/env python
"""Does pruning keep the embedding? Parent and pruned networks on labelled folds: two Markdown tables on stdout (docs/embeddings.md).

    python scripts/embedding_study.py ../shared/clips runs/embeddings

The first table is of networks that learn nothing; every fold of the clips is measured. The second one adds networks that were healed without
labels and fine-tuned with them, and is of a fold that nothing has used. Each network's embeddings are saved in the second folder as soon as they
are computed, and so are the states of the trainings: the same command goes on from there.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from core.api import plan, prune, repair
from core.audio import DecodedClip, load_clip
from core.files import atomic_write
from core.models.network import Network
from core.tagging import Tagger, load_tagger
from core.training.data import read_manifest, read_rows
from core.training.devices import precision_on
from core.training.distil import Distiller, Teacher
from core.training.healing import RECIPE, heal, windows_a_step
from core.training.loop import run
from core.training.recordings import Recordings, list_manifest, load_recordings
from core.training.train import Trainer, TrainingConfig
from scripts.embedding_measures import (
    Rows,
    Values,
    cka,
    correct,
    interval,
    nearest,
    probe,
    ranking,
)

PARENT, TAUGHT = "demo-cnn14", "demo-epanns"
RATIOS = (0.25, 0.5, 0.75)
CALIBRATION = 8  # every eighth clip is for the repair
HELD_OUT = "4"  # the fold that neither the parent nor demo-epanns has learned from (checkpoints/README.md)
STEPS = 300
EMBEDDING_WEIGHT = 10.0  # the cosine term is then about as large as the others at the start
RESAMPLED = 1000
COMPONENTS, COMPONENTS_OF_ONE_FOLD = 16, 4  # a class has 27 clips or more in the first table, 8 in the second

RECIPE_WITH_LABELS = TrainingConfig(
    steps=STEPS,
    batch=16,
    schedule="cosine",
    mixup_alpha=0.4,
    augment_waveform=True,
    average=0.99,
    seconds=5.0,
    precision=precision_on("cpu", "auto"),
)
"""Of docs/labels.md."""

Build = Callable[[], Tagger]


class Study:
    """The clips, and what is made of the parent with some of them."""

    def __init__(self, clips: Path, folder: Path) -> None:
        self.manifest, self.audio, self.folder = clips / "meta.csv", clips / "audio", folder
        rows = read_rows(self.manifest)
        self.paths = [self.audio / row["filename"] for row in rows]
        self.labels = np.array([row["category"] for row in rows])
        self.folds = np.array([row["fold"] for row in rows])
        self.learned = sorted(set(self.folds) - {HELD_OUT})
        self.parent = load_tagger(PARENT)

    def every_eighth(self, rows: Rows) -> list[DecodedClip]:
        """What repair looks at."""
        return [load_clip(self.paths[row]) for row in rows[::CALIBRATION]]

    def pruned(self, ratio: float) -> Tagger:
        """Without the filters of least operator norm of C7 to C12."""
        return prune(self.parent, plan(self.parent, ratio))

    def repaired(self, ratio: float, rows: Rows) -> Tagger:
        """The same after a repair without labels."""
        return repair(self.parent, plan(self.parent, ratio), self.every_eighth(rows))

    def healed(self, ratio: float) -> Tagger:
        """Repaired, and trained without labels to give what the parent gives."""
        return self._trained(self._repaired(ratio), ratio, "healed", self._heal)

    def healed_with_embedding(self, ratio: float) -> Tagger:
        """The same, and to have the parent's embedding."""
        return self._trained(self._repaired(ratio), ratio, "healed-embedding", self._heal_embedding)

    def finetuned(self, ratio: float) -> Tagger:
        """Pruned, and trained on labels, as E-PANNs was."""
        return self._trained(self.pruned(ratio), ratio, "finetuned", self._finetune)

    @cached_property
    def recordings(self) -> Recordings:
        """All clips of the folds that may be learned from."""
        return load_recordings(list_manifest(self.manifest, self.audio, self.learned))

    @cached_property
    def waveforms(self) -> list[npt.NDArray[np.float32]]:
        """Every clip's."""
        return [load_clip(path).waveform for path in self.paths]

    def embeddings(self, name: str, build: Build) -> Values:
        """Every clip's by one network, (clips, units); computed once."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            with atomic_write(path) as draft, draft.open("wb") as file:
                np.save(file, build().embeddings(self.waveforms))
        return np.load(path).astype(np.float64)

    def _repaired(self, ratio: float) -> Tagger:
        return self.repaired(ratio, np.flatnonzero(self.folds != HELD_OUT))

    def _trained(
        self, start: Tagger, ratio: float, how: str, train: Callable[[Network, Path], Network]
    ) -> Tagger:
        return Tagger(train(start.model, self.folder / f"{ratio:.0%}-{how}.pt"), start.info)

    def _heal(self, start: Network, state: Path) -> Network:
        return heal(self.parent.model, start, self.recordings, minutes=0, steps=STEPS, state_file=state).model

    def _heal_embedding(self, start: Network, state: Path) -> Network:
        teacher = self.parent.model
        config = replace(
            RECIPE,
            steps=STEPS,
            minutes=0,
            embedding=EMBEDDING_WEIGHT,
            batch=windows_a_step(teacher.architecture, teacher.config, start.config),
            precision=precision_on("cpu", "auto"),
        )
        classes = self.parent.classes
        learner = Distiller(
            (copy.deepcopy(start), classes), Teacher(teacher, classes), self.recordings, config
        )
        return run(learner, state, resume=state.exists())

    def _finetune(self, start: Network, state: Path) -> Network:
        clips = read_manifest(self.manifest, self.audio, self.parent.classes).select(self.learned)
        learner = Trainer(copy.deepcopy(start), clips, RECIPE_WITH_LABELS)
        return run(learner, state, resume=state.exists())

    def without_learning(self, rows: Rows) -> Iterator[tuple[str, str, Build]]:
        """The networks of the first table: title, name of the file, and how it is made; repaired on every eighth of ``rows``."""
        yield "parent", "parent", lambda: self.parent
        for ratio in RATIOS:
            yield f"{ratio:.0%} pruned", f"{ratio:.0%}-pruned", partial(self.pruned, ratio)
            yield f"{ratio:.0%} repaired", f"{ratio:.0%}-repaired", partial(self.repaired, ratio, rows)
        yield f"50% and taught again ({TAUGHT})", TAUGHT, lambda: load_tagger(TAUGHT)

    def with_learning(self) -> Iterator[tuple[str, str, Build]]:
        """The networks of the second table."""
        yield "parent", "parent", lambda: self.parent
        for ratio in RATIOS:
            part = f"{ratio:.0%}"
            yield f"{part} pruned", f"{part}-pruned", partial(self.pruned, ratio)
            yield f"{part} repaired", f"{part}-repaired-without-{HELD_OUT}", partial(self._repaired, ratio)
            yield f"{part} healed", f"{part}-healed", partial(self.healed, ratio)
            if ratio == 0.5:
                yield (
                    f"{part} healed, embedding as well",
                    f"{part}-healed-embedding",
                    partial(self.healed_with_embedding, ratio),
                )
            yield f"{part} fine-tuned", f"{part}-finetuned", partial(self.finetuned, ratio)
        yield f"50% and taught again ({TAUGHT})", TAUGHT, lambda: load_tagger(TAUGHT)

    def table(
        self, networks: Iterator[tuple[str, str, Build]], rows: Rows, held_out: Sequence[str], components: int
    ) -> None:
        """Print a table of networks: what is learned is learned from ``rows``, and measured on those of the held-out folds."""
        labels, folds = self.labels[rows], self.folds[rows]
        measured = np.isin(folds, held_out)
        of_measured = labels[measured]
        print(
            f"\n{measured.sum()} clips, {len(np.unique(of_measured))} classes, folds {', '.join(held_out)}\n"
        )
        print("| network | linear probe | nearest neighbour | CKA with the parent | Fréchet ranking |")
        print("|---|---|---|---|---|")
        parent: Values | None = None
        for title, name, build in networks:
            values = self.embeddings(name, build)[rows]
            own = values[measured]
            parent = own if parent is None else parent
            cells = [
                interval(partial(_mean, right), of_measured, RESAMPLED)
                for right in (correct(method, values, labels, folds, held_out) for method in (probe, nearest))
            ]
            cells.append(interval(partial(_cka, parent, own), of_measured, RESAMPLED // 5))
            cells.append(
                interval(
                    partial(_ranking, parent, own, of_measured, components),
                    of_measured,
                    RESAMPLED // 5,
                    strata=True,
                )
            )
            print(f"| {title} | {' | '.join(cells)} |", flush=True)


def _mean(values: Values, chosen: Rows) -> float:
    return float(values[chosen].mean())


def _cka(first: Values, second: Values, chosen: Rows) -> float:
    return cka(first[chosen], second[chosen])


def _ranking(
    first: Values, second: Values, labels: npt.NDArray[np.str_], components: int, chosen: Rows
) -> float:
    return ranking(first[chosen], second[chosen], labels[chosen], components)


def main(clips: Path, folder: Path) -> None:
    """Compute what is missing, and print the tables."""
    torch.set_num_threads(1)  # the same processor then gives the same networks
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(clips, folder)
    every = np.arange(len(study.paths))
    folds = sorted(set(study.folds))
    study.table(study.without_learning(every), every[every % CALIBRATION > 0], folds, COMPONENTS)
    study.table(study.with_learning(), every, [HELD_OUT], COMPONENTS_OF_ONE_FOLD)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
