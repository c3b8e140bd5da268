"""ncnn: the fast engine on a CPU.

Behind our own front end; float32 throughout. The network is cut into parts with settings of their own (see
``profiles``). The first two, C1 to C8, hold nearly all of a clip's feature maps: they run over pieces of time that overlap by what
their convolutions hear, so that maps stay in the processor's cache and a long clip takes little more memory than a short one.
Convolution being local, that changes nothing but the rounding.
"""

from __future__ import annotations

import ctypes
import importlib
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.runtime.engine import EngineError
from core.runtime.ncnn_graph import INPUT, OUTPUT, Step, body, param_text, parts, pooled, weight_pieces
from core.runtime.profiles import FULL, NONE, SMALL_ONLY, Profile

PIECE_FRAMES = 256
"""Frames that C1 to C4 hear at once: C1's 64 maps of them are 4 MB. Of 128 to 4096 measured, 256 took least time, a fifth less than a
whole clip of 10 s. C5 to C8 hear as many of their own, four times as long, frames."""

_LOCAL_PARTS = 2  # C1 to C4 and C5 to C8; what follows hears the whole clip
_POOLED = 4  # frames that a part's two poolings make one of
_HALO = 8
"""Frames on either side that a piece hears besides its own: a part's first two convolutions reach 1 each, the others, after a pooling,
2 each; and a multiple of the two poolings' 4."""

_GROWTH = {FULL: 36 / 9, SMALL_ONLY: 16 / 9, NONE: 1.0}
"""Transformed weights to weights: the kernels' sizes. (For narrow layers ncnn takes 64 / 9, which is little.)"""

_SIXTEEN_BIT = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage")


class NcnnEngine:
    """Runs a network's body in ncnn. It keeps the front end alone of ``model``, and a transformed copy of the weights.

    Raises ``EngineError`` where ncnn is not installed or does not take the network.
    """

    def __init__(self, model: Cnn14, profile: Profile, threads: int) -> None:
        try:
            self._ncnn = importlib.import_module("ncnn")
        except ImportError as error:
            raise EngineError(f"The package ncnn cannot be imported ({error}); pip install ncnn") from error
        self.name, self.why = "ncnn", ""
        self.profile = profile
        self._front_end = model.front_end
        self.nbytes = _weight_bytes(model, profile)
        # One store of buffers for all parts: each of them would keep its own, and never give it back.
        self._blobs, self._workspace = self._ncnn.PoolAllocator(), self._ncnn.PoolAllocator()
        self._lasts = [last for last, _ in profile.ncnn]
        self._ends = [*(pooled(last) for last in self._lasts[:-1]), OUTPUT]
        cut = parts(body(model), self._ends[:-1])
        self._nets = [
            self._net(steps, way, threads) for steps, (_, way) in zip(cut, profile.ncnn, strict=True)
        ]

    def probabilities(self, waveforms: Tensor) -> Tensor:
        with torch.inference_mode():
            logmels = self._front_end(waveforms).numpy()
        return torch.from_numpy(np.stack([self.body(logmel) for logmel in logmels]))

    def body(self, logmel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities (classes,) of one log-mel, (1, frames, mel_bins)."""
        maps = logmel
        for part in range(_LOCAL_PARTS):
            given = [np.array(self._run(part, self._ncnn.Mat(piece)))[:, own] for piece, own in _pieces(maps)]
            maps = np.ascontiguousarray(np.concatenate(given, axis=1))
        passed = self._ncnn.Mat(maps)  # a view: ``maps`` has to stay
        for part in range(_LOCAL_PARTS, len(self._nets)):
            passed = self._run(part, passed)
        found = np.array(passed)
        if logmel.shape[1] > self.profile.kept_frames:
            self._blobs.clear()
            self._workspace.clear()
        return found

    def layer_times(self, logmel: npt.NDArray[np.float32]) -> dict[str, float]:
        """Milliseconds of every layer (its pooling with it) and of what follows them, for one log-mel, in the network's order."""
        times: dict[str, float] = {}
        maps = logmel
        for part, (first, last) in enumerate(
            pairwise([0, *(LAYERS.index(last) + 1 for last in self._lasts)])
        ):
            local = part < _LOCAL_PARTS
            made = []
            for piece, own in _pieces(maps) if local else [(maps, slice(None))]:
                extractor = self._extractor(part, self._ncnn.Mat(piece))
                for layer in LAYERS[first:last]:
                    blob = pooled(layer) if ends_block(layer) and layer != LAYERS[-1] else layer
                    times[layer] = times.get(layer, 0.0) + self._timed(extractor, blob)
                if self._ends[part] == OUTPUT:
                    times["rest"] = self._timed(extractor, OUTPUT)
                found = np.array(extractor.extract(self._ends[part])[1])
                made.append(found[:, own] if local else found)
            maps = np.ascontiguousarray(np.concatenate(made, axis=1)) if local else made[0]
        return times

    def _timed(self, extractor: Any, blob: str) -> float:
        started = time.perf_counter()
        extractor.extract(blob, 1)
        return 1e3 * (time.perf_counter() - started)

    def _run(self, part: int, given: Any) -> Any:
        extractor = self._extractor(part, given)
        # Between parts a Mat stays as ncnn packs it (type 1); numpy takes it unpacked.
        code, found = extractor.extract(
            self._ends[part], 1 if _LOCAL_PARTS <= part < len(self._nets) - 1 else 0
        )
        if code != 0:
            raise EngineError(
                f"ncnn stopped with code {code} in {self._ends[part]}; `--runtime torch` does without it."
            )
        return found

    def _extractor(self, part: int, given: Any) -> Any:
        extractor = self._nets[
            part
        ].create_extractor()  # one a call: nets may be shared by threads, extractors not
        extractor.set_blob_allocator(self._blobs)
        extractor.set_workspace_allocator(self._workspace)
        extractor.input(INPUT if part == 0 else self._ends[part - 1], given)
        return extractor

    def _net(self, steps: list[Step], way: str, threads: int) -> Any:
        net = self._ncnn.Net()
        options = net.opt
        options.num_threads = threads
        for kind in _SIXTEEN_BIT:
            setattr(options, f"use_{kind}", False)
        options.use_winograd_convolution = way != NONE
        options.use_winograd43_convolution = options.use_winograd63_convolution = way == FULL
        if (
            net.load_param_mem(param_text(steps)) != 0
            or net.load_model(_reader(self._ncnn, weight_pieces(steps))) != 0
        ):
            raise EngineError("ncnn does not take the network that was written for it; please report it.")
        return net


def _weight_bytes(model: Cnn14, profile: Profile) -> int:
    """Bytes of the weights once ncnn has transformed them."""
    total, way = model.fc1.weight.nbytes + model.fc_audioset.weight.nbytes, iter(profile.ncnn)
    last, kind = next(way)
    for layer in LAYERS:
        total += round(model.convolution(layer).weight.nbytes * _GROWTH[kind])
        if layer == last:
            last, kind = next(way, (last, kind))
    return total


def _pieces(maps: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.float32], slice]]:
    """What a part hears one after another, (channels, frames, bands), and which of the frames it then gives are the piece's own."""
    frames = maps.shape[1]
    count = max(1, frames // PIECE_FRAMES)
    edges = [round(frames * edge / count / _POOLED) * _POOLED for edge in range(count)] + [frames]
    for start, end in pairwise(edges):
        heard = max(0, start - _HALO)
        first = (start - heard) // _POOLED
        own = slice(first, first + (end - start) // _POOLED)
        yield np.ascontiguousarray(maps[:, heard : end + _HALO]), own


def _reader(ncnn: Any, pieces: Iterator[bytes | memoryview]) -> Any:
    """A source ncnn copies weights from as it asks for them, so that they are never all there twice.

    (From a block of memory it would use them in place, and all of that would have to be kept.)
    """
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

    class Reader(ncnn.DataReader):
        """Hands out the pieces in amounts of ncnn's choosing."""

        def __init__(self) -> None:
            super().__init__()
            self._piece = np.empty(0, np.uint8)

        def read(self, buffer: Any, size: int) -> int:
            """Copy ``size`` bytes to ``buffer``, a capsule; fewer where there are no more."""
            target, done = pointer(buffer, None), 0
            while done < size:
                if not self._piece.size:
                    following = next(pieces, None)
                    if following is None:
                        break
                    self._piece = np.frombuffer(following, np.uint8)
                taken = min(size - done, self._piece.size)
                ctypes.memmove(target + done, self._piece.ctypes.data, taken)
                self._piece = self._piece[taken:]
                done += taken
            return done

    return Reader()
