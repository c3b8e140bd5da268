"""Loaded networks, each under the sha256 of its file: a file that is replaced is loaded again, and never given another one's results."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass

from core import checkpoints
from core.checkpoints import Entry
from core.classes import audioset
from core.models.registry import architecture
from core.onnx_tagger.network import OnnxNetwork
from core.profiling import counted
from core.tagging import OFFICIAL_PAIR, Tagger, load_tagger
from core.windows import Interface
from dashboard.server.cache import ByteLruCache
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.own_networks import find_own
from dashboard.server.structure import Structure

TIMED_SECONDS = 10.0
"""Length of the clip on which networks are timed and for which MACs are counted, as in the paper."""

_BUDGET_BYTES = 1300 * 2**20
"""The published pair with everything its engines keep in the fast profile; where memory is shorter, ``MemoryPressure`` sees to it."""


@dataclass(frozen=True)
class _Known:
    """What is known of a model's file without loading it again."""

    stamp: Hashable
    sha256: str
    structure: Structure


@dataclass(frozen=True)
class Costs:
    """What a network costs, counted.

    Attributes
    ----------
    params : learned values; of an ONNX file all values of its weights.
    macs : of 10 s by the paper's convention; None of an ONNX file, whose front end is part of its graph.
    macs_network : of convolutions and linear layers alone; None where they are not counted.
    why : why they are not counted.
    """

    params: int
    macs: int | None
    macs_network: int | None
    why: str = ""


class Models:
    """Loads networks by their names and keeps the last ones."""

    def __init__(self, pressure: MemoryPressure) -> None:
        self._taggers: ByteLruCache[Tagger] = ByteLruCache(
            _BUDGET_BYTES, lambda tagger: tagger.nbytes, growing=True
        )
        self._known: dict[str, _Known] = {}
        self._loading = threading.Lock()
        self._pressure = pressure
        pressure.add(self._taggers)

    def tagger(self, name: str) -> Tagger:
        """The loaded network; loaded again when its file changes. Raises ``CheckpointError``."""
        own = find_own(name)
        tagger = own.tagger if own else self._loaded(name)
        if tagger is not None:
            return tagger
        with (
            self._loading
        ):  # one at a time: two visitors share one network, and the engine that is made of it
            tagger = self._loaded(name)
            if tagger is None:
                stamp = _stamp(name)  # of the file before it is read, so that a change meanwhile is noticed
                tagger = load_tagger(name)
                self._known[name] = _Known(stamp, tagger.info.sha256, _structure(tagger))
                self._taggers.put((name, tagger.info.sha256), tagger)
        self._pressure.relieve()
        return tagger

    def key(self, name: str) -> tuple[str, str]:
        """What results of a network are cached under: its name and its file's sha256. Loads it where that is not known."""
        return self.known_key(name) or (name, self.tagger(name).info.sha256)

    def known_key(self, name: str) -> tuple[str, str] | None:
        """The same, or None where the file as it is now was never loaded."""
        own = find_own(name)
        if own is not None:
            return (name, own.tagger.info.sha256)
        known = self._known.get(name)
        return (name, known.sha256) if known is not None and known.stamp == _stamp(name) else None

    def structure(self, name: str) -> Structure:
        """The architecture and widths of a network that can be loaded. Raises ``CheckpointError``."""
        own = find_own(name)
        if own is not None:
            return _structure(own.tagger)
        if self.known_key(name) is None:
            self.tagger(name)
        return self._known[name].structure

    def entry(self, name: str) -> Interface:
        """What a network takes and returns. Raises ``CheckpointError``."""
        own = find_own(name)
        return own.tagger.entry if own else architecture(self.structure(name).architecture)

    def costs(self, name: str) -> Costs:
        """Parameters and MACs for 10 s of audio."""
        own = find_own(name)
        if own is not None and isinstance(own.tagger.network, OnnxNetwork):
            found = own.tagger.network.counts(TIMED_SECONDS)
            return Costs(found.params, None, found.macs, found.why)
        structure = self.structure(name)
        known = counted(structure.architecture, structure.config, TIMED_SECONDS)
        return Costs(known.params_trainable, known.macs, known.macs_network)

    def _loaded(self, name: str) -> Tagger | None:
        key = self.known_key(name)
        return None if key is None else self._taggers.get(key)


def usable_models() -> dict[str, Entry]:
    """The models that can be loaded now, name -> entry, in the manifest's order."""
    return {
        name: entry
        for name, entry in checkpoints.manifest().items()
        if checkpoints.status(entry) in ("embedded", "installed")
    }


def missing_official() -> tuple[str, ...]:
    """Which of the two published networks are not installed."""
    return tuple(name for name in OFFICIAL_PAIR if checkpoints.status(checkpoints.entry(name)) == "available")


def _structure(tagger: Tagger) -> Structure:
    return Structure(tagger.model.architecture, tagger.model.config)


def _stamp(name: str) -> Hashable:
    """Changes whenever the file does: replacing it changes the inode, and writing to it the status change time, which no program sets."""
    path = checkpoints.path_of(checkpoints.entry(name))
    try:
        stat = path.stat()
    except OSError:
        return None
    return (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def class_names(name: str) -> frozenset[str]:
    """The classes of a network, as its entry states them; nothing is loaded."""
    own = find_own(name)
    stated = own.tagger.classes.names if own else checkpoints.entry(name).classes
    return frozenset(each.name for each in audioset()) if isinstance(stated, str) else frozenset(stated)
