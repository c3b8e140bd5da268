"""What the server keeps between reruns and visitors, as the pages see it.

``get_server()`` is the process's one ``Server``; a page asks it for results and knows nothing of queues, caches and locks:

    server.clip(source)                  a recording, decoded and drawn; as for all that takes long, ``on_share`` is called as it goes on
    server.tagger(name)                  a loaded network; .structure(name), .entry(name), .costs(name) without loading it again
    server.tags(source, name)            its tags;  .has_tags(source, names)
    server.comparison(source, names, …)  two to four networks on one clip;  .latencies(names), .known_latencies(names)
    server.pruned(cut)                   a pruned network (of a ``pruned.PruneRequest``: source, name, plan, repair)
    server.pruned_tags(cut)              its tags;  .pruned_comparison(cut), .pruned_latencies(cut), each with a ``known_`` twin
    server.scores(name, layer, criterion), .all_scores(…), .weight(…), .prototypes(…), .order_dependence(…), .feature_map(…)
    server.timelines                     two networks' tags over time;  .long_clip(source), .long_recordings  of more than ten minutes
    server.live                          visitors' microphones
    server.corpora.data_set(folder)      a data set of ``pannscope batch``
    server.healing                       training a pruned network, one at a time;  .jobs, .downloads  other work in the background

Every result is cached under content hashes and settings, so that a moved slider computes nothing twice, and no clip or file can get
another one's result. What takes computing waits for its slot in the inference queue: ``on_wait`` is called with the number of requests
ahead, and may raise to give up.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from core import checkpoints, settings
from core.audio import Clip
from core.compare import Comparison, agreement
from core.comparisons import Comparisons, compare_every_two
from core.runtime.builder import EngineBuilder
from core.runtime.memory import trim_heap
from core.tagging import Tagger
from core.tags import Tags
from dashboard.server.cache import ByteLruCache
from dashboard.server.clips import Clips, OnShare
from dashboard.server.corpora import Corpora
from dashboard.server.downloads import Downloads
from dashboard.server.filters import Filters
from dashboard.server.healing import Healer
from dashboard.server.inference_queue import InferenceQueue, OnWait
from dashboard.server.jobs import Jobs
from dashboard.server.live_streams import LiveStreams
from dashboard.server.long_recordings import LongRecordings
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.models import Models, missing_official
from dashboard.server.own_networks import OwnNetwork
from dashboard.server.players import Players, streamlit_files
from dashboard.server.pruned import OnProgress, PrunedNetworks, PruneRequest
from dashboard.server.source import Source
from dashboard.server.timelines import Timelines
from dashboard.server.timing import Timed, Timings

_TAG_BYTES = 32 * 2**20
_RESULT_BYTES = 160 * 2**20
"""Of what jobs return: exported files, nearly all of it."""


class Server:
    """Everything that outlives a page run; one for the process."""

    def __init__(self) -> None:
        self.memory_pressure = MemoryPressure()
        self.memory_pressure.add(Players(streamlit_files))
        self.engine_builder = EngineBuilder(self.memory_pressure.relieve)
        self.queue = InferenceQueue()
        self.jobs = Jobs(self.queue, _RESULT_BYTES)
        self.downloads = Downloads(checkpoints.fetch)
        self._tags: ByteLruCache[Tags] = ByteLruCache(
            _TAG_BYTES, lambda tags: 512 + int(tags.probabilities.nbytes)
        )
        self._timings = Timings(self.queue, self.engine_builder)

        self.corpora = Corpora(self.memory_pressure)

        clips = Clips(self.queue, self.memory_pressure)
        self.clip, self.long_clip = clips.clip, clips.long_clip
        self.waveforms = clips.waveforms
        self.waveform_loader = clips.waveform_loader

        self._models = models = Models(self.memory_pressure)
        self.tagger = models.tagger
        self.structure = models.structure
        self.costs = models.costs
        self.entry = models.entry
        self.timelines = Timelines(self.jobs, models)
        self.long_recordings = LongRecordings(self.queue, models)
        self.live = LiveStreams(self.queue, models.tagger)

        self._pruned = PrunedNetworks(models, clips, self.queue, self.engine_builder, self.memory_pressure)
        self.pruned, self.pruned_key = self._pruned.pruned, self._pruned.key

        self.healing = Healer(models, clips, self.queue, self.engine_builder, self.memory_pressure)

        filters = Filters(models, clips, self.queue, self.memory_pressure)
        self.weight = filters.weight
        self.scores, self.has_scores = filters.scores, filters.has_scores
        self.layer_scores = filters.layer_scores
        self.all_scores = filters.all_scores
        self.prototypes = filters.prototypes
        self.order_dependence = filters.order_dependence
        self.order_by_layer = filters.order_by_layer
        self.feature_map, self.has_layer_input = filters.feature_map, filters.has_layer_input

        if settings.auto_fetch():
            self.downloads.start(missing_official())

    def forget_with(self, own: OwnNetwork) -> None:
        """Free what was made of a visitor's network once its session has ended."""
        self.memory_pressure.forget_with(own, own.name)

    def tags(
        self, source: Source, name: str, on_wait: OnWait | None = None, on_share: OnShare | None = None
    ) -> Tags:
        """A network's tags of a clip. Raises ``AudioError`` or ``CheckpointError``."""
        clip = self.clip(source, on_wait, on_share).clip
        return self._tags.get_or_make(
            (source.key, *self._models.key(name)),
            lambda: _tag(self.tagger(name), clip, on_share),
            within=self.queue.slot(on_wait),
        )

    def known_tags(self, source: Source, name: str) -> Tags | None:
        """The same, if they are there already."""
        key = self._models.known_key(name)
        return None if key is None else self._tags.get((source.key, *key))

    def has_tags(self, source: Source, names: Sequence[str]) -> bool:
        """Whether all these networks' tags are there already."""
        return all(self.known_tags(source, name) is not None for name in names)

    def comparison(
        self,
        source: Source,
        names: Sequence[str],
        *,
        top_k: int,
        threshold: float,
        on_wait: OnWait | None = None,
        on_share: OnShare | None = None,
    ) -> Comparisons:
        """Two to four networks on one clip. Raises ``AudioError``, ``CheckpointError`` or ``ModelError``."""
        clip = self.clip(source, on_wait, on_share).clip
        tags = [
            self.tags(source, name, on_wait, _part(on_share, number, len(names)))
            for number, name in enumerate(names)
        ]
        return compare_every_two(clip, tags, top_k=top_k, threshold=threshold)

    def latencies(self, names: tuple[str, ...]) -> tuple[Timed, ...]:
        """The times of networks on this machine, measured together."""
        key = tuple(self._models.key(name) for name in names)
        return self._timings.measure(key, lambda: [self.tagger(name) for name in names])

    def known_latencies(self, names: Sequence[str]) -> tuple[Timed, ...] | None:
        """The same, if they have been measured."""
        return self._timings.known(tuple(self._models.known_key(name) for name in names))

    def pruned_tags(
        self,
        cut: PruneRequest,
        *,
        on_wait: OnWait | None = None,
        on_progress: OnProgress | None = None,
        on_share: OnShare | None = None,
    ) -> Tags:
        """The pruned network's tags of the cut's clip."""
        known = self.known_pruned_tags(cut)
        if known is not None:
            return known
        network = self.pruned(cut, on_wait=on_wait, on_progress=on_progress).tagger
        clip = self.clip(cut.source, on_wait, on_share).clip
        return self._tags.get_or_make(
            self._pruned_key(cut), lambda: _tag(network, clip, on_share), within=self.queue.slot(on_wait)
        )

    def known_pruned_tags(self, cut: PruneRequest) -> Tags | None:
        """The same, if they are there already."""
        return self._tags.get(self._pruned_key(cut))

    def pruned_comparison(
        self,
        cut: PruneRequest,
        *,
        on_wait: OnWait | None = None,
        on_progress: OnProgress | None = None,
        on_share: OnShare | None = None,
    ) -> Comparison:
        """The unpruned network beside the pruned one on the cut's clip."""
        clip = self.clip(cut.source, on_wait, on_share).clip
        candidate = self.pruned_tags(
            cut, on_wait=on_wait, on_progress=on_progress, on_share=_part(on_share, 0, 2)
        )
        baseline = self.tags(cut.source, cut.name, on_wait, _part(on_share, 1, 2))
        return Comparison(clip, baseline, candidate, agreement(baseline, candidate))

    def pruned_latencies(self, cut: PruneRequest) -> tuple[Timed, ...]:
        """The times of the network and of the pruned one. Widths decide, so that repair is left out."""
        known = self.known_pruned_latencies(cut)
        if known is not None:
            return known
        taggers = [self.tagger(cut.name), self.pruned(cut, repaired=False).tagger]
        return self._timings.measure(self._widths_key(cut), lambda: taggers)

    def known_pruned_latencies(self, cut: PruneRequest) -> tuple[Timed, ...] | None:
        """The same, if networks of these widths have been timed."""
        return self._timings.known(self._widths_key(cut))

    def _pruned_key(self, cut: PruneRequest) -> tuple[object, ...]:
        return (cut.source.key, self.pruned_key(cut))

    def _widths_key(self, cut: PruneRequest) -> tuple[object, ...]:
        return (*self._models.key(cut.name), cut.plan.after)


_server: Server | None = None
_creating = threading.Lock()


def get_server() -> Server:
    """The process's one ``Server``; any thread may ask for it."""
    global _server
    with _creating:
        if _server is None:
            _server = Server()
            _server.memory_pressure.watch()
        return _server


def _part(on_share: OnShare | None, number: int, count: int) -> OnShare | None:
    """Progress of one of ``count`` equal pieces of work, the first being 0."""
    return None if on_share is None else lambda share, doing: on_share((number + share) / count, doing)


def _tag(tagger: Tagger, clip: Clip, on_share: OnShare | None) -> Tags:
    """A network's tags; the memory of its feature maps is not kept for a next clip, which may not come for a while."""

    def on_window(done: int, windows: int) -> None:
        if on_share is not None:
            on_share(done / windows, "Tagging")

    try:
        return tagger.tag(clip, on_window)
    finally:
        trim_heap()
