"""bfloat16 in torch, for processors with instructions for it: half the memory, and on AMX several times the speed, less exactly.

bfloat16 keeps 8 of float32's 24 bits; products are summed in float32. Batch norm is folded into the weights before they are rounded, and
weights are kept in the layout of oneDNN's kernels: torch would reorder them for every clip.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.models.folding import band_normalization, folded_bias, folded_weight
from core.runtime.engine import EngineError
from core.runtime.memory import page_out_weights

_FRAMES, _BANDS = 1001, 64
"""The log-mel of a clip of 10 s, for whose size oneDNN lays out the weights. Other sizes work."""

_HALF = torch.bfloat16


class Bf16Engine:
    """Runs C1 to C12 in bfloat16; the front end and the two linear layers are the model's own, in float32.

    Raises ``EngineError`` where the processor has no instructions for bfloat16: float32 is faster there.
    """

    def __init__(self, model: Cnn14) -> None:
        if not torch.backends.mkldnn.is_available() or not torch.cpu._is_avx512_bf16_supported():
            raise EngineError(
                "This processor has no instructions for bfloat16 (AVX512-BF16 or AMX); float32 is faster on it."
            )
        self.name, self.why = "bf16", ""
        self._model = model
        self._scale, self._shift = (torch.from_numpy(values) for values in band_normalization(model))
        self._layers: list[tuple[Any, Tensor]] = []
        frames, bands = _FRAMES, _BANDS
        for layer in LAYERS:
            weight = torch.from_numpy(folded_weight(model, layer)).to(
                _HALF, memory_format=torch.channels_last
            )
            size = [1, weight.shape[1], frames, bands]
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            self._layers.append(
                (
                    reorder(weight, [1, 1], [1, 1], [1, 1], 1, size),
                    torch.from_numpy(folded_bias(model, layer)).to(_HALF),
                )
            )
            page_out_weights(model.convolution(layer))
            if ends_block(layer):
                frames, bands = frames // 2, bands // 2
        self.nbytes = 2 * sum(model.convolution(layer).weight.numel() for layer in LAYERS)

    def probabilities(self, waveforms: Tensor) -> Tensor:
        return self.outputs(waveforms)[0]

    def outputs(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            x = self._model.front_end(waveforms) * self._scale + self._shift
            x = x.to(_HALF, memory_format=torch.channels_last)
            convolve = torch.ops.mkldnn._convolution_pointwise
            for layer, (weight, bias) in zip(LAYERS, self._layers, strict=True):
                x = convolve(x, weight, bias, [1, 1], [1, 1], [1, 1], 1, "relu", [], "")
                if ends_block(layer) and layer != LAYERS[-1]:
                    x = F.avg_pool2d(x, 2)
            return self._model.outputs_of(x.float())
