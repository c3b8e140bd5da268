"""One part of a corpus: its recordings read, run through the networks, and written as part files. Every kind of worker does this."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from core import __version__
from core.audio import SAMPLE_RATE, Clip, open_clip
from core.audio.pool import DecoderError
from core.batch.dataset import FAILURE_SCHEMA, FAILURES, PartWriter, Settings, Store, row_schema, rows_folder
from core.batch.source import check_source, local_copy
from core.embeddings import embed
from core.errors import AudioError, DataError
from core.events import TimelineSettings
from core.events.over_time import sliding_windows
from core.runtime.memory import trim_heap
from core.tagging import Tagger, load_tagger
from core.windows import EMBEDDING_SECONDS, clip_windows, fitted, least_samples


@dataclass(frozen=True)
class NetworkFile:
    """A network as every worker loads it.

    Attributes
    ----------
    options : dict
        Of ``load_tagger``.
    name, sha256 : str
        What the main process found it to be; a worker that finds another file stops.
    """

    options: dict[str, Any]
    name: str
    sha256: str


@dataclass(frozen=True)
class Job:
    """What is the same for all parts."""

    networks: tuple[NetworkFile, ...]
    settings: Settings
    source: str
    out: str


@dataclass(frozen=True)
class Part:
    """Some clips, and the part files that they become.

    Attributes
    ----------
    clips : tuple of (str, str)
        Every clip's name and path.
    files : network -> its part file's name.
    failures : the name of the part file of failures.
    todo : network -> the positions of the clips that it has not tagged yet.
    lost : position -> why a clip is not tried again.
    """

    clips: tuple[tuple[str, str], ...]
    files: dict[str, str]
    failures: str
    todo: dict[str, frozenset[int]]
    lost: dict[int, str] = field(default_factory=dict)

    def without(self, position: int, why: str) -> Part:
        """The same with one clip as a failure."""
        return replace(self, lost={**self.lost, position: why})


@dataclass
class Result:
    """What became of a part's clips: how many were tagged and how many failed; seconds of audio, bytes read, and seconds that it took."""

    tagged: int = 0
    failed: int = 0
    rows: int = 0
    audio_s: float = 0.0
    bytes_read: int = 0
    seconds: float = 0.0

    def add(self, other: Result) -> None:
        """Count another part's as well."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def use_one_thread() -> None:
    """Let torch run on one thread, or on PANNSCOPE_THREADS: workers are as many as cores, and the digits do not depend on their number."""
    import torch

    from core import settings

    torch.set_num_threads(settings.threads() or 1)


def load_networks(job: Job) -> dict[str, Tagger]:
    """The networks by name; raises ``DataError`` where a file is not the one that the main process read."""
    use_one_thread()
    loaded = {}
    for network in job.networks:
        tagger = load_tagger(**network.options)
        if tagger.info.sha256 != network.sha256:
            raise DataError(
                f"{network.name} is another file here ({tagger.info.sha256[:12]}) than where the run was started ({network.sha256[:12]}); "
                "install the same checkpoint on every machine."
            )
        loaded[network.name] = tagger
    return loaded


def process_part(
    job: Job,
    taggers: dict[str, Tagger],
    part: Part,
    on_clip: Callable[[int], object] = lambda _position: None,
) -> Result:
    """Tag a part's clips and write its part files; ``on_clip`` is called before every clip with its position, and at the end.

    The failures are written before the rows: a clip that a killed run has listed as a failure is not tried again, so that it is in no other file.

    Raises
    ------
    DataError
        The source is gone, or a file cannot be written; nothing of the part is then in the data set, or some of its files as a whole.
    """
    store, started, result = Store(job.out), time.monotonic(), Result()
    failures: list[dict[str, str]] = []
    with ExitStack() as files:
        writers = {
            name: files.enter_context(
                _writer(store, f"{rows_folder(name)}/{file}", job.settings, taggers[name])
            )
            for name, file in part.files.items()
        }
        for position, (clip_name, path) in enumerate(part.clips):
            on_clip(position)
            wanted = [name for name, positions in part.todo.items() if position in positions]
            shared = {"clip": clip_name, "path": _text(path)}
            if position in part.lost:
                failures.append({**shared, "error": part.lost[position]})
                continue
            try:
                clip, size, rows = _recording(job.settings, {name: taggers[name] for name in wanted}, path)
            except AudioError as error:
                check_source(job.source)
                failures.append({**shared, "error": str(error)})
                continue
            for name, computed in rows.items():
                for row in computed:
                    writers[name].add({**shared, **row})
                result.rows += len(computed)
            result.tagged += 1
            result.audio_s += clip.duration_s
            result.bytes_read += size
        on_clip(len(part.clips))
        _write_failures(store, part.failures, failures)
    trim_heap()  # rows that are kept until they are written leave gaps: 100 MB after 1,000 clips with all columns
    result.failed, result.seconds = len(failures), time.monotonic() - started
    return result


def _recording(
    settings: Settings, taggers: dict[str, Tagger], path: str
) -> tuple[Clip, int, dict[str, list[dict[str, Any]]]]:
    """A recording, its size in bytes, and every network's rows of it; tried again where its decoder broke off."""
    with local_copy(path) as copy:
        size = os.path.getsize(copy) if os.path.exists(copy) else 0
        for last in (False, False, True):
            try:
                clip = open_clip(
                    copy,
                    name=os.path.basename(path),
                    max_seconds=settings.max_seconds,
                    channel=settings.channel,
                )
                rows = {name: list(clip_rows(tagger, clip, settings)) for name, tagger in taggers.items()}
                return clip, size, rows
            except DecoderError:
                if last:
                    raise
    raise AssertionError


def clip_rows(tagger: Tagger, clip: Clip, settings: Settings) -> Iterator[dict[str, Any]]:
    """A network's rows of one clip: one of the whole, or one for every window. Raises ``AudioError``.

    Examples
    --------
    >>> from core.examples import example_clip
    >>> tagger = load_tagger("demo-epanns", runtime="torch")
    >>> settings = Settings(4.0, 0.0, top=1, probabilities=False, embeddings=False, channel="mean", max_seconds=60.0)
    >>> rows = list(clip_rows(tagger, example_clip("clock"), settings))
    >>> [(row["start_s"], row["end_s"], row["tags"]) for row in rows]
    [(0.0, 4.0, ['Tick-tock']), (4.0, 8.0, ['Tick-tock'])]
    """
    constant = {
        "sha256": clip.sha256,
        "duration_s": clip.duration_s,
        "checkpoint": tagger.info.sha256,
        "runtime": tagger.runtime,
        "versions": f"pannscope {__version__}, torch {version('torch')}",
    }
    for start_s, end_s, probabilities, embedding in _outputs(tagger, clip, settings):
        order = np.argsort(-probabilities, kind="stable")[: settings.top]
        row = {
            **constant,
            "start_s": start_s,
            "end_s": end_s,
            "tags": [tagger.classes.names[index] for index in order],
            "tag_probabilities": probabilities[order],
            "probabilities": probabilities,
        }
        yield row if embedding is None else {**row, "embedding": embedding}


_Output = tuple[float, float, npt.NDArray[np.float32], npt.NDArray[np.float32] | None]


def _outputs(tagger: Tagger, clip: Clip, settings: Settings) -> Iterator[_Output]:
    """Start and end in seconds, probabilities and, where they are wanted, the embedding of every row."""
    engine, entry = tagger.engine, tagger.entry
    windows = timeline_settings(settings)
    whole = max(clip.samples, least_samples(entry))
    if windows is not None:
        length, hop = windows.samples(entry)
    elif len(clip_windows(whole, entry)) == len(clip_windows(whole, entry, EMBEDDING_SECONDS)) == 1:
        length = hop = clip.samples
    else:  # of a longer clip each is the mean over windows of its own length
        tags = tagger.tag(clip)
        embedding = embed(tagger, clip)[1][0] if settings.embeddings else None
        yield 0.0, clip.duration_s, tags.probabilities, embedding
        return
    for number, (start, end, samples) in enumerate(sliding_windows(clip.blocks(), length, hop)):
        waveform = fitted(samples, entry)
        embedding = None
        if settings.embeddings:
            outputs, embeddings = engine.outputs(waveform)
            embedding = embeddings[0].numpy()
        else:
            outputs = engine.probabilities(waveform)
        yield start / SAMPLE_RATE, end / SAMPLE_RATE, outputs[0].numpy(), embedding
        if number % 16 == 15:
            trim_heap()  # otherwise a long recording leaves memory in the allocators of other threads


def timeline_settings(settings: Settings) -> TimelineSettings | None:
    """The windows; None for one row a clip."""
    if settings.window_s is None or settings.overlap is None:
        return None
    return TimelineSettings(settings.window_s, settings.overlap)


@contextmanager
def _writer(store: Store, name: str, settings: Settings, tagger: Tagger) -> Iterator[PartWriter]:
    """A part file of a network's rows, in place when the ``with`` block ends."""
    schema = row_schema(settings, len(tagger.classes), tagger.info.embedding)
    with store.writing(name) as draft, PartWriter(draft, schema) as writer:
        yield writer


def _write_failures(store: Store, name: str, failures: Sequence[dict[str, str]]) -> None:
    """Write a part's failures; where there are none any more, remove what a worker that died has written of them."""
    if not failures:
        store.remove(f"{FAILURES}/{name}")
        return
    with store.writing(f"{FAILURES}/{name}") as draft, PartWriter(draft, FAILURE_SCHEMA) as writer:
        for failure in failures:
            writer.add(failure)


def _text(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
