"""``compare.html``: both networks and onnxruntime-web in one file that a browser opens without a server."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from core import __version__
from core.errors import ExportError
from core.export.check import Difference, ExportJob, Web
from core.export.web_runtime import VERSION, runtime_files
from core.tagging import Tagger
from core.units import THRESHOLD

_PAYLOAD = "<!-- payload -->"


def web(tagger: Tagger, baseline: Tagger, folder: Path | None = None) -> Web:
    """Check that a page can show both networks, and get onnxruntime-web.

    Parameters
    ----------
    tagger, baseline : the network, and the one beside it.
    folder : of the npm package; None for the cache, or a download.

    Raises
    ------
    ExportError, DownloadError
        The networks take different rates, or the files cannot be had.
    """
    for each in (tagger, baseline):
        each.model  # noqa: B018  # raises for an ONNX file
    if tagger.entry.sample_rate != baseline.entry.sample_rate:
        raise ExportError(
            f"{tagger.name} takes {tagger.entry.sample_rate} Hz and {baseline.name} {baseline.entry.sample_rate} Hz; compare.html shows networks "
            "of one rate: give another one to --beside."
        )
    return Web(baseline, runtime_files(folder))


@dataclass(frozen=True)
class Column:
    """One network of the page: its export's job, its ONNX file with weights in 8 bits, and by how much that differs."""

    job: ExportJob
    file: Path
    loss: Difference


def compare_page(baseline: Column, candidate: Column, example: bytes, runtime: dict[str, Path]) -> bytes:
    """The page: a template with what it unpacks, compressed and in base 85 (ASCII, 5 bytes for 4).

    Parameters
    ----------
    baseline, candidate : the networks.
    example : a recording, WAV, that is shown at the start.
    runtime : files of onnxruntime-web by name.
    """
    facts = {
        "made_by": f"Pannscope {__version__}, onnxruntime-web {VERSION}",
        "rate": candidate.job.entry.sample_rate,
        "threshold": THRESHOLD,
        "networks": [_facts(baseline), _facts(candidate)],
    }
    files = {**runtime, "baseline.onnx": baseline.file, "candidate.onnx": candidate.file}
    text = json.dumps(facts).replace("<", "\\u003c")
    payload = [f'<script type="application/json" id="facts">{text}</script>']
    payload += [_packed(name, path.read_bytes()) for name, path in files.items()]
    payload.append(_packed("example.wav", example))
    template = resources.files("core").joinpath("data", "compare.html").read_text(encoding="utf-8")
    return template.replace(_PAYLOAD, "\n".join(payload)).encode()


def _packed(name: str, data: bytes) -> str:
    """gzip in base 85; a comma stands for "<", which could end the text in a page."""
    small = gzip.compress(data, 9, mtime=0)
    text = base64.b85encode(small, pad=True).decode("ascii").replace("<", ",")
    return f'<script type="text/plain" id="{name}" data-bytes="{len(small)}">{text}</script>'


def _facts(column: Column) -> dict[str, Any]:
    tagger, entry = column.job.tagger, column.job.entry
    return {
        "name": tagger.info.name,
        "classes": list(tagger.classes.names),
        "window": entry.window_samples,
        "params": sum(parameter.numel() for parameter in tagger.model.parameters()),
        "loss": column.loss.largest,
        "clips": column.loss.clips,
    }
