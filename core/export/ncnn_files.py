"""CNN14's body in ncnn's two files, ``.param`` and ``.bin``: log-mel -> probabilities, any number of frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.errors import ExportError
from core.export.packages import require
from core.models.cnn import Cnn14
from core.models.network import Network
from core.runtime import ncnn_engine
from core.runtime.ncnn_graph import body, param_text, weight_pieces


def unsupported(network: Network) -> str:
    """Why there are no such files of a network, in a sentence with what works instead; empty where there are."""
    if ncnn_engine.runs(network):
        return ""
    return f"ncnn's files are written for CNN14 alone, not for {network.architecture}; onnx works, and ncnn's pnnx converts it."


def ncnn_files(model: Cnn14) -> tuple[str, bytes]:
    """The contents of ``model.param`` and ``model.bin`` for a network of any widths: float32, batch norm folded in."""
    steps = body(model)
    return param_text(steps), b"".join(weight_pieces(steps))


class NcnnNetwork:
    """The body run by ncnn in float32 behind our own front end: waveform (1, samples) -> probabilities (1, classes).

    ncnn by default stores and computes in 16 bits where the processor can; here everything is float32, so that the
    comparison is of the file. It uses ``weights`` in place, which therefore lives as long as the network.
    """

    def __init__(self, param: str, weights: bytes, model: Cnn14) -> None:
        ncnn = require("ncnn")
        self._mat, self._weights, self._model = ncnn.Mat, weights, model
        self._net = ncnn.Net()
        self._net.opt.num_threads = torch.get_num_threads()
        for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
            setattr(self._net.opt, f"use_{kind}", False)
        if self._net.load_param_mem(param) != 0:
            raise ExportError("ncnn cannot read the network that was written for it; please report it.")
        self._net.load_model_mem(weights)

    def __call__(self, waveform: Tensor) -> Tensor:
        with torch.inference_mode():
            logmel = np.ascontiguousarray(self._model.front_end(waveform)[0].numpy())
        extractor = self._net.create_extractor()
        extractor.input("logmel", self._mat(logmel))
        code, probabilities = extractor.extract("probabilities")
        if code != 0:
            raise ExportError(f"ncnn stopped with code {code} in the network that was written for it.")
        return torch.from_numpy(np.array(probabilities))[None]
