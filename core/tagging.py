"""Tagging a clip: a loaded network with its classes, and the probabilities that it outputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from core.audio import SAMPLE_RATE, Clip
from core.checkpoints import CheckpointInfo, entry, load_checkpoint, path_of, status
from core.classes import ClassSet
from core.errors import CheckpointError
from core.models.network import Network
from core.models.registry import architecture as known_architecture
from core.onnx_tagger.network import SUFFIX, OnnxNetwork, load_onnx, not_prunable
from core.runtime.builder import EngineBuilder
from core.runtime.choice import check_runtime, engine_for
from core.runtime.engine import Engine, TorchEngine
from core.runtime.memory import trim_heap
from core.tags import Tags
from core.windows import (
    EMBEDDING_SECONDS,
    Interface,
    clip_windows,
    input_notes,
    least_samples,
    mean_probabilities,
    split_windows,
    window_mean,
)

EMBEDDED_PAIR = ("demo-cnn14", "demo-epanns")
OFFICIAL_PAIR = ("cnn14", "epanns")


class Tagger:
    """A loaded network that tags clips. Safe to share between threads: tagging changes nothing in it.

    Parameters
    ----------
    network : Network or OnnxNetwork
        The network; it must not be changed afterwards.
    info : CheckpointInfo
        Its name, its classes, and where it comes from.
    runtime : str
        Which engine runs it, see ``core.runtime.engine_for``. The engine is built when the tagger is first used: a network that is
        loaded to be pruned or exported needs none.
    background : EngineBuilder, optional
        The tagger then never waits for its engine: it runs on torch, requests the engine afterwards, and switches to it as soon as
        it is ready.
    """

    def __init__(
        self,
        network: Network | OnnxNetwork,
        info: CheckpointInfo,
        runtime: str = "auto",
        background: EngineBuilder | None = None,
    ) -> None:
        check_runtime(runtime)
        self.network = network.eval() if isinstance(network, Network) else network
        self.info = info
        self._requested = runtime
        self._background = background
        self._engine: Engine | None = None if isinstance(network, Network) else network
        self._building = threading.Lock()

    @property
    def model(self) -> Network:
        """The network with its layers; raises ``ModelError`` for an ONNX file's, which can only be run."""
        if isinstance(self.network, OnnxNetwork):
            raise not_prunable(self.info.path.name)
        return self.network

    @property
    def engine(self) -> Engine:
        """The engine that runs the network now; raises ``EngineError`` where a runtime was named that cannot run it."""
        if self._engine is None and self._background is not None:
            return TorchEngine(self.model, "torch, until the engine for this network is ready")
        return self.build_engine()

    def build_engine(self) -> Engine:
        """The network's own engine, built now unless it is ready."""
        with self._building:
            if self._engine is None:
                self._engine = engine_for(self.model, self._requested)
            return self._engine

    @property
    def engine_ready(self) -> bool:
        """Whether the network's own engine has been built."""
        return self._engine is not None

    @property
    def fell_back(self) -> bool:
        """Whether the network runs on torch because a faster engine, made for its architecture, could not be used."""
        return isinstance(self._engine, TorchEngine) and self._engine.fell_back

    @property
    def runtime(self) -> str:
        """Name of the engine that runs the network now: "torch" …"""
        return self.engine.name

    @property
    def runtime_why(self) -> str:
        """Why it is that one, in a sentence."""
        return self.engine.why

    @property
    def nbytes(self) -> int:
        """Bytes of the network's parameters, and of what its engine keeps besides them."""
        return self.parameter_bytes + self.engine_bytes

    @property
    def engine_bytes(self) -> int:
        """Bytes that the engine keeps besides the network's parameters; 0 without an engine, or with torch, which uses those."""
        engine = self._engine
        if engine is None or engine.name == "torch":
            return 0
        return int(getattr(engine, "nbytes", self.parameter_bytes))

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the network's parameters; of an ONNX file also of the process that holds it."""
        if isinstance(self.network, OnnxNetwork):
            return self.network.parameter_bytes
        return sum(parameter.nbytes for parameter in self.network.parameters())

    @property
    def name(self) -> str:
        """The model's name as the manifest has it, or the checkpoint's own."""
        return self.info.name

    @property
    def entry(self) -> Interface:
        """The network's rate, its lengths, and what it outputs; of a network that Pannscope can build, its architecture."""
        if isinstance(self.network, OnnxNetwork):
            return self.network.entry
        return known_architecture(self.network.architecture)

    @property
    def classes(self) -> ClassSet:
        """The classes of the outputs, in order."""
        return self.info.classes

    def probabilities(self, waveform: np.ndarray) -> np.ndarray:
        """Probabilities of a waveform of any length.

        Parameters
        ----------
        waveform : (samples,) array of float
            At 32 kHz, full scale at ±1, whatever the network's own rate is. It is padded with silence to the shortest length that the
            network takes (CNN14: 0.31 s); over 30 s, or over the only length that it takes, the probabilities of its windows are averaged.

        Returns
        -------
        (classes,) float32

        Raises
        ------
        AudioError
            The samples are integers, NaN or infinite, or not one row.

        Examples
        --------
        >>> tagger = load_tagger("demo-epanns", runtime="torch")
        >>> tagger.probabilities(np.zeros(32_000)).shape
        (527,)
        """
        probabilities = mean_probabilities(self.engine.probabilities, waveform, self.entry)
        self._request_engine()
        return probabilities

    def embedding(self, waveform: np.ndarray) -> np.ndarray:
        """What the output layer computes the tags from, (units,) float32: 2048 units of CNN14 and E-PANNs.

        The waveform is as for ``probabilities``. Over 60 s, or over the only length that the network takes, the embeddings of its windows are
        averaged. Raises ``AudioError`` as that does, and ``ModelError`` for an ONNX file without an output called ``embedding``.

        Examples
        --------
        >>> load_tagger("demo-epanns", runtime="torch").embedding(np.zeros(32_000)).shape
        (512,)
        """
        parts = split_windows(waveform, self.entry, EMBEDDING_SECONDS)
        outputs = [self.engine.outputs(part)[1][0].numpy() for part in parts]
        self._request_engine()
        return window_mean(outputs)

    def embeddings(self, windows: Iterable[np.ndarray]) -> np.ndarray:
        """The embedding of each of several waveforms, which need not have one length: (windows, units) float32.

        Examples
        --------
        >>> load_tagger("demo-epanns", runtime="torch").embeddings(np.zeros((2, 32_000))).shape
        (2, 512)
        """
        rows = []
        for window in windows:
            rows.append(self.embedding(window))
            trim_heap()  # otherwise every window leaves memory in the allocator of another thread
        return np.stack(rows) if rows else np.zeros((0, self.info.embedding), np.float32)

    def tag(self, clip: Clip, on_window: Callable[[int, int], object] = lambda _done, _total: None) -> Tags:
        """Tag a clip, and measure how long that takes; ``on_window`` is called before every window with (done, total).

        Examples
        --------
        >>> from core.examples import example_clip
        >>> tags = load_tagger("demo-cnn14", runtime="torch").tag(example_clip("rain"))
        >>> tags.top(1)[0].name
        'Rain'
        """
        engine, entry = self.engine, self.entry  # built before the clock starts
        spans = clip_windows(max(clip.samples, least_samples(entry)), entry)
        outputs: list[np.ndarray] = []
        latency_ms = 0.0
        with closing(clip.segments(spans)) as parts:
            for part in parts:  # a long clip decodes here, outside the time that is measured
                on_window(len(outputs), len(spans))
                started = time.perf_counter()
                outputs.append(mean_probabilities(engine.probabilities, part, entry))
                latency_ms += 1e3 * (time.perf_counter() - started)
                if len(spans) > 1:
                    trim_heap()  # otherwise every window leaves memory in the allocator of another thread
        self._request_engine()
        return Tags(
            self.name,
            self.classes,
            window_mean(outputs),
            engine.name,
            latency_ms,
            tuple((start / SAMPLE_RATE, end / SAMPLE_RATE) for start, end in spans),
            input_notes(clip, entry),
            self.info.notes,
            "scenes" if entry.output == "scenes" else "tags",
        )

    def _request_engine(self) -> None:
        # After the tags are computed, which had all cores to themselves until then.
        if self._background is not None and not self.engine_ready:
            self._background.request(self)


def default_pair() -> tuple[str, str]:
    """Baseline and candidate by default: the official networks where both are installed, else the embedded pair."""
    installed = all(status(entry(name)) == "installed" for name in OFFICIAL_PAIR)
    return OFFICIAL_PAIR if installed else EMBEDDED_PAIR


def default_baseline() -> str:
    """The model where none is named: CNN14 if it is installed, else the embedded one."""
    official, embedded = OFFICIAL_PAIR[0], EMBEDDED_PAIR[0]
    return official if status(entry(official)) == "installed" else embedded


def load_tagger(
    name: str | None = None,
    *,
    checkpoint: str | Path | None = None,
    architecture: str | None = None,
    ratio: float | None = None,
    classes: ClassSet | Sequence[str] | None = None,
    runtime: str = "auto",
    sample_rate: int | None = None,
    logits: bool | None = None,
) -> Tagger:
    """Load a network that tags clips.

    Parameters
    ----------
    name : str, optional
        A name of the manifest (``pannscope models``); by default ``default_baseline()``.
    checkpoint, architecture : path, str, optional
        A file instead of a name, and its architecture where its tensors do not determine it.
    ratio : float, optional
        The pruning ratio of C7..C12, checked against the widths that the tensors have.
    classes : ClassSet or sequence of str, optional
        The names of the outputs, where the file has none or others.
    runtime : str
        Which engine runs the network: "auto", or a name of ``core.runtime.engine.RUNTIMES``.
    sample_rate, logits : int, bool, optional
        Of an ONNX file that does not say them: the rate of its waveforms in Hz, and whether it outputs logits or probabilities.

    Raises
    ------
    CheckpointError
        The model is not installed, or the file cannot be loaded.
    ModelError
        There is no such runtime.

    Examples
    --------
    >>> tagger = load_tagger("demo-cnn14")
    >>> tagger.name, len(tagger.classes), tagger.info.widths[-1]
    ('demo-cnn14', 527, 512)
    """
    check_runtime(runtime)
    if name is not None and checkpoint is not None:
        raise CheckpointError(
            f"Both a model ({name}) and a checkpoint ({checkpoint}) were given; give one of them."
        )
    load = partial(load_checkpoint, ratio=ratio, classes=classes)
    if checkpoint is not None and Path(checkpoint).suffix.lower() == SUFFIX:
        _check_onnx(Path(checkpoint), architecture, ratio, runtime)
        return Tagger(*load_onnx(Path(checkpoint), classes=classes, sample_rate=sample_rate, logits=logits))
    if sample_rate is not None or logits is not None:
        raise CheckpointError(
            "A sample rate and logits are stated of an ONNX file; of other networks they are known."
        )
    if checkpoint is not None:
        loaded = load(Path(checkpoint), architecture=architecture)
    else:
        chosen = entry(default_baseline() if name is None else name)
        state = status(chosen)
        if state == "published-only":
            raise CheckpointError(
                f"{chosen.name} is known by its published figures only; `pannscope models` lists what can be loaded."
            )
        if state == "available":
            raise CheckpointError(
                f"{chosen.name} is not installed; fetch it first: pannscope fetch {chosen.name}"
            )
        # A listed file is what the list says, however many architectures its tensors fit.
        loaded = load(path_of(chosen), name=chosen.name, architecture=architecture or chosen.architecture)
    return Tagger(loaded.model, loaded.info, runtime)


def _check_onnx(path: Path, architecture: str | None, ratio: float | None, runtime: str) -> None:
    """Raise ``CheckpointError`` for what an ONNX file cannot have."""
    if architecture is not None or ratio is not None:
        raise CheckpointError(
            f"{path} is an ONNX file, which has neither an architecture nor a ratio; leave them out."
        )
    if runtime not in ("auto", OnnxNetwork.name):
        raise CheckpointError(
            f"{path} is an ONNX file, which runs on onnxruntime alone, not on {runtime}; leave the runtime out."
        )
