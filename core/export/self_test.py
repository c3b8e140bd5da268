"""The self-test of a bundle: recordings of our own synthesis, and what the network outputs for them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from core.audio import SAMPLE_RATE
from core.examples import synthesize
from core.export.check import ExportJob
from core.export.onnx_file import onnx_outputs
from core.files import file_sha256

_RECORDINGS = {"siren": 2.0, "clock": 1.0, "rain": 0.25}
"""Examples and their seconds; the last is shorter than CNN14's shortest input."""

_FACTOR, _PROBABILITY, _EMBEDDING = 1.1, 1e-5, 1e-4
"""What is accepted: a tenth more than was measured when the file was written, and what arithmetic in another order may add."""


@dataclass(frozen=True)
class Recording:
    """One recording: its file in the bundle, its bytes, and the network's probabilities (classes,) and embedding (units,)."""

    file: str
    content: bytes
    probabilities: np.ndarray
    embedding: np.ndarray


def recordings(job: ExportJob) -> list[Recording]:
    """The recordings, 16-bit WAV at the network's rate, and what the network outputs for them on torch."""
    rate, fixed = job.entry.sample_rate, job.entry.window_samples
    made = []
    for number, (key, seconds) in enumerate(_RECORDINGS.items()):
        samples = synthesize(key)[: round(seconds * SAMPLE_RATE)]
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, rate)
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
        waveform, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
        missing = (fixed or job.entry.least_samples) - len(waveform)
        given = torch.from_numpy(np.pad(waveform, (0, max(0, missing))))[None, :fixed]
        probabilities, embedding = (output[0].numpy() for output in job.tagger.model.outputs(given))
        made.append(Recording(f"test_wavs/{number}.wav", file.getvalue(), probabilities, embedding))
    return made


def self_test(
    job: ExportJob, models: Mapping[str, tuple[Path, str, float]], made: Sequence[Recording]
) -> str:
    """``self_test.json``: the outputs of the network, and for every model its checksum, its loss, and what is accepted.

    Parameters
    ----------
    job : the export.
    models : name in the bundle -> file, what it is in a few words, and the loss that was measured on all recordings of the check.
    made : what ``recordings`` returned.
    """
    listed = [
        {
            "file": one.file,
            "probabilities": _rounded(one.probabilities),
            "embedding": _rounded(one.embedding),
        }
        for one in made
    ]
    stated = {}
    for name, (path, about, loss) in models.items():
        outputs, largest, relative = onnx_outputs(path), 0.0, 0.0
        for one in made:
            waveform, _ = soundfile.read(io.BytesIO(one.content), dtype="float32")
            missing = (job.entry.window_samples or 0) - len(waveform)
            given = torch.from_numpy(np.pad(waveform, (0, max(0, missing))))[None]
            probabilities, embedding = (output[0].numpy() for output in outputs(given))
            largest = max(largest, float(np.abs(probabilities - one.probabilities).max()))
            change = np.abs(embedding - one.embedding).max() / max(
                np.abs(one.embedding).max(), np.finfo(np.float32).tiny
            )
            relative = max(relative, float(change))
        stated[name] = {
            "about": about,
            "sha256": file_sha256(path),
            "measured": loss,
            "probability": _FACTOR * largest + _PROBABILITY,
            "embedding": _FACTOR * relative + _EMBEDDING,
        }
    return json.dumps({"models": stated, "recordings": listed}, indent=1) + "\n"


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
