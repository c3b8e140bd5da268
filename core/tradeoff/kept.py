"""Results of ``pannscope evaluate --keep``: an own network's quality on own clips, and what it costs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.checkpoints import manifest
from core.errors import DataError, ModelError
from core.files import atomic_write, unwritable
from core.onnx_tagger.network import OnnxNetwork
from core.profiling import profile_model
from core.settings import cache_dir
from core.tagging import Tagger
from core.tradeoff.times import SECONDS, machine, time_of

_FORMAT = 1
_LONGEST = 120  # characters of a name that a page shows


@dataclass(frozen=True)
class Kept:
    """One network on one set of labelled clips.

    Attributes
    ----------
    name, architecture, sha256 : the network's name, its architecture, and its file.
    clips_name, clips, classes : the manifest's name, its clips, and the classes that were scored.
    quality : mAP, the mean over these classes.
    params, macs_10s, stft_10s, stft_counted : as in the checkpoints' manifest, counted.
    time_ms, engine, machine : measured time of 10 s, what ran it, and where.
    pruned : whether it is a pruned network.
    """

    name: str
    architecture: str
    sha256: str
    clips_name: str
    clips: int
    classes: int
    quality: float
    params: int
    macs_10s: int | None
    stft_10s: int
    stft_counted: bool
    time_ms: float
    engine: str
    machine: str
    pruned: bool


def keep(tagger: Tagger, quality: float, *, clips_name: str, clips: int, classes: int) -> Kept:
    """Count and time a network that was evaluated, and keep the result; a later one on the same clips replaces it.

    Parameters
    ----------
    tagger : the network.
    quality : its mAP.
    clips_name, clips, classes : the manifest's name, the number of its clips, and of the classes that were scored.

    Raises
    ------
    DataError
        The cache folder cannot be written.
    """
    params, macs = _counts(tagger)
    stft, included = _stft(tagger)
    timed = time_of(tagger)
    kept = Kept(
        name=tagger.name[:_LONGEST],
        architecture=tagger.info.architecture,
        sha256=tagger.info.sha256,
        clips_name=clips_name[:_LONGEST],
        clips=clips,
        classes=classes,
        quality=quality,
        params=params,
        macs_10s=macs,
        stft_10s=stft,
        stft_counted=included,
        time_ms=timed.median_ms,
        engine=timed.engine,
        machine=machine(),
        pruned=bool(tagger.info.kept or tagger.info.training.get("pruning")),
    )
    target = _folder() / f"{_digest(kept)}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as draft:
            draft.write_text(json.dumps({"format": _FORMAT, **vars(kept)}, indent=1), encoding="utf-8")
    except OSError as error:
        raise DataError(unwritable(target, error)) from error
    return kept


def kept_results() -> tuple[Kept, ...]:
    """Every result that was kept, by name; files that are not such a result are left out."""
    try:
        files = sorted(_folder().glob("*.json"))
    except (OSError, RuntimeError):
        return ()
    results = [result for file in files if (result := _read(file)) is not None]
    return tuple(sorted(results, key=lambda result: (result.clips_name, result.name)))


def _read(file: Path) -> Kept | None:
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT:
            return None
        result = Kept(**values)
        numbers = (result.quality, result.params, result.time_ms, result.macs_10s or 1)
        return result if all(0 <= number < 1e18 for number in numbers) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _folder() -> Path:
    return cache_dir() / "evaluations"


def _digest(kept: Kept) -> str:
    return hashlib.sha256(f"{kept.sha256}\n{kept.clips_name}".encode()).hexdigest()[:32]


def _counts(tagger: Tagger) -> tuple[int, int | None]:
    """Parameters, and MACs of 10 s."""
    if isinstance(tagger.network, OnnxNetwork):
        counts = tagger.network.counts(SECONDS)
        return counts.params, counts.macs
    try:
        counted = profile_model(tagger.model, SECONDS)
    except ModelError:  # a network that takes clips of another length alone
        return sum(parameter.numel() for parameter in tagger.model.parameters()), None
    return counted.params_trainable, counted.macs


def _stft(tagger: Tagger) -> tuple[int, bool]:
    """MACs of the STFT in 10 s as two Conv1d layers, and whether the count of the network includes them."""
    if isinstance(tagger.network, OnnxNetwork):
        return 0, True  # its front end is part of its graph
    front = tagger.model.published_front_end
    if front is not None:
        return front.stft_parameters * front.frames(round(SECONDS * front.sample_rate)), True
    listed = (
        entry.stft_10s for entry in manifest().values() if entry.architecture == tagger.info.architecture
    )
    return next(listed, 0), False
