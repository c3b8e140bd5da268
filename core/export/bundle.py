"""The bundle: a zip with the model, its classes, plan and model card, and a script that tags without Pannscope or PyTorch."""

from __future__ import annotations

import csv
import io
from importlib import resources
from pathlib import Path

from core.checkpoints import CHECKPOINTS_DIR
from core.classes import ClassSet, labels_table
from core.export.archive import write_zip
from core.export.card import model_card
from core.export.check import Difference, ExportJob, Written
from core.export.lineage import known_by, lineage
from core.export.self_test import recordings, self_test
from core.onnx_tagger.metadata import LABELS_KEY
from core.pruning.plan import PruningPlan

REQUIREMENTS = "onnxruntime>=1.14\nnumpy>=1.22\nsoundfile>=0.12\n"
"""onnxruntime reads the model's operators since 1.14."""


def write_bundle(
    job: ExportJob, target: Path, onnx: tuple[Path, Path], written: tuple[Written, Written], page: bytes
) -> Written:
    """Write the zip around two ONNX models that have been compared with the network: one in float32, and one with weights in 8 bits.

    ``page`` is ``compare.html``, empty for none.
    """
    origin = lineage(job.tagger.info, job.pruning)
    plan = plan_of(job)
    whole, eight_bits = (each.difference for each in written)
    tests = recordings(job)
    models = {
        "model.onnx": (onnx[0], "float32", whole.largest),
        "model.int8.onnx": (onnx[1], "weights in 8 bits", eight_bits.largest),
    }
    entries: list[tuple[str, Path | str | bytes]] = [
        ("README.md", _readme(job, whole, eight_bits, planned=plan is not None, page=bool(page))),
        ("MODEL_CARD.md", model_card(job, whole, origin, plan)),
        *((name, path) for name, (path, _, _) in models.items()),
        ("classes.csv", classes_csv(job.tagger.classes)),
        (LABELS_KEY, labels_table(job.tagger.classes)),
        ("tag.py", script()),
        ("requirements.txt", REQUIREMENTS),
        ("self_test.json", self_test(job, models, tests)),
        *((test.file, test.content) for test in tests),
    ]
    if page:
        entries.append(("compare.html", page))
    if plan is not None:
        entries.append(("plan.json", plan.text()))
    if origin.entry is not None and origin.entry.kind == "embedded":
        entries.append(("CREDITS.md", (CHECKPOINTS_DIR / "CREDITS.md").read_bytes()))
    write_zip(target, entries)
    notes = [
        f"model.int8.onnx, with weights in 8 bits, changes a probability by up to {eight_bits.largest:.2g}, by {eight_bits.mean:.2g} on average; "
        f"the first tag stays on {100 * eight_bits.first_tag:.0f}% of the recordings."
    ]
    if plan is None:
        notes.append("The bundle has no plan: the metadata of the network's file records no pruning.")
    return Written(whole, notes, {"int8": vars(eight_bits)})


def script() -> str:
    """``tag.py``: onnxruntime, numpy and soundfile are all it imports."""
    return resources.files("core").joinpath("data", "tag.py").read_text(encoding="utf-8")


def classes_csv(classes: ClassSet) -> str:
    """One row an output, in order: its position, AudioSet's index and the display name."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["output", "index", "name"])
    table.writerows(zip(range(len(classes)), classes.indices, classes.names, strict=True))
    return text.getvalue()


def plan_of(job: ExportJob) -> PruningPlan | None:
    """The plan that the network was pruned by; None for one that was not pruned, or whose metadata do not say enough.

    Older files (the embedded pair's) have the kept filters, the ratio and the parent's hash instead of a plan: with a known parent
    that is a plan, too.
    """
    notes, info = job.pruning or {}, job.tagger.info
    if "format" in notes:
        return PruningPlan.from_document(notes)
    parent = known_by(notes.get("pruned_from_sha256"))
    ratio, criterion = notes.get("ratio"), notes.get("criterion")
    if not info.kept or parent is None or parent.widths is None:
        return None
    if not isinstance(ratio, int | float) or not isinstance(criterion, str):
        return None
    ratios = dict.fromkeys(info.kept, float(ratio))
    kept = {layer: tuple(indices) for layer, indices in info.kept.items()}
    return PruningPlan(info.architecture, parent.widths, criterion, ratios, kept)


def _readme(job: ExportJob, whole: Difference, eight_bits: Difference, *, planned: bool, page: bool) -> str:
    plan = (
        "- `plan.json`: the kept filters and how they were chosen; `pannscope prune --plan` reads it\n"
        if planned
        else "- there is no `plan.json`: the metadata of the network's file record no pruning\n"
    )
    web = (
        "- `compare.html`: open it in a browser: it runs this network beside another one, without a server or a network\n"
        if page
        else ""
    )
    fixed = job.entry.window_samples
    length = "any length" if fixed is None else f"{fixed} samples exactly"
    index = "AudioSet's" if job.entry.output != "scenes" else "its position"
    return f"""# {job.tagger.info.name}, exported from Pannscope

    python -m pip install -r requirements.txt
    python tag.py RECORDING...

prints the ten likeliest tags of each recording (WAV, FLAC, OGG, MP3: what libsndfile reads), and needs neither Pannscope nor
PyTorch. `MODEL_CARD.md` describes the network: its origin, counts, pruning, training and licence.

    python tag.py --self-test

runs both models on the recordings of `test_wavs/`, which Pannscope synthesised, and compares with the network's own outputs
in `self_test.json`. It fails where a file has changed, or an output differs by more than it did when the bundle was written.

- `model.onnx`: `waveform` (batch, samples), float32 mono at {job.entry.sample_rate} Hz, full scale at ±1, {length} ->
  `probabilities` (batch, {len(job.tagger.classes)}) and `embedding` (batch, {job.tagger.model.config.embedding}); on {whole.clips} recordings within {whole.largest:.1g} of the network
- `model.int8.onnx`: the same with weights in 8 bits, computed in float32: a quarter of the size, and on those recordings a probability
  changes by up to {eight_bits.largest:.2g}, by {eight_bits.mean:.2g} on average; `python tag.py --int8` tags with it
- `classes.csv`: the class of each output; `index` is {index}. `class_labels_indices.csv`: the same with AudioSet's mids
{plan}{web}- `tag.py`: mixes to mono, resamples, cuts recordings over 30 s into equal windows and averages them, as Pannscope does
"""
