"""How small can it be? demo-cnn14 with 18 of its outputs, pruned in all layers to some hundred thousand parameters: a Markdown table on stdout.

    python scripts/ladder_study.py CLIPS OUT [--steps N]

CLIPS is a folder with meta.csv and audio/. Each network is repaired on 32 clips of folds 1 to 3, healed on all clips of theirs without labels,
exported in 8 bits, and scored on fold 4: closeness to the network that it was pruned from, and how often the likeliest of ESC-10's ten
categories is the right one. States are kept in OUT: a study that was stopped goes on when it is started again. docs/distillation.md has the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core import load_tagger
from core.audio import SAMPLE_RATE, load_clip
from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.export.check import ExportJob
from core.export.int8 import write_int8
from core.models.cnn import LAYERS
from core.models.network import Network
from core.models.registry import architecture
from core.profiling import count
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.tagging import Tagger
from core.training.data import read_rows
from core.training.healing import heal
from core.training.recordings import list_manifest, load_recordings

SIZES = (250_000, 130_000)
HELD_OUT_FOLD = "4"
REPAIR_CLIPS = 32
NOT_IN_ESC_10 = ("speech", "music")


def main() -> None:
    """Make and score every network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(given.clips / "meta.csv")
    scored = [row for row in rows if row["fold"] == HELD_OUT_FOLD]
    waveforms = [load_clip(given.clips / "audio" / row["filename"]).waveform for row in scored]
    learned = load_recordings(list_manifest(given.clips / "meta.csv", given.clips / "audio", ["1", "2", "3"]))
    chosen = np.random.default_rng(0).permutation(len(learned))[:REPAIR_CLIPS]
    calibration = [learned.waveform(int(row)).numpy() for row in chosen]
    labels = {row["category"]: row["audioset_labels"].split(";") for row in rows}
    names = sorted({name for each in labels.values() for name in each})
    whole, classes = with_outputs(load_tagger("demo-cnn14"), names)
    columns = {
        category: [names.index(name) for name in each]
        for category, each in labels.items()
        if category not in NOT_IN_ESC_10
    }
    expected = predictions(whole, waveforms)
    table = Table(scored, columns, expected)
    table.add("unpruned", whole, expected)
    for size in SIZES:
        made = smallest_cut(whole, size)
        pruned = prune(whole, made)
        repaired = repair(whole, made, pruned, calibration).model
        state = given.out / f"{size}-{given.steps}.pt"
        healed = heal(whole, repaired, learned, minutes=0, steps=given.steps, state_file=state).model
        for name, network in (("pruned", pruned), ("repaired", repaired), ("healed", healed)):
            outputs = predictions(network, waveforms)
            if name != "healed":
                table.add(name, network, outputs)
                continue
            target = given.out / f"{size}.onnx"
            checkpoint = target.with_suffix(".safetensors")
            checkpoint.unlink(missing_ok=True)
            save_checkpoint(checkpoint, network, classes=classes, name=f"ladder-{size}")
            write_int8(ExportJob(load_tagger(checkpoint=checkpoint), None, calibration), target)
            small = load_tagger(checkpoint=target, classes=classes, sample_rate=SAMPLE_RATE)
            eight_bits = np.stack([small.probabilities(waveform) for waveform in waveforms])
            kilobytes = f"{target.stat().st_size / 1e3:.0f} kB"
            table.add(name, network, outputs, kilobytes, f"{accuracy(eight_bits, scored, columns):.1%}")


def with_outputs(tagger: Tagger, names: list[str]) -> tuple[Network, ClassSet]:
    """A copy of a network that has these of its outputs alone."""
    rows = [tagger.classes.names.index(name) for name in names]
    state = dict(tagger.model.state_dict())
    for layer in tagger.model.output_layers:
        for key in (f"{layer}.weight", f"{layer}.bias"):
            state[key] = state[key][rows]
    entry = architecture(tagger.model.architecture)
    network = entry.build(entry.from_state(state))
    network.load_state_dict(state)
    return network.eval(), ClassSet(tuple(tagger.classes.indices[row] for row in rows))


def smallest_cut(network: Network, size: int) -> PruningPlan:
    """The smallest ratio of all layers, in thousandths, that leaves at most so many parameters."""
    for ratio in np.arange(0.5, 1.0, 0.001):
        made = plan(network, float(ratio), LAYERS)
        if count(prune(network, made, share=True).config).params_trainable <= size:
            return made
    raise ValueError(f"No ratio leaves {size} parameters.")


def accuracy(
    outputs: npt.NDArray[np.floating], rows: list[dict[str, str]], columns: dict[str, list[int]]
) -> float:
    """Share of ESC-10's clips whose likeliest category, by the likeliest of its labels, is theirs."""
    categories = list(columns)
    right = [
        categories[int(np.argmax([output[columns[category]].max() for category in categories]))]
        == row["category"]
        for output, row in zip(outputs, rows, strict=True)
        if row["category"] in columns
    ]
    return float(np.mean(right))


class Table:
    """The rows of the table, printed one by one."""

    def __init__(
        self,
        rows: list[dict[str, str]],
        columns: dict[str, list[int]],
        expected: npt.NDArray[np.floating],
    ) -> None:
        self.rows, self.columns, self.expected = rows, columns, expected
        print("| parameters | MACs, 10 s | made | divergence, nats | ESC-10 | 8 bits | ESC-10 in 8 bits |")
        print("| --- | --- | --- | --- | --- | --- | --- |")

    def add(self, name: str, network: Network, outputs: npt.NDArray[np.floating], *more: str) -> None:
        """One network and what it gives on the held-out clips."""
        counted = count(network.config)
        cells = (
            f"{counted.params_trainable:,}",
            f"{counted.macs / 1e6:,.0f} M",
            name,
            f"{fidelity(self.expected, outputs).divergence:.3f}",
            f"{accuracy(outputs, self.rows, self.columns):.1%}",
            *(more or ("", "")),
        )
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
