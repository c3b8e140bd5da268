"""A corpus as a whole: what is to be done, divided into parts, and done by workers of one kind or another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow
from pyarrow import compute

from core.batch.dataset import FAILURES, FORMAT, SUFFIX, Store, rows_folder
from core.batch.source import Shard, Source, stored_names
from core.batch.work import Job, Part, Result, load_networks, process_part, timeline_settings
from core.embeddings import describe
from core.errors import DataError
from core.tagging import Tagger
from core.units import plural

MOST_CLIPS = 1000
"""Clips of a part by default, at most: what a killed worker has to do again."""

_LEAST_CLIPS, _PARTS = (
    16,
    64,
)  # small corpora become about so many parts, so that several workers finish together


class Runner(Protocol):
    """Workers of one kind: processes parts in any order and yields each one's result; ``on_clip`` is called with clips that are finished."""

    def __call__(
        self, job: Job, parts: Iterable[Part], on_clip: Callable[[int], object]
    ) -> Iterator[Result]: ...


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes
    ----------
    parts : list of Part
    listed : how many clips the shard has.
    to_do : how many of them some network has not tagged yet.
    failed_before : how many are listed as failures by runs before.
    """

    parts: list[Part]
    listed: int
    to_do: int
    failed_before: int


def check_settings(job: Job, taggers: Iterable[Tagger]) -> None:
    """Raise ``ModelError`` where a network takes no such windows, or has no embedding; ``DataError`` where two have one name."""
    for tagger in taggers:
        windows = timeline_settings(job.settings)
        if job.settings.embeddings:
            describe(tagger, windows)
        elif windows is not None:
            windows.samples(tagger.entry)
    names = [network.name for network in job.networks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"Two of the networks are called {twice!r}; give each one once, under a name of its own."
        )


def open_dataset(job: Job, taggers: Iterable[Tagger]) -> None:
    """Write what a data set follows from, or compare it with what is there; raises ``DataError`` where they differ."""
    store = Store(job.out)
    described = {"source": job.source, **asdict(job.settings)}
    there = _document(store, "dataset.json")
    if there is None:
        store.write("dataset.json", _json({"format": FORMAT, **described}))
    for key, value in described.items() if there else ():
        if there is not None and there.get(key) != value:
            raise DataError(
                f"{job.out} is a data set with {key} = {there.get(key)}, and this run has {value}; give the same, or another --out."
            )
    for tagger in taggers:
        name = f"networks/{quote(tagger.name, safe='')}.json"
        known = _document(store, name)
        if known is None:
            store.write(name, _json(_described(tagger)))
        elif known.get("sha256") != tagger.info.sha256:
            raise DataError(
                f"{job.out} has rows of another {tagger.name} ({str(known.get('sha256'))[:12]}, this one is {tagger.info.sha256[:12]}); "
                "give another --out, or the network another name."
            )


def _described(tagger: Tagger) -> dict[str, Any]:
    """What a network's rows follow from, and the names of its ``probabilities``."""
    return {
        "model": tagger.name,
        "sha256": tagger.info.sha256,
        "architecture": tagger.info.architecture,
        "sample_rate": tagger.entry.sample_rate,
        "output": tagger.entry.output,
        "embedding": tagger.info.embedding,
        "classes": [
            {"index": index, "name": name}
            for index, name in zip(tagger.classes.indices, tagger.classes.names, strict=True)
        ],
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _document(store: Store, name: str) -> dict[str, Any] | None:
    content = store.read(name)
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise DataError(f"{store.place(name)} is damaged; delete it, and the same command writes it again.")
    return document


def make_plan(job: Job, source: Source, shard: Shard, part_clips: int | None = None) -> Plan:
    """Divide what is to be done into parts; raises ``DataError`` for a part file that is damaged.

    A clip's part is its position among the shard's clips, so that an interrupted run leaves the same files as one that was not. What is done is
    what the part files have: clips that were added since become files of their own.
    """
    store = Store(job.out)
    clips = [clip for clip in source.clips if shard.holds(clip)]
    names = pyarrow.array(stored_names(clips), pyarrow.string())
    folders = {network.name: rows_folder(network.name) for network in job.networks}
    beginning = f"part-{shard.number}of{shard.count}"
    for folder in (*folders.values(), FAILURES):
        store.remove_drafts(folder, f"{beginning}-")
    failed = _among(names, store.clips(FAILURES))
    todo = {network: ~(failed | _among(names, store.clips(folder))) for network, folder in folders.items()}
    existing = {folder: set(store.names(folder)) for folder in (*folders.values(), FAILURES)}
    size = part_clips or min(MOST_CLIPS, max(_LEAST_CLIPS, -(-len(clips) // _PARTS)))
    count = -(-len(clips) // size)
    parts = []
    for number in range(count):
        span = slice(number * size, (number + 1) * size)
        missing = {network: marks[span] for network, marks in todo.items() if marks[span].any()}
        if not missing:
            continue
        wanted = np.flatnonzero(np.any(list(missing.values()), axis=0))
        new = {old: position for position, old in enumerate(wanted.tolist())}
        chosen = [number * size + old for old in new]
        stem = f"{beginning}-{number + 1:05d}of{count:05d}"
        parts.append(
            Part(
                clips=tuple((names[index].as_py(), source.path(clips[index])) for index in chosen),
                files={network: _unused(stem, existing[folders[network]]) for network in missing},
                failures=_unused(stem, existing[FAILURES]),
                todo={
                    network: frozenset(new[old] for old in np.flatnonzero(marks).tolist())
                    for network, marks in missing.items()
                },
            )
        )
    to_do = sum(len(part.clips) for part in parts)
    return Plan(parts, len(clips), to_do, int(failed.sum()))


def _among(names: pyarrow.Array, known: pyarrow.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which of the names are known."""
    return np.asarray(
        compute.is_in(names, value_set=known.combine_chunks()).to_numpy(zero_copy_only=False), bool
    )


def _unused(stem: str, existing: set[str]) -> str:
    """A file name that is not taken: of a second file of a part with -2 at its end."""
    number, name = 1, stem + SUFFIX
    while name in existing:
        number += 1
        name = f"{stem}-{number}{SUFFIX}"
    return name


def in_this_process(job: Job, parts: Iterable[Part], on_clip: Callable[[int], object]) -> Iterator[Result]:
    """The ``Runner`` without other processes."""
    taggers = load_networks(job)
    for part in parts:
        yield process_part(job, taggers, part, lambda position: on_clip(1) if position else None)


def run_parts(job: Job, plan: Plan, runner: Runner, on_clip: Callable[[int], object]) -> Result:
    """Process all parts of a plan, and what that came to. Raises ``DataError`` where the run cannot go on."""
    total, done = Result(), 0
    try:
        for result in runner(job, plan.parts, on_clip):
            total.add(result)
            done += 1
    except DataError as error:
        raise DataError(
            f"{error} {plural(done, 'part')} of {len(plan.parts)} of this run are done."
        ) from error
    return total
