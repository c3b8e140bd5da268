"""ONNX in eight bits: a quarter of the size, and a loss that is measured and reported.

Weights and feature maps of the convolutions and linear layers are quantised (the front end stays float32) over ranges that
calibration recordings set: static quantisation, in QDQ nodes. Measured on the embedded CNN14, calibrated on 20 recordings and
compared on 20 others, one thread: static 5.5 MB and 28 ms for 10 s where float32 takes 20.4 MB and 41 ms; dynamic quantisation
6.3 MB, 66 ms and a larger loss. One scale per filter halves the loss of one per layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.audio import SAMPLE_RATE, load_clip
from core.examples import EXAMPLES, synthesize
from core.export.check import ExportJob, Network, Written
from core.export.onnx_file import onnx_network, write_onnx
from core.export.packages import require
from core.windows import mean_probabilities

CALIBRATION_CLIPS = 64
"""Ranges settle after a few dozen clips."""

CALIBRATION_SECONDS = 10.0
"""Of each clip: the length of AudioSet's clips."""


def write_int8(job: ExportJob, target: Path) -> Written:
    """Write ``target``, quantised, and measure its loss on recordings that did not set its ranges (where two are given)."""
    held_out = len(job.clips) > 1
    calibration_clips = job.clips[::2] if job.clips else [synthesize(example.key) for example in EXAMPLES]
    test_clips = job.clips[1::2] if held_out else job.waveforms
    whole, longest = target.with_name(".float.onnx"), round(CALIBRATION_SECONDS * SAMPLE_RATE)
    write_onnx(job.tagger.model, whole)
    _quantize(whole, target, [job.at_rate(clip[:longest]) for clip in calibration_clips[:CALIBRATION_CLIPS]])
    whole.unlink()
    copy = onnx_network(target)
    difference = job.compare(copy, test_clips)
    measured: dict[str, Any] = {
        "calibration_clips": min(len(calibration_clips), CALIBRATION_CLIPS),
        "held_out": held_out,
        "mean_abs_difference": difference.mean,
        "first_tag_kept": difference.first_tag,
    }
    notes = [
        f"Eight bits: over {difference.clips} clips a probability changes by up to {difference.largest:.2g}, by "
        f"{difference.mean:.2g} on average, and the first tag stays on {100 * difference.first_tag:.0f}% of them.",
        "Those clips were not used for calibration."
        if held_out
        else "The clips were used for calibration, too: give two or more of your own for an independent measurement.",
    ]
    if job.labelled is not None:
        before, after = _labelled(job, copy)
        measured |= {"labelled_clips": len(job.labelled), "mAP": after, "mAP_float": before}
        notes.append(
            f"On {len(job.labelled)} labelled clips: mAP {after:.3f} where float32 has {before:.3f}."
        )
    return Written(difference, notes, measured)


def _quantize(source: Path, target: Path, calibration_clips: Sequence[npt.NDArray[np.float32]]) -> None:
    quantization = require("onnxruntime.quantization")
    clips = iter(calibration_clips)
    prepared = source.with_name(".prepared.onnx")
    require("onnxruntime.quantization.shape_inference").quant_pre_process(
        str(source), str(prepared), skip_symbolic_shape=True
    )  # folds batch norm

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        """The calibration clips, one after the other."""

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            clip = next(clips, None)
            return None if clip is None else {"waveform": clip[None]}

    quantization.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=[
            "Conv",
            "Gemm",
        ],  # not MatMul: quantising the front end changes probabilities by up to 0.98
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        reduce_range=True,  # 7-bit weights: 8-bit ones saturate on x86 processors without VNNI
    )
    prepared.unlink()


def _labelled(job: ExportJob, copy: Network) -> tuple[float, float]:
    """mAP of the network and of its copy on the labelled clips."""
    from core.training.metrics import quality  # scikit-learn takes two seconds, and only this needs it

    assert job.labelled is not None
    networks: tuple[Callable[[Tensor], Tensor], ...] = (job.tagger.model.probabilities, copy)
    predictions: list[list[npt.NDArray[np.float32]]] = [[], []]
    for path in job.labelled.paths:
        waveform = job.at_rate(load_clip(path).waveform)
        for network, rows in zip(networks, predictions, strict=True):
            rows.append(mean_probabilities(network, waveform))
    before, after = (
        quality(job.labelled.targets, np.stack(rows), job.tagger.classes).mean_average_precision
        for rows in predictions
    )
    return before, after
