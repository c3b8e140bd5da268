"""One writer per format: it writes the draft (and files beside it), checks it, and reports the difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import labels_table
from core.export.bundle import write_bundle
from core.export.check import Difference, ExportJob, Web, Written
from core.export.compare_page import Column, compare_page
from core.export.describe import description
from core.export.formats import FORMATS
from core.export.int8 import write_int8
from core.export.ncnn_files import NcnnNetwork, ncnn_files
from core.export.ncnn_files import unsupported as ncnn_files_unsupported
from core.export.onnx_file import append_metadata, onnx_network, write_eight_bits, write_onnx
from core.export.panns import unsupported as panns_unsupported
from core.export.panns import write_panns
from core.export.self_test import recordings
from core.models.cnn import Cnn14
from core.models.network import Network
from core.onnx_tagger.metadata import LABELS_KEY

Writer = Callable[[ExportJob, Path], Written]


def _write_safetensors(job: ExportJob, draft: Path) -> Written:
    info = job.tagger.info

    def save(notes: dict[str, Any]) -> None:
        pruning = {"pruning": job.pruning} if job.pruning else {}
        save_checkpoint(
            draft,
            job.tagger.model,
            classes=job.tagger.classes,
            name=info.name,
            kept=info.kept,
            training={**info.training, **pruning, **notes},
            half=job.half,
        )

    save({})
    copy = load_checkpoint(draft, architecture=info.architecture).model.probabilities
    if job.half:
        difference = job.compare(copy)
        notes = [f"Stored in float16: a probability changes by up to {difference.largest:.2g}."]
    else:
        difference, notes = job.verify(copy, FORMATS["safetensors"]), []
    save({"export": {"from_sha256": info.sha256, "half": job.half, **vars(difference)}})
    return Written(difference, notes, {})


def _write_panns(job: ExportJob, draft: Path) -> Written:
    return write_panns(job, draft, lambda difference: description(job, difference))


def _write_onnx(job: ExportJob, draft: Path, eight_bits: Path | None = None) -> Written:
    write_onnx(job.tagger.model, draft, eight_bits)
    difference = job.verify(onnx_network(draft), FORMATS["onnx"])
    append_metadata(draft, _metadata(job, Written(difference, [], {})))
    return Written(difference, [], {})


def _write_int8(job: ExportJob, draft: Path) -> Written:
    written = write_int8(job, draft)
    append_metadata(draft, _metadata(job, written))
    return written


def _write_ncnn(job: ExportJob, draft: Path) -> Written:
    model = job.tagger.model
    assert isinstance(model, Cnn14)  # others are refused before (formats.refusal)
    param, weights = ncnn_files(model)
    difference = job.verify(NcnnNetwork(param, weights, model), FORMATS["ncnn"])
    draft.write_text(param, encoding="ascii")
    draft.with_suffix(".bin").write_bytes(weights)
    text = json.dumps(description(job, difference), indent=1) + "\n"
    draft.with_suffix(".json").write_text(text, encoding="utf-8")
    notes = [
        f"{draft.stem}.param, {draft.stem}.bin and {draft.stem}.json belong together; the input is the log-mel spectrogram, which the caller computes.",
        "Checked with ncnn in float32: its 16-bit options, on by default where the processor has them, were off.",
    ]
    return Written(difference, notes, {})


def _write_bundle(job: ExportJob, draft: Path) -> Written:
    model, small = draft.with_name(".model.onnx"), draft.with_name(".model.int8.onnx")
    written = _write_onnx(job, model, small)
    eight_bits = Written(job.compare(onnx_network(small)), [], {})
    append_metadata(small, _metadata(job, eight_bits))
    page = b"" if job.web is None else _page(job, job.web, small, eight_bits.difference)
    bundled = write_bundle(job, draft, (model, small), (written, eight_bits), page)
    model.unlink()
    small.unlink()
    return bundled


def _page(job: ExportJob, web: Web, small: Path, loss: Difference) -> bytes:
    """``compare.html`` of the network and its baseline, both with weights in 8 bits."""
    beside = ExportJob(web.baseline, None, job.clips, on_progress=job.on_progress)
    file = small.with_name(".baseline.int8.onnx")
    write_eight_bits(web.baseline.model, file)
    baseline = Column(beside, file, beside.compare(onnx_network(file)))
    example = recordings(job)[0].content
    page = compare_page(baseline, Column(job, small, loss), example, web.runtime)
    file.unlink()
    return page


def _metadata(job: ExportJob, written: Written) -> dict[str, str]:
    """Metadata of an ONNX file: the common entries by name, and the whole description as JSON."""
    info, classes = job.tagger.info, job.tagger.classes
    return {
        "name": info.name,
        "architecture": info.architecture,
        "sample_rate": str(job.entry.sample_rate),
        "window_samples": str(job.entry.window_samples or ""),
        "output": "probabilities",
        "embedding": str(info.embedding),
        "task": "scenes" if job.entry.output == "scenes" else "tags",
        "classes": json.dumps(list(classes.names)),
        LABELS_KEY: labels_table(classes),
        "audioset_indices": json.dumps(list(classes.indices)),
        "source_sha256": info.sha256,
        "max_abs_difference": f"{written.difference.largest:.3g}",
        "pannscope": json.dumps({**description(job, written.difference), "measured": written.measured}),
    }


def refusal(format: str, network: Network) -> str:
    """Why a network cannot have a format, in a sentence with what works instead; empty where it can."""
    reasons = {"ncnn": ncnn_files_unsupported, "panns": panns_unsupported}
    return reasons[format](network) if format in reasons else ""


WRITERS: dict[str, Writer] = {
    "bundle": _write_bundle,
    "onnx": _write_onnx,
    "ncnn": _write_ncnn,
    "int8": _write_int8,
    "safetensors": _write_safetensors,
    "panns": _write_panns,
}
"""By the names of ``FORMATS``."""
