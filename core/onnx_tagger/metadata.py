"""What an ONNX file's metadata say of its waveforms and outputs, in the keys that Pannscope's exports have and some of others'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.classes import ClassSet, parse_labels
from core.errors import CheckpointError, ModelError

LABELS_KEY = "class_labels_indices.csv"
"""The table of the outputs: ``index,mid,display_name``."""

OUTPUTS = {
    "probabilities": False,
    "clipwise_output": False,
    "scores": False,
    "probs": False,
    "logits": True,
    "predictions": None,
}
"""Names of outputs: of several the first of these is read, else the first one. True where they are logits, None where it is open."""

EMBEDDINGS = ("embedding", "embeddings")
"""Names of an output that is an embedding."""

RATES = (8_000, 96_000)
"""Sample rates that are accepted, Hz, the least and the most."""


@dataclass(frozen=True)
class Stated:
    """What is stated; None where nothing is.

    Attributes
    ----------
    sample_rate : Hz.
    logits : whether the outputs are logits, not probabilities.
    scenes : whether a clip has one class, so that probabilities sum to 1.
    classes : of the outputs, in order.
    least_samples : the shortest waveform.
    """

    sample_rate: int | None
    logits: bool | None
    scenes: bool
    classes: ClassSet | None
    least_samples: int | None


def read(metadata: Mapping[str, str], output: str, source: str) -> Stated:
    """Read the metadata of the file ``source`` whose output ``output`` is used; raises ``CheckpointError`` for what contradicts itself.

    Examples
    --------
    >>> stated = read({"sample_rate": "16000", "labels": "Rain\\nDrone"}, "logits", "x.onnx")
    >>> stated.sample_rate, stated.logits, stated.classes.names
    (16000, True, ('Rain', 'Drone'))
    """
    ours = _object(metadata.get("pannscope", ""))
    rate = _whole(metadata, "sample_rate", "sampling_rate", "sample_rate_hz")
    kinds = {"logits": True, "probabilities": False}
    try:
        return Stated(
            sample_rate=None if rate is None else check_rate(rate, source),
            logits=kinds.get(metadata.get("output", ""), OUTPUTS.get(output)),
            scenes="scenes" in (metadata.get("task"), ours.get("output")),
            classes=_classes(metadata),
            least_samples=least if isinstance(least := ours.get("min_samples"), int) and least > 0 else None,
        )
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from error


def check_rate(rate: int, source: str) -> int:
    """The rate; raises ``CheckpointError`` for one that is not accepted."""
    least, most = RATES
    if not least <= rate <= most:
        raise CheckpointError(
            f"{source} is said to take {rate:,} Hz; taggers of {least:,} to {most:,} Hz are accepted, mostly of 16,000, 32,000 or 48,000."
        )
    return rate


def _classes(metadata: Mapping[str, str]) -> ClassSet | None:
    table = metadata.get(LABELS_KEY)
    if table:
        return parse_labels(table.encode(), f"{LABELS_KEY} in its metadata")
    for key in ("classes", "labels", "class_names", "names"):
        text = metadata.get(key)
        if text:
            listed = _json(text)
            if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
                return ClassSet.named(listed)
            if listed is None and "\n" in text:
                return parse_labels(text.encode(), f"{key} in its metadata")
    return None


def _whole(metadata: Mapping[str, str], *keys: str) -> int | None:
    """The first of these entries that is a whole number."""
    texts = (metadata.get(key, "").strip() for key in keys)
    return next((int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 10), None)


def _object(text: str) -> dict[str, Any]:
    parsed = _json(text)
    return parsed if isinstance(parsed, dict) else {}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
