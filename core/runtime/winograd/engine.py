"""The engine: a whole CNN14 on the kernels.

C1 to C4 hold nearly all of a clip's feature maps: they run on pieces of time that overlap by their convolutions' receptive field, so that
a window of 30 s takes little more memory than one of 5 s. Convolution being local, the result differs by rounding only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor

from core.models.cnn import LAYERS, Cnn14
from core.models.folding import band_normalization
from core.runtime.memory import page_out_weights
from core.runtime.profiles import PROFILES, Profile
from core.runtime.winograd.layer import FirstLayer, Layer
from core.runtime.winograd.maps import Array, Workspace, close
from core.runtime.winograd.native import Native, native

_LOCAL = 4  # C1 to C4, with two poolings
_POOLED = 4  # frames that two poolings average to one
_PIECE_FRAMES = 256
"""Frames of a piece: C1's 64 maps of them are 4 MB, of 30 s they would be 52 MB."""

_STEP = 8
"""Pieces begin at multiples of it: a tile has four frames at most, and C3's are twice as long as C1's. As halo on either side it covers C1
and C2, which reach one frame each, and C3 and C4, which reach two each."""


class WinogradEngine:
    """Runs C1 to C12 in float32 on Pannscope's own kernels; the front end and the two linear layers are the model's own.

    It keeps a transformed copy of the convolutions' weights. Raises ``EngineError`` where the kernels cannot run.
    """

    def __init__(self, model: Cnn14, profile: Profile, threads: int, kernels: Native | None = None) -> None:
        self.name, self.why = "winograd", ""
        self.profile = profile
        self._model = model
        self._kernels = kernels or native()
        self._scale, self._shift = band_normalization(model)
        self._first = FirstLayer(self._kernels, model, threads)
        self._layers = [
            Layer(self._kernels, model, layer, profile.algorithms(layer), threads) for layer in LAYERS[1:]
        ]
        self._for_few_columns: list[Layer] = []
        self._threads = threads
        self._free: list[Workspace] = []
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of its copy of the weights."""
        return self._first.nbytes + sum(layer.nbytes for layer in {*self._layers, *self._for_few_columns})

    def layers_for_few_columns(self) -> tuple[FirstLayer, list[Layer]]:
        """C1 and C2 to C12 as they are fastest on a few columns, where reading weights is most of the time: those of the profile ``small``."""
        with self._guard:
            if not self._for_few_columns:
                small = PROFILES["small"]
                self._for_few_columns = [
                    own
                    if (own.time, own.bands) == small.algorithms(own.name)
                    else Layer(
                        self._kernels, self._model, own.name, small.algorithms(own.name), self._threads
                    )
                    for own in self._layers
                ]
        return self._first, self._for_few_columns

    def probabilities(self, waveforms: Tensor) -> Tensor:
        return self.outputs(waveforms)[0]

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            logmels = self._model.front_end(waveforms)
            features = torch.stack([self.maps(logmel[0].numpy()) for logmel in logmels])
            embeddings = self._model.embed(features)
            probabilities = torch.sigmoid(self._model.classify(embeddings))
        if logmels.shape[2] > self.profile.kept_frames:
            # The buffers are freed, and trimmed off the heap with this; the linear layers' 30 MB are read again from the file.
            for linear in (self._model.fc1, self._model.fc_audioset):
                page_out_weights(linear)
        return probabilities, embeddings

    def layer_times(self, logmel: Array) -> dict[str, float]:
        """Milliseconds of every layer (its pooling with it) and of the rest, for one log-mel (1, frames, mel_bins)."""
        times: dict[str, float] = {}
        with torch.inference_mode():
            maps = self.maps(logmel[0], times)
            started = time.perf_counter()
            torch.sigmoid(self._model.head(maps[None]))
        return times | {"rest": 1e3 * (time.perf_counter() - started)}

    def maps(self, logmel: Array, times: dict[str, float] | None = None) -> Tensor:
        """C12's maps (filters, frames, bands) of one log-mel (frames, mel_bins)."""
        spent = dict.fromkeys(LAYERS, 0.0) if times is None else times
        with self._workspace(len(logmel)) as space:
            maps, frames, bands = self._first_layers(logmel * self._scale + self._shift, space, spent)
            maps, frames, bands = self._run(LAYERS[_LOCAL:], maps, (frames, bands), space, spent)
            inside = maps[:, 1 : frames + 1, 1 : bands + 1].transpose(0, 3, 1, 2)
            kept = inside.reshape(-1, frames, bands)[: self._model.config.widths[-1]]
            return torch.from_numpy(kept.copy())  # not a view: the buffers are reused

    def _first_layers(
        self, logmel: Array, space: Workspace, spent: dict[str, float]
    ) -> tuple[Array, int, int]:
        """C4's pooled maps of a whole normalised log-mel, with their number of frames and bands."""
        total = len(logmel) // 2 // 2
        joined = space.array("joined", 0)
        bands = 0
        for start, end in pieces(len(logmel)):
            begin = max(0, start - _STEP)
            piece = logmel[begin : end + _STEP]
            began = time.perf_counter()
            maps = self._first.run(piece, space, "maps 0")
            spent[LAYERS[0]] = spent.get(LAYERS[0], 0.0) + 1e3 * (time.perf_counter() - began)
            maps, frames, bands = self._run(LAYERS[1:_LOCAL], maps, piece.shape, space, spent)
            if frames == total:  # all in one piece
                return maps, frames, bands
            if not joined.size:
                joined = space.maps("joined", len(maps), total, bands, maps.shape[3], rows=total)
            first, last = start // _POOLED, min(end // _POOLED, total)
            inside = (start - begin) // _POOLED + 1
            joined[:, first + 1 : last + 1, 1:-1] = maps[:, inside : inside + last - first, 1:-1]
        close(joined, total)
        return joined, total, bands

    def _run(
        self,
        names: tuple[str, ...],
        maps: Array,
        size: tuple[int, ...],
        space: Workspace,
        spent: dict[str, float],
    ) -> tuple[Array, int, int]:
        """The output maps of some of C2 to C12 one after the other, with their number of frames and bands."""
        frames, bands = size
        for name in names:
            number = LAYERS.index(name)
            began = time.perf_counter()
            maps, frames, bands = self._layers[number - 1].run(
                maps, frames, bands, space, f"maps {number % 2}"
            )
            spent[name] = spent.get(name, 0.0) + 1e3 * (time.perf_counter() - began)
        return maps, frames, bands

    @contextmanager
    def _workspace(self, frames: int) -> Iterator[Workspace]:
        """Buffers for one clip: those of the last one, unless another thread uses them."""
        with self._guard:
            space = self._free.pop() if self._free else Workspace()
        yield space
        if frames <= self.profile.kept_frames:
            with self._guard:
                if not self._free:
                    self._free.append(space)


def pieces(frames: int) -> list[tuple[int, int]]:
    """First and last frame (exclusive) of the pieces that C1 to C4 run on.

    >>> pieces(1_001)
    [(0, 248), (248, 504), (504, 752), (752, 1001)]
    """
    count = max(1, round(frames / _PIECE_FRAMES))
    edges = [round(frames * edge / count / _STEP) * _STEP for edge in range(count)]
    return list(pairwise([*edges, frames]))
