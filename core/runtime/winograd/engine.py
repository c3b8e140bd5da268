"""The engine: a whole CNN14 on the kernels."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from core.models.cnn import LAYERS, Cnn14
from core.models.folding import band_normalization
from core.runtime.memory import page_out_weights
from core.runtime.profiles import Profile
from core.runtime.winograd.layer import FirstLayer, Layer
from core.runtime.winograd.maps import Array, Workspace
from core.runtime.winograd.native import Native, native


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
        self._free: list[Workspace] = []
        self._guard = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of its copy of the weights."""
        return self._first.nbytes + sum(layer.nbytes for layer in self._layers)

    def probabilities(self, waveforms: Tensor) -> Tensor:
        with torch.inference_mode():
            logmels = self._model.front_end(waveforms)
            features = torch.stack([self.maps(logmel[0].numpy()) for logmel in logmels])
            probabilities = torch.sigmoid(self._model.head(features))
        if logmels.shape[2] > self.profile.kept_frames:
            # The buffers are freed, and trimmed off the heap with this; the linear layers' 30 MB are read again from the file.
            for linear in (self._model.fc1, self._model.fc_audioset):
                page_out_weights(linear)
        return probabilities

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
        frames, bands = logmel.shape
        with self._workspace(frames) as space:
            started = time.perf_counter()
            maps = self._first.run(logmel * self._scale + self._shift, space, "maps 0")
            for number, layer in enumerate(self._layers):
                if times is not None:
                    times[LAYERS[number]] = 1e3 * (time.perf_counter() - started)
                    started = time.perf_counter()
                maps, frames, bands = layer.run(maps, frames, bands, space, f"maps {(number + 1) % 2}")
            if times is not None:
                times[LAYERS[-1]] = 1e3 * (time.perf_counter() - started)
            inside = maps[:, 1 : frames + 1, 1 : bands + 1].transpose(0, 3, 1, 2)
            kept = inside.reshape(-1, frames, bands)[: self._model.config.widths[-1]]
            return torch.from_numpy(kept.copy())  # not a view: the buffers are reused

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
