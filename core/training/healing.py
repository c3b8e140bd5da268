"""Healing: a pruned network learns to give what the unpruned one gives, on recordings without labels, for some minutes.

It is ``distil`` with a recipe for a student that nearly agrees with its teacher already. ``docs/distillation.md`` has what it is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.audio import SAMPLE_RATE
from core.classes import ClassSet
from core.errors import DataError
from core.models.network import Network
from core.models.registry import architecture
from core.profiling import counted
from core.profiling.passes import training_bytes
from core.runtime.background import TaskCancelledError
from core.training.devices import precision_on
from core.training.distil import DistilConfig, Distiller, OnProgress, Teacher
from core.training.loop import Progress, run
from core.training.mixtures import LIGHT
from core.training.recordings import Recordings
from core.units import prefixed

RECIPE = DistilConfig(
    minutes=5.0,
    batch=8,
    learning_rate=2e-4,
    average=0.99,
    seconds=5.0,
    shares=(1.0,),
    balance=0.0,
    freeze_norms=True,
    mixtures=LIGHT,
)
"""For a student that nearly agrees with its teacher: what moves its weights far, or its statistics to other sounds, costs more than minutes
bring back."""

LEAST_TO_HOLD_OUT = 3
"""Of fewer recordings none is held out: half of them or all would be lost to learning."""

HELD_OUT = 0.2

_STEP_MACS = 120e9
"""Multiply-accumulates of a step, about a second on two cores: where windows are expensive, a step has fewer."""

_BACKWARD = 3  # passes that a step of the student costs: forward, gradients of the maps and of the weights
_COPIES = 5  # of the student's weights besides gradients: itself, two of Adam's, the average, and the copy that is measured
_LEAST_BATCH = 2
_MIXING_BYTES = 100  # a sample of a window, while recordings are cut and mixed


@dataclass(frozen=True, eq=False)
class Healed:
    """A healed network and how it was made.

    Attributes
    ----------
    model : Network
        A new network in eval mode; it shares no memory with the ones that it was made from.
    document : dict
        Plain JSON: ``steps``, ``seconds`` and ``minutes`` (taken, and allowed), ``batch``, ``recordings`` and ``hours`` that it learned from,
        ``held_out`` recordings and, where there are some, the ``agreement`` on them ``before`` and ``after``.
    """

    model: Network
    document: dict[str, Any]


def heal(
    model: Network,
    pruned: Network,
    recordings: Recordings,
    *,
    minutes: float = 5.0,
    steps: int = 0,
    held_out: Recordings | None = None,
    seed: int = 0,
    free: int | None = None,
    state_file: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_measure: OnProgress | None = None,
) -> Healed:
    """Train a pruned network, best a repaired one, to give what the unpruned network gives.

    Parameters
    ----------
    model : Network
        The unpruned network.
    pruned : Network
        The same after pruning, with the same outputs; neither network is changed.
    recordings : Recordings
        What to learn on.
    minutes : float
        How long, 0 for no limit.
    steps : int
        How many steps, 0 for as many as the minutes allow.
    held_out : Recordings, optional
        Recordings on which the agreement is measured before, ten times meanwhile and after.
    seed : int
        Of every random choice; with ``steps`` and without ``minutes`` the same processor gives the same network.
    free : int, optional
        Bytes of memory that may be used, None for no limit.
    state_file : Path, optional
        Where the state is saved as it goes; a healing that was stopped continues from there.
    on_progress : callable, optional
        Called before the first step and after every one. Raising ``core.runtime.background.TaskCancelledError`` ends the healing
        with what has been reached; any other exception ends it without.
    on_measure : callable, optional
        Called with (done, total) recordings while agreement is measured; it may raise as well.

    Raises
    ------
    DataError
        The networks have different outputs, a number is out of range, there is too little memory, or the training diverged.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from pathlib import Path
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> from core.training.recordings import Listed
    >>> _ = torch.manual_seed(0)
    >>> wide, narrow = (Cnn14(Cnn14Config((width,) * 12, classes=2, embedding=8)).eval() for width in (4, 2))
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 32_000)
    >>> healed = heal(wide, narrow, Recordings.of([(Listed(Path("noise.wav"), "lab"), noise)]), steps=2)
    >>> healed.model.config.widths[-1], healed.document["steps"]
    (2, 2)
    """
    if model.config.classes != pruned.config.classes:
        raise DataError(
            f"The unpruned network has {model.config.classes} outputs and the pruned one {pruned.config.classes}; "
            "give a network and its pruned copy."
        )
    classes = ClassSet(tuple(range(model.config.classes)), tuple(map(str, range(model.config.classes))))
    batch = windows_a_step(model.architecture, model.config, pruned.config, free)
    config = replace(
        RECIPE,
        steps=steps,
        minutes=minutes,
        seed=seed,
        batch=batch,
        seconds=_seconds(model.architecture),
        precision=precision_on("cpu", "auto"),
    )
    learner = Distiller(
        (copy.deepcopy(pruned), classes),
        Teacher(model, classes),
        recordings,
        config,
        held_out=held_out,
        on_measure=on_measure,
    )
    measured: list[dict[str, float]] = []

    def report(progress: Progress) -> None:
        if progress.measured:
            measured.append(progress.measured)
        if on_progress is not None:
            on_progress(progress)

    try:
        report(Progress(0, 0, 0.0, 0.0, learner.measure()))
        resume = state_file is not None and state_file.exists()
        run(learner, state_file, resume=resume, on_progress=report, report_every=1)
    except TaskCancelledError:
        pass
    document = {
        "steps": learner.step,
        "seconds": round(learner.seconds, 1),
        "minutes": minutes,
        "batch": config.batch,
        "precision": config.precision,
        "seed": seed,
        "recordings": len(recordings),
        "hours": round(recordings.hours, 3),
        "recordings_sha256": recordings.digest(),
        "held_out": 0 if held_out is None else len(held_out),
    }
    if measured:
        document["agreement"] = {"before": measured[0], "after": measured[-1]}
    return Healed(learner.trained(), document)


def windows_a_step(name: str, before: Any, after: Any, free: int | None = None) -> int:
    """How many windows a step of healing has: as many as are computed in about a second and fit into ``free`` bytes, at most eight.

    Parameters
    ----------
    name : str
        Of the architecture.
    before, after : object
        The configurations of the unpruned and of the pruned network.
    free : int, optional
        Bytes that may be used; None where that is not known.

    Raises
    ------
    DataError
        Not even two windows fit.

    Examples
    --------
    >>> entry = architecture("cnn14")
    >>> windows_a_step("cnn14", entry.configure(), entry.configure(widths=(64,) * 12, embedding=64))
    6
    >>> windows_a_step("cnn14", entry.configure(), entry.configure(), 10**9)
    Traceback (most recent call last):
    core.errors.DataError: Healing this network needs 2.06 GB of memory and 1.00 GB is free; prune more, or heal it on a larger machine.
    """
    seconds = _seconds(name)
    teacher, student = (counted(name, config, seconds).macs for config in (before, after))
    batch = max(_LEAST_BATCH, min(RECIPE.batch, int(_STEP_MACS / (teacher + _BACKWARD * student))))
    while free is not None and (needed := needed_bytes(name, before, after, batch)) > free:
        if batch == _LEAST_BATCH:
            raise DataError(
                f"Healing this network needs {prefixed(needed, 'B')} of memory and {prefixed(free, 'B')} is free; prune more, or heal "
                "it on a larger machine."
            )
        batch = max(_LEAST_BATCH, batch // 2)
    return batch


@lru_cache(maxsize=64)
def needed_bytes(name: str, before: Any, after: Any, batch: int) -> int:
    """The memory that healing takes besides the unpruned network, for an architecture and the configurations of both networks.

    Examples
    --------
    >>> config = architecture("cnn6").configure()
    >>> needed_bytes("cnn6", config, config, 2) // 10**6
    185
    """
    entry, seconds = architecture(name), _seconds(name)
    weights = counted(name, after).file_bytes
    mixing = _MIXING_BYTES * batch * round(seconds * SAMPLE_RATE)
    teacher = counted(name, before, seconds).peak_activation_bytes * batch
    student = training_bytes(entry, after, round(seconds * entry.sample_rate), batch)
    return _COPIES * weights + max(mixing, teacher, student)


def _seconds(name: str) -> float:
    """The longest windows that an architecture learns from."""
    entry = architecture(name)
    return RECIPE.seconds if entry.window_samples is None else entry.window_samples / entry.sample_rate
