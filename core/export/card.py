"""The model card of a bundle: the network's origin, counts, pruning, training and licence, and the difference of the copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core import __version__
from core.checkpoints import Entry
from core.export.check import Difference, ExportJob
from core.export.formats import TOLERANCE
from core.export.lineage import Lineage
from core.profiling import Profile, profile_model
from core.pruning.plan import PruningPlan

_TAGS = "An audio tagger: a recording's probabilities for each class, which do not exclude each other."
_KINDS = {
    "tags": _TAGS,
    "framewise": _TAGS,
    "scenes": "A scene classifier: one scene a recording, as probabilities that add up to one; it is no audio tagger.",
}
"""What a network is, by its kind of output."""


def model_card(job: ExportJob, difference: Difference, origin: Lineage, plan: PruningPlan | None) -> str:
    """Markdown; every number in it is counted or measured here, or is attributed to its source."""
    info, counted = job.tagger.info, profile_model(job.tagger.model)
    sections = [
        f"# {info.name}\n\n{_what(job, origin)}",
        "## Counts\n\n" + _counts(counted, origin.entry, job.entry.layers),
        "## Pruning\n\n" + _pruning(job, plan),
        "## The copy\n\n" + _copy(difference),
        "## Classes\n\n"
        + f"{len(job.tagger.classes)}, in the order of the outputs: {'; '.join(job.tagger.classes.names)}.",
        "## Training\n\n" + _training(info.training),
        "## Licence and source\n\n" + _licence(origin),
    ]
    return "\n\n".join(sections) + "\n"


def _what(job: ExportJob, origin: Lineage) -> str:
    entry = origin.entry
    if entry is None:
        origin_text = "It is not in Pannscope's list, and its metadata name no parent that is."
    elif origin.same:
        origin_text = f"It is {entry.title} ({entry.name} in Pannscope's list). {entry.about}"
    else:
        origin_text = f"It was made from {entry.title} ({entry.name} in Pannscope's list). {entry.about}"
    demo = (
        f" A demonstration model with {entry.class_count} classes: not the published CNN14 or E-PANNs, and no result of it carries over "
        "to those."
        if entry is not None and entry.kind == "embedded"
        else ""
    )
    return (
        f"{_KINDS[job.entry.output]} Architecture {job.entry.name} ({job.entry.title}; {job.entry.paper}), "
        f"{job.entry.sample_rate / 1000:g} kHz mono. {origin_text}{demo}\n\n"
        f"Written by Pannscope {__version__} from {job.tagger.info.path.name}, sha256 {job.tagger.info.sha256}."
    )


def _counts(counted: Profile, entry: Entry | None, layers: Sequence[str]) -> str:
    rows = [
        (
            "parameters, learned",
            f"{counted.params_trainable:,}",
            _share(counted.params_trainable, entry.params if entry else None),
        ),
        (
            "MACs, 10 s, the paper's convention",
            f"{counted.macs:,}",
            _share(counted.macs, entry.macs_10s if entry else None),
        ),
        ("MACs, 10 s, convolutions and linear layers", f"{counted.macs_network:,}", ""),
        ("weights in float32, with the frozen front end", f"{counted.size_bytes:,} bytes", ""),
    ]
    of = f"of {entry.name}" if entry else ""
    table = [
        f"| counted | | {of} |",
        "|---|---|---|",
        *(f"| {name} | {value} | {share} |" for name, value, share in rows),
    ]
    filters = ", ".join(f"{layer} {width}" for layer, width in zip(layers, counted.widths, strict=True))
    return "\n".join(table) + f"\n\nFilters: {filters}."


def _share(value: int, whole: int | None) -> str:
    return f"{100 * value / whole:.1f} %" if whole else ""


def _pruning(job: ExportJob, plan: PruningPlan | None) -> str:
    notes, kept = job.pruning or {}, job.tagger.info.kept
    if not notes and not kept:
        return "None is recorded in its file. There is no `plan.json` in this bundle."
    lines = []
    if notes.get("pruned_from"):
        lines.append(
            f"- from: {_plain(notes['pruned_from'])}, sha256 {_plain(notes.get('pruned_from_sha256', 'not recorded'))}"
        )
    if notes.get("criterion"):
        lines.append(f"- criterion: {_plain(notes['criterion'])}")
    if plan is not None:
        ratios = ", ".join(f"{layer} {100 * ratio:g} %" for layer, ratio in plan.ratios.items())
        lines.append(
            f"- pruning ratios: {ratios or 'none'}; kept counts rounded to multiples of {plan.round_to}"
        )
        lines.append(f"- widths before: {', '.join(map(str, plan.widths))}")
    lines.append(f"- widths after: {', '.join(map(str, job.tagger.model.config.widths))}")
    if kept:
        counts = ", ".join(f"{layer} {len(indices)}" for layer, indices in kept.items())
        lines.append(f"- kept of the unpruned network: {counts}")
    repair = notes.get("repair") or job.tagger.info.training.get("repair")
    lines.append(f"- repair without labels: {_plain(repair) if repair else 'none recorded'}")
    where = (
        "The kept filters are listed in `plan.json`."
        if plan
        else "The metadata of its file are not enough for a `plan.json`."
    )
    return "\n".join(lines) + f"\n\n{where}"


def _copy(difference: Difference) -> str:
    return (
        f"`model.onnx` was run beside the network on {difference.clips} recordings ({difference.audio_seconds:.0f} s, from 0.31 s to "
        f"30 s or longer): the largest difference of a probability is {difference.largest:.2g}, the mean {difference.mean:.2g}. "
        f"A difference above {TOLERANCE:g} would have been refused."
    )


def _training(notes: dict[str, Any]) -> str:
    recorded = {key: value for key, value in notes.items() if key not in ("pruning", "repair", "export")}
    if not recorded:
        return "Nothing is recorded in its file."
    return f"As recorded in its file (unverified):\n\n```json\n{json.dumps(recorded, indent=1)}\n```"


def _licence(origin: Lineage) -> str:
    entry = origin.entry
    if entry is None:
        return "Unknown to Pannscope: those of the file that it was made from apply."
    credits = (
        "\n\nThe recordings that it was trained on are credited in `CREDITS.md`, as the CC BY ones among them require."
        if entry.kind == "embedded"
        else ""
    )
    subject = "It is" if origin.same else f"{entry.title}, which it was made from, is"
    return f"{subject} under {entry.licence}; source: {entry.source}.{credits}"


def _plain(value: Any) -> str:
    """A note on one line, cut to 300 characters; the whole note is in the file."""
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split())[:300]
