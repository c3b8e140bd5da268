"""Visitors' own checkpoints: loaded by the rules of any file, and each for the session that uploaded it.

The session holds its networks. Here they are found by their names as long as a session does, so that one is freed with its session, or
earlier, once others need the memory and its own visitors have been away for a while.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from streamlit import config

from core import checkpoints
from core.audio.messages import display_name
from core.checkpoints import CheckpointInfo
from core.checkpoints.info import NUMBERED
from core.classes import parse_labels
from core.errors import CheckpointError, ModelError, PannscopeError
from core.models.network import Network
from core.onnx_tagger.network import ASSUMED_LOGITS, ASSUMED_PROBABILITIES, OnnxNetwork, SampleRateError
from core.onnx_tagger.network import SUFFIX as ONNX
from core.runtime.machine import total_memory
from core.tagging import Tagger, load_tagger
from core.units import plural

SUFFIXES = ("safetensors", "pth", "pt", "ckpt", "bin", "onnx")

_HASH_DIGITS = 16
_SHOWN_DIGITS = 4

IDLE_S = 120.0
"""A network whose visitor's page ran less long ago stays, even where others need room; as with recordings."""

_SHARE = 4
"""All visitors' networks may take one part in so many of the memory, their engines included."""

_UNKNOWN_MEMORY = 4 * 2**30

FULL = (
    "This server's memory for visitors' own networks is in use just now: remove one of yours, try again in a few minutes, or use the "
    "command line."
)


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A network that a visitor uploaded.

    Attributes
    ----------
    name : the file's stem and part of its content's sha256; the pages and caches know the network by it.
    title : the file's name, of letters, digits and -_.= alone, so that it can be shown anywhere.
    tagger : the network.
    """

    name: str
    title: str
    tagger: Tagger

    @property
    def nbytes(self) -> int:
        """Bytes of its weights, and as much again for its engine."""
        return 2 * self.tagger.parameter_bytes

    @property
    def gone(self) -> bool:
        """Whether it is an ONNX file's whose process has broken off, so that it has to be loaded again."""
        return isinstance(self.tagger.network, OnnxNetwork) and self.tagger.network.gone


class Hold:
    """A session's hold on a network of its own: ``network`` is None once the server needed its memory for others."""

    def __init__(self, network: OwnNetwork, now: float) -> None:
        self.title = network.title
        self.network: OwnNetwork | None = network
        self.used = now


class Holds:
    """Every session's holds, and how much they may take together. A session that ends releases its own.

    Parameters
    ----------
    most : bytes of all networks together.
    clock : seconds, as ``time.monotonic``.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._holds: weakref.WeakSet[Hold] = weakref.WeakSet()
        self._lock = threading.Lock()

    def hold(self, network: OwnNetwork) -> Hold:
        """Hold a network for a session; what has been idle longest is released where there is no room.

        Raises
        ------
        CheckpointError
            No room, and nothing idle.
        """
        with self._lock:
            while True:
                last_used: dict[OwnNetwork, float] = {}
                for hold in self._holds:
                    if hold.network is not None:
                        last_used[hold.network] = max(hold.used, last_used.get(hold.network, 0.0))
                sizes = {each.tagger.network: each.nbytes for each in (*last_used, network)}
                if sum(sizes.values()) <= self._most:
                    break
                oldest = min(
                    (each for each in last_used if each is not network),
                    key=last_used.__getitem__,
                    default=None,
                )
                if oldest is None or self._clock() - last_used[oldest] < IDLE_S:
                    raise CheckpointError(FULL)
                for hold in self._holds:
                    if hold.network is oldest:
                        hold.network = None
            held = Hold(network, self._clock())
            self._holds.add(held)
            return held

    def touch(self, hold: Hold) -> OwnNetwork | None:
        """The network, noting that its visitor is there; None where it was released."""
        with self._lock:
            hold.used = self._clock()
            return hold.network


def most_bytes(memory: int | None, largest_file: int) -> int:
    """Bytes that all visitors' networks may take: a quarter of the memory, and at least one of the largest file, in half precision.

    >>> most_bytes(10**9, largest_file=50 * 2**20), most_bytes(None, largest_file=200 * 2**20)
    (250000000, 1073741824)
    """
    return max((memory or _UNKNOWN_MEMORY) // _SHARE, 4 * largest_file)


_known: weakref.WeakValueDictionary[str, OwnNetwork] = weakref.WeakValueDictionary()

_loading = threading.Lock()  # one ONNX file at a time: each may take a process of 1 GiB while it is tried


def load_own(file_name: str, content: bytes, sample_rate: int | None = None) -> OwnNetwork:
    """Load an uploaded file; its name becomes no path, and no path of the server stands in an error.

    Parameters
    ----------
    file_name, content : of the file.
    sample_rate : of an ONNX file that does not say it, Hz.

    Raises
    ------
    CheckpointError
        As for any file, with the file's name in place of its path. ``SampleRateError`` where only the rate is missing.
    """
    stem, suffix = os.path.splitext(os.path.basename(file_name.replace("\\", "/")))
    safe = "".join(letter if letter.isalnum() or letter in "-_.=" else "-" for letter in stem)[:60].strip(
        ".-"
    )
    safe = safe or "checkpoint"
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        path = Path(folder) / (safe + (suffix if suffix[1:] in SUFFIXES else ""))
        try:
            path.write_bytes(content)
            with _loading if path.suffix == ONNX else nullcontext():
                loaded = load_tagger(checkpoint=path, sample_rate=sample_rate)
        except PannscopeError as error:
            kind = SampleRateError if isinstance(error, SampleRateError) else CheckpointError
            raise kind(str(error).replace(folder + os.sep, "")) from None
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be kept: {error.strerror}; try again later.") from None
    name = f"{safe}-{loaded.info.sha256[:_HASH_DIGITS]}" + (f"-{sample_rate}" if sample_rate else "")
    return _kept(path.name, name, loaded.network, replace(loaded.info, path=Path(path.name)))


def with_labels(own: OwnNetwork, file_name: str, content: bytes) -> OwnNetwork:
    """A network whose outputs have the names that an uploaded file lists, as the command line's ``--labels`` reads them.

    Raises
    ------
    ModelError
        The file is no list of names, or has another number of them than there are outputs.
    """
    shown = display_name(file_name)
    classes, outputs = parse_labels(content, shown), len(own.tagger.classes)
    if len(classes) != outputs:
        raise ModelError(
            f"{shown} has {plural(len(classes), 'name')} and {own.title} has {plural(outputs, 'output')}; give one name an output."
        )
    names = hashlib.sha256("\n".join(classes.names).encode()).hexdigest()
    name = (
        f"{own.name}-{names[:_HASH_DIGITS]}"  # another network to the caches: their results have class names
    )
    notes = tuple(note for note in own.tagger.info.notes if note != NUMBERED)
    info = replace(own.tagger.info, classes=classes, notes=notes)
    return _kept(own.title, name, own.tagger.network, info)


def with_outputs(own: OwnNetwork, *, logits: bool) -> OwnNetwork:
    """An ONNX file whose outputs are read as logits or as probabilities, as its visitor says."""
    network = own.tagger.network
    assert isinstance(network, OnnxNetwork)
    notes = tuple(
        note for note in own.tagger.info.notes if note not in (ASSUMED_LOGITS, ASSUMED_PROBABILITIES)
    )
    name = f"{own.name}-{'logits' if logits else 'probabilities'}"
    return _kept(own.title, name, network.with_logits(logits), replace(own.tagger.info, notes=notes))


def _kept(title: str, name: str, network: Network | OnnxNetwork, info: CheckpointInfo) -> OwnNetwork:
    """The network under its name; one that is held already, and works, in its place."""
    known = _known.get(name)
    if known is None or known.gone:
        known = _known[name] = OwnNetwork(name, title, Tagger(network, replace(info, name=name)))
    return known


def find_own(name: str) -> OwnNetwork | None:
    """A network that some session holds, by its name."""
    return _known.get(name)


def title(name: str) -> str:
    """A network's name for people, of the list or of a visitor's own. Raises ``CheckpointError``."""
    own = find_own(name)
    return own.title if own else checkpoints.entry(name).title


def titles(names: Sequence[str]) -> tuple[str, ...]:
    """The titles of networks that are shown together, all different.

    Files of one name get a part of their sha256; the same network twice its places in the sequence. Raises ``CheckpointError``.
    """
    shown = [title(name) for name in names]
    for place, name in enumerate(names):
        own = find_own(name)
        if own is not None and any(title(other) == own.title for other in names if other != name):
            shown[place] = f"{own.title} ({own.tagger.info.sha256[:_SHOWN_DIGITS]})"
    return tuple(
        f"{each} ({place})" if shown.count(each) > 1 else each for place, each in enumerate(shown, 1)
    )


def file_bytes(name: str) -> int:
    """Size of a network's file."""
    own = find_own(name)
    return own.tagger.info.size_bytes if own else checkpoints.path_of(checkpoints.entry(name)).stat().st_size


def is_demonstration(name: str) -> bool:
    """Whether a network is one of those that are part of Pannscope."""
    return find_own(name) is None and checkpoints.entry(name).kind == "embedded"


@lru_cache(maxsize=1)
def get_holds() -> Holds:
    """The process's one ``Holds``."""
    return Holds(most_bytes(total_memory(), config.get_option("server.maxUploadSize") * 2**20))
