"""CNN14's body as ncnn reads it: log-mel -> probabilities, any number of frames.

Written directly, in milliseconds: ncnn's ``.param`` is a list of layers in text and its ``.bin`` the weights one after the
other (https://github.com/Tencent/ncnn/wiki, "param and model file structure" and "operation param weight table"). The input
blob ``logmel`` is (1, frames, 64) in dB, as ``core.logmel.LogMel`` computes it; the output ``probabilities`` has a value a class.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from core.errors import ExportError
from core.export.folding import Array, folded_bias, folded_weight, normalisation, plain
from core.export.packages import require
from core.models.cnn import LAYERS, Cnn14, ends_block

MAGIC = 7767517
"""The first line of every ``.param`` text file."""

_FLOAT32 = b"\0\0\0\0"
"""The tag before a weight block that is stored as float32; blocks that are always float32 (biases) have none."""

_RELU = "9=1"  # activation_type 1, of Convolution and InnerProduct
_MULTIPLY, _ADD = "0=2", "0=0"  # op_type of BinaryOp
_MAX, _MEAN = "0=4", "0=3"  # operation of Reduction


class _Writer:
    """Collects layers and their weights in the order in which ncnn reads both."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.blobs = 0
        self.weights = io.BytesIO()

    def layer(self, kind: str, name: str, inputs: list[str], outputs: list[str], *parameters: str) -> str:
        words = [kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *parameters]
        self.lines.append(" ".join(words))
        self.blobs += len(outputs)
        return outputs[0]

    def tagged(self, weights: Array) -> int:
        """Append a weight block; returns its number of values, which the layer states."""
        self.weights.write(_FLOAT32)
        self.plain(weights)
        return weights.size

    def plain(self, weights: Array) -> None:
        self.weights.write(np.ascontiguousarray(weights, dtype="<f4").data)

    def constant(self, name: str, bands: Array) -> str:
        """A value for every mel band, for all frames: shape (1, 1, bands)."""
        self.layer("MemoryData", name, [], [name], f"0={bands.size}", "1=1", "2=1")
        self.plain(bands)
        return name


def ncnn_files(model: Cnn14) -> tuple[str, bytes]:
    """The texts of ``model.param`` and ``model.bin``, float32, batch norm folded in.

    Parameters
    ----------
    model : the network, of any widths; it is left as it is.
    """
    writer = _Writer()
    scale, shift = normalisation(model)
    x = writer.layer("Input", "logmel", [], ["logmel"])
    x = writer.layer("BinaryOp", "scaled", [x, writer.constant("band_scale", scale)], ["scaled"], _MULTIPLY)
    x = writer.layer(
        "BinaryOp", "normalised", [x, writer.constant("band_shift", shift)], ["normalised"], _ADD
    )
    for layer, width in zip(LAYERS, model.config.widths, strict=True):
        values = writer.tagged(folded_weight(model, layer))
        writer.plain(folded_bias(model, layer))
        x = writer.layer(
            "Convolution", layer, [x], [layer], f"0={width}", "1=3", "4=1", "5=1", f"6={values}", _RELU
        )
        if ends_block(layer) and layer != LAYERS[-1]:
            # mean of 2 x 2, a remainder of one frame left out (pad_mode 1), as PyTorch does it
            x = writer.layer(
                "Pooling", f"{layer}.pooled", [x], [f"{layer}.pooled"], "0=1", "1=2", "2=2", "5=1"
            )
    bands = writer.layer("Reduction", "bands", [x], ["bands"], _MEAN, "1=0", "-23303=1,-1", "4=0", "5=1")
    writer.layer("Split", "twice", [bands], ["bands.peak", "bands.mean"])
    peak = writer.layer(
        "Reduction", "peak", ["bands.peak"], ["peak"], _MAX, "1=0", "-23303=1,-1", "4=0", "5=1"
    )
    mean = writer.layer(
        "Reduction", "mean", ["bands.mean"], ["mean"], _MEAN, "1=0", "-23303=1,-1", "4=0", "5=1"
    )
    x = writer.layer("BinaryOp", "summary", [peak, mean], ["summary"], _ADD)
    for name, module, activation in (("fc1", model.fc1, [_RELU]), ("logits", model.fc_audioset, [])):
        values = writer.tagged(plain(module.weight))
        writer.plain(plain(module.bias))
        x = writer.layer(
            "InnerProduct", name, [x], [name], f"0={module.out_features}", "1=1", f"2={values}", *activation
        )
    writer.layer("Sigmoid", "probabilities", [x], ["probabilities"])
    head = f"{MAGIC}\n{len(writer.lines)} {writer.blobs}\n"
    return head + "\n".join(writer.lines) + "\n", writer.weights.getvalue()  # which shares its memory


class NcnnNetwork:
    """The body run by ncnn in float32 behind our own front end: waveform (1, samples) -> probabilities (1, classes).

    ncnn by default stores and computes in 16 bits where the processor can; here everything is float32, so that what is
    compared is the file. It reads weights where they lie, so ``weights`` is held as long as the network.
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
        code, found = extractor.extract("probabilities")
        if code != 0:
            raise ExportError(f"ncnn stopped with code {code} in the network that was written for it.")
        return torch.from_numpy(np.array(found))[None]
