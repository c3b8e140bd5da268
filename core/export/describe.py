"""The description of the network that every exported file carries."""

from __future__ import annotations

from typing import Any

from core import __version__
from core.export.check import Difference, ExportJob


def description(job: ExportJob, difference: Difference) -> dict[str, Any]:
    """Name, classes, widths, source and pruning of the network, and the copy's difference from it, as plain JSON."""
    info, config = job.tagger.info, job.tagger.model.config
    return {
        "made_by": f"Pannscope {__version__}",
        "name": info.name,
        "architecture": info.architecture,
        "widths": list(config.widths),
        "embedding": config.embedding,
        "sample_rate_hz": job.entry.sample_rate,
        "min_samples": job.entry.least_samples,
        "window_samples": job.entry.window_samples,
        "output": job.entry.output,
        "classes": [
            {"index": index, "name": name}
            for index, name in zip(job.tagger.classes.indices, job.tagger.classes.names, strict=True)
        ],
        "source": {"file": info.path.name, "sha256": info.sha256},
        "pruning": job.pruning,
        "kept": info.kept,
        "check": vars(difference),
    }
