"""ncnn: a fast engine on a CPU, behind Pannscope's own front end; float32 throughout.

The network is split into parts with settings of their own (see ``profiles``). The first two, C1 to C8, hold nearly all of a clip's
feature maps: they run on pieces of time that overlap by their convolutions' receptive field, so that maps stay in the processor's cache
and a long clip takes little more memory than a short one. Convolution being local, the result differs by rounding only.
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
from core.models.network import Network
from core.runtime.engine import EngineError
from core.runtime.ncnn_graph import (
    EMBEDDING,
    INPUT,
    OUTPUT,
    Step,
    body,
    param_text,
    parts,
    pooled,
    weight_pieces,
)
from core.runtime.profiles import FULL, NONE, SMALL_ONLY, Profile

PIECE_FRAMES = 256
"""Frames that C1 to C4 run on at once: C1's 64 maps of them are 4 MB. Of 128 to 4096 measured, 256 took least time, a fifth less than a
whole clip of 10 s. C5 to C8 run on as many of their own frames, which are four times as long."""

_LOCAL_PARTS = 2  # C1 to C4 and C5 to C8; the others run on the whole clip
_POOLED = 4  # frames that a part's two poolings average to one
_HALO = 8
"""Frames on either side of a piece's own: a part's first two convolutions reach 1 each, the others, after a pooling, 2 each; rounded up
to a multiple of the two poolings' 4."""

_GROWTH = {FULL: 36 / 9, SMALL_ONLY: 16 / 9, NONE: 1.0}
"""Size of transformed weights to that of weights, by the tiles. (For narrow layers ncnn takes 64 / 9, which is few bytes.)"""

_SIXTEEN_BIT = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage")


def runs(network: Network) -> bool:
    """Whether ncnn runs it: a CNN14, the one network that is written for it (faster than onnxruntime: 113 and 131 ms for 10 s)."""
    return isinstance(network, Cnn14)


class NcnnEngine:
    """Runs a network's body in ncnn. It keeps ``model``'s front end, and a transformed copy of the weights.

    Raises ``EngineError`` where ncnn is not installed or refuses the network.
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
        # One store of buffers for all parts: separate ones would each keep their own, and never free them.
        self._blobs, self._workspace = self._ncnn.PoolAllocator(), self._ncnn.PoolAllocator()
        self._lasts = [last for last, _ in profile.ncnn]
        self._ends = [*(pooled(last) for last in self._lasts[:-1]), OUTPUT]
        split = parts(body(model), self._ends[:-1])
        self._nets = [
            self._net(steps, winograd, threads)
            for steps, (_, winograd) in zip(split, profile.ncnn, strict=True)
        ]

    def probabilities(self, waveforms: Tensor) -> Tensor:
        return self.outputs(waveforms)[0]

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            logmels = self._front_end(waveforms).numpy()
        rows = [self.body(logmel) for logmel in logmels]
        probabilities, embeddings = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        return probabilities, embeddings

    def body(
        self, logmel: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Probabilities (classes,) and embedding (units,) of one log-mel, (1, frames, mel_bins)."""
        maps = logmel
        for part in range(_LOCAL_PARTS):
            pieces = [
                np.array(self._run(part, self._ncnn.Mat(piece))[0])[:, own] for piece, own in _pieces(maps)
            ]
            maps = np.ascontiguousarray(np.concatenate(pieces, axis=1))
        mat = self._ncnn.Mat(maps)  # a view: ``maps`` has to stay
        last = len(self._nets) - 1
        for part in range(_LOCAL_PARTS, last):
            (mat,) = self._run(part, mat)
        embedding, probabilities = map(np.array, self._run(last, mat, EMBEDDING, OUTPUT))
        if logmel.shape[1] > self.profile.kept_frames:
            self._blobs.clear()
            self._workspace.clear()
        return probabilities, embedding

    def layer_times(self, logmel: npt.NDArray[np.float32]) -> dict[str, float]:
        """Milliseconds of every layer (its pooling with it) and of the rest, for one log-mel, in the network's order."""
        times: dict[str, float] = {}
        maps = logmel
        for part, (first, last) in enumerate(
            pairwise([0, *(LAYERS.index(last) + 1 for last in self._lasts)])
        ):
            local = part < _LOCAL_PARTS
            outputs = []
            for piece, own in _pieces(maps) if local else [(maps, slice(None))]:
                extractor = self._extractor(part, self._ncnn.Mat(piece))
                for layer in LAYERS[first:last]:
                    blob = pooled(layer) if ends_block(layer) and layer != LAYERS[-1] else layer
                    times[layer] = times.get(layer, 0.0) + self._timed(extractor, blob)
                if self._ends[part] == OUTPUT:
                    times["rest"] = self._timed(extractor, OUTPUT)
                output = np.array(extractor.extract(self._ends[part])[1])
                outputs.append(output[:, own] if local else output)
            maps = np.ascontiguousarray(np.concatenate(outputs, axis=1)) if local else outputs[0]
        return times

    def _timed(self, extractor: Any, blob: str) -> float:
        started = time.perf_counter()
        extractor.extract(blob, 1)
        return 1e3 * (time.perf_counter() - started)

    def _run(self, part: int, mat: Any, *blobs: str) -> list[Any]:
        """A part's output for an input; other blobs of it where they are named, in its order."""
        extractor = self._extractor(part, mat)
        # Between parts a Mat keeps ncnn's packing (type 1); numpy takes it unpacked.
        packing = 1 if _LOCAL_PARTS <= part < len(self._nets) - 1 else 0
        outputs = []
        for blob in blobs or (self._ends[part],):
            code, output = extractor.extract(blob, packing)
            if code != 0:
                raise EngineError(f"ncnn stopped with code {code} in {blob}; `--runtime torch` avoids it.")
            outputs.append(output)
        return outputs

    def _extractor(self, part: int, mat: Any) -> Any:
        extractor = self._nets[
            part
        ].create_extractor()  # one per call: threads may share nets, not extractors
        extractor.set_blob_allocator(self._blobs)
        extractor.set_workspace_allocator(self._workspace)
        extractor.input(INPUT if part == 0 else self._ends[part - 1], mat)
        return extractor

    def _net(self, steps: list[Step], winograd: str, threads: int) -> Any:
        net = self._ncnn.Net()
        options = net.opt
        options.num_threads = threads
        for kind in _SIXTEEN_BIT:
            setattr(options, f"use_{kind}", False)
        options.use_winograd_convolution = winograd != NONE
        options.use_winograd43_convolution = options.use_winograd63_convolution = winograd == FULL
        if (
            net.load_param_mem(param_text(steps)) != 0
            or net.load_model(_reader(self._ncnn, weight_pieces(steps))) != 0
        ):
            raise EngineError("ncnn refuses the network that was written for it; please report it.")
        return net


def _weight_bytes(model: Cnn14, profile: Profile) -> int:
    """Bytes of the weights once ncnn has transformed them."""
    total, parts_of = model.fc1.weight.nbytes + model.fc_audioset.weight.nbytes, iter(profile.ncnn)
    last, kind = next(parts_of)
    for layer in LAYERS:
        total += round(model.convolution(layer).weight.nbytes * _GROWTH[kind])
        if layer == last:
            last, kind = next(parts_of, (last, kind))
    return total


def _pieces(maps: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.float32], slice]]:
    """The pieces that a part runs on, (channels, frames, bands), with the frames of its output that are the piece's own."""
    frames = maps.shape[1]
    count = max(1, frames // PIECE_FRAMES)
    edges = [round(frames * edge / count / _POOLED) * _POOLED for edge in range(count)] + [frames]
    for start, end in pairwise(edges):
        begin = max(0, start - _HALO)
        first = (start - begin) // _POOLED
        own = slice(first, first + (end - start) // _POOLED)
        yield np.ascontiguousarray(maps[:, begin : end + _HALO]), own


def _reader(ncnn: Any, pieces: Iterator[bytes | memoryview]) -> Any:
    """A source from which ncnn copies weights piece by piece, so that no second copy of all of them is in memory.

    (From a block of memory it would use them in place, and the whole block would have to be kept.)
    """
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)

    class Reader(ncnn.DataReader):
        """Passes on the pieces in amounts of ncnn's choosing."""

        def __init__(self) -> None:
            super().__init__()
            self._piece = np.empty(0, np.uint8)

        def read(self, buffer: Any, size: int) -> int:
            """Copy ``size`` bytes to ``buffer``, a capsule; fewer at the end."""
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
