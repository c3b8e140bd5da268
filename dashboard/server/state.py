"""What the server keeps between reruns and visitors: opened clips, loaded models, their tags, counts and times.

Results are kept under the sha256 of the bytes and the model's file, so that a moved slider never computes anything
twice, and no clip can ever be given another one's result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import streamlit as st

from core import checkpoints, settings
from core.audio import SAMPLE_RATE, Clip, DecodedClip, StreamedClip, encode_flac, encode_wav, open_clip
from core.checkpoints import Entry
from core.compare import Comparison, agreement
from core.examples import EXAMPLES, example_clip
from core.profiling import Counts, Latency, count, measure_latencies
from core.runtime.builder import EngineBuilder
from core.runtime.memory import trim_heap
from core.tagging import OFFICIAL_PAIR, Tagger, Tags, load_tagger
from dashboard.charts.clip_picture import ClipPicture, clip_picture
from dashboard.server.cache import Shelf
from dashboard.server.downloads import Downloads
from dashboard.server.inference_queue import Gate
from dashboard.server.memory_pressure import Pressure
from dashboard.server.source import Source

TIMED_SECONDS = 10.0
"""Length of the clip on which models are timed and for which MACs are counted, as in the paper."""

_CLIP_BYTES = 160 * 2**20
_MODEL_BYTES = 1300 * 2**20
"""The published pair with everything its engines keep in the fast profile; where memory is shorter, ``Pressure`` sees to it."""

_TAG_BYTES = 32 * 2**20
_SCORE_BYTES = 8 * 2**20

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Timed:
    """A measured time, and what it was measured on.

    Attributes
    ----------
    runtime, why : the engine's name, and why it was that one.
    fell_back : whether that is torch because no faster engine could be used.
    """

    latency: Latency
    runtime: str
    why: str
    fell_back: bool


@dataclass(frozen=True, eq=False)
class Opened:
    """A clip with what the page draws and plays of it."""

    clip: Clip
    picture: ClipPicture

    @cached_property
    def sound(self) -> bytes:
        """What the player is given, encoded when a page first shows one: WAV, or of a long clip FLAC, which is half as large."""
        return (
            encode_wav(self.clip.waveform) if isinstance(self.clip, DecodedClip) else encode_flac(self.clip)
        )

    @property
    def sound_type(self) -> str:
        """Its media type."""
        return "audio/wav" if isinstance(self.clip, DecodedClip) else "audio/flac"

    @property
    def weight(self) -> int:
        """Bytes that it holds."""
        drawn = self.picture.levels.nbytes + 2 * self.picture.low.nbytes
        return self.clip.nbytes + drawn + len(vars(self).get("sound", b""))


class Server:
    """Everything that outlives a page; one for the process."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.loading = threading.Lock()
        self.clips: Shelf[Opened] = Shelf(_CLIP_BYTES, lambda opened: opened.weight, growing=True)
        self.taggers: Shelf[Tagger] = Shelf(_MODEL_BYTES, lambda tagger: tagger.nbytes, growing=True)
        self.tags: Shelf[Tags] = Shelf(_TAG_BYTES, lambda tags: 512 + int(tags.probabilities.nbytes))
        self.counts: Shelf[Counts] = Shelf(2**18, lambda _: 512)
        self.latencies: Shelf[tuple[Timed, ...]] = Shelf(2**20, lambda _: 1024)
        self.scores: Shelf[np.ndarray] = Shelf(_SCORE_BYTES, lambda scores: 128 + int(scores.nbytes))
        self.downloads = Downloads(checkpoints.fetch)
        self.pressure = Pressure()
        self.pressure.add(self.clips, self.taggers)
        self.engine_builder = EngineBuilder(self.pressure.relieve)
        if settings.auto_fetch():
            self.downloads.start(missing_official())


@st.cache_resource(show_spinner=False)
def server() -> Server:
    """The process's one ``Server``."""
    made = Server()
    made.pressure.watch()
    return made


def usable() -> dict[str, Entry]:
    """The models that can be loaded now, name -> entry, in the manifest's order."""
    return {
        name: entry
        for name, entry in checkpoints.manifest().items()
        if checkpoints.status(entry) in ("embedded", "installed")
    }


def missing_official() -> tuple[str, ...]:
    """Which of the two published networks are not installed."""
    return tuple(name for name in OFFICIAL_PAIR if checkpoints.status(checkpoints.entry(name)) == "available")


def opened(source: Source) -> Opened:
    """Decode, check and draw a source, once. Raises ``AudioError``."""
    return server().clips.get_or_make(source.key, lambda: _open(source))


def tagger(name: str) -> Tagger:
    """The loaded model; reloaded when its file changes. Raises ``CheckpointError``."""
    key = _fingerprint(name)
    found = server().taggers.get(key)
    if found is None:
        # One at a time: two visitors who ask at once share one network, and the engine that is made of it.
        with server().loading:
            found = server().taggers.get_or_make(key, lambda: load_tagger(name))
        server().pressure.relieve()
    return found


def tags(source: Source, name: str, tell: Tell | None = None) -> Tags:
    """What ``name`` says about ``source``, computed once, in one's turn."""
    key = tag_key(source, name)
    found = server().tags.get(key)
    if found is not None:
        return found
    clip = opened(source).clip
    with server().gate.turn(tell):
        return server().tags.get_or_make(key, lambda: heard(tagger(name), clip))


def heard(network: Tagger, clip: Clip) -> Tags:
    """What a network says; the memory of its feature maps is not kept for a next clip, which may not come for a while."""
    try:
        return network.tag(clip)
    finally:
        trim_heap()


def tagged(source: Source, names: tuple[str, str]) -> bool:
    """Whether both models' answers are there already."""
    return all(server().tags.get(tag_key(source, name)) is not None for name in names)


def tag_key(source: Source, name: str) -> Hashable:
    """What a model's answer to a source is kept under."""
    return (source.key, _fingerprint(name))


def comparison(
    source: Source, names: tuple[str, str], *, top_k: int, threshold: float, tell: Tell | None = None
) -> Comparison:
    """Both models on one source. Raises ``AudioError`` or ``CheckpointError``."""
    clip = opened(source).clip
    baseline, candidate = tags(source, names[0], tell), tags(source, names[1], tell)
    return Comparison(
        clip, baseline, candidate, agreement(baseline, candidate, top_k=top_k, threshold=threshold)
    )


def counts(name: str) -> Counts:
    """Counts of a model for 10 s of audio, in closed form: thop itself, which they are tested against, takes 70 MB."""
    return server().counts.get_or_make(
        _fingerprint(name), lambda: count(tagger(name).model.config, TIMED_SECONDS)
    )


def known_latencies(names: tuple[str, str]) -> tuple[Timed, ...] | None:
    """The times of two models on this machine, if they have been measured together."""
    return server().latencies.get(tuple(map(_fingerprint, names)))


def latencies(names: tuple[str, str], tell: Tell | None = None) -> tuple[Timed, ...]:
    """Time two models on 10 s of audio, turn about, alone on the machine as far as this server goes."""
    found = known_latencies(names)
    if found is not None:
        return found
    key = tuple(map(_fingerprint, names))
    with server().gate.turn(tell):
        return server().latencies.get_or_make(key, lambda: timed([tagger(name) for name in names]))


def timed(taggers: Sequence[Tagger]) -> tuple[Timed, ...]:
    """Time networks on 10 s of audio, turn about, each on the engine that it is to have for good. To be called in one's turn."""
    waveform = np.resize(example_clip(EXAMPLES[0].key).waveform, int(TIMED_SECONDS * SAMPLE_RATE))
    with server().engine_builder.paused():
        engines = [each.build_engine() for each in taggers]
        measured = measure_latencies(taggers, waveform)
    trim_heap()
    return tuple(
        Timed(latency, engine.name, engine.why, each.fell_back)
        for latency, engine, each in zip(measured, engines, taggers, strict=True)
    )


def file_bytes(name: str) -> int:
    """Size of a model's file on disk."""
    return checkpoints.path_of(checkpoints.entry(name)).stat().st_size


def _open(source: Source) -> Opened:
    clip: Clip
    if source.example is not None:
        clip = example_clip(source.example)
    else:
        clip = open_clip(source.data or b"", name=source.name)
    if isinstance(clip, StreamedClip):
        trim_heap()  # what receiving and reading so many bytes has left over
    return Opened(clip, clip_picture(clip.samples, clip.segments))


def _fingerprint(name: str) -> Hashable:
    path = checkpoints.path_of(checkpoints.entry(name))
    try:
        stat = path.stat()
    except OSError:
        return (name, None)
    return (name, str(path), stat.st_size, stat.st_mtime_ns)
