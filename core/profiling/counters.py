"""Two general counters, run on a copy without memory: thop, which the paper used, and torch's own.

Both walk a network of the same configuration on torch's meta device: shapes only, no weights, no arithmetic. Thop writes
buffers and hooks into what it counts, so it is never run on a network that is in use.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

from core.models.cnn import Cnn14, Cnn14Config
from core.models.frontend import FRONT_END


@lru_cache(maxsize=64)
def thop_macs(config: Cnn14Config, frames: int) -> int:
    """thop's count of the network on a log-mel of ``frames``; pooling and ReLU count 0, as they are functions."""
    from thop import profile as thop_profile  # imports slowly, and only a profile needs it

    macs, _ = thop_profile(_Network(config), inputs=(_logmel(frames),), verbose=False)
    return int(macs)


@lru_cache(maxsize=64)
def flop_counter_macs(config: Cnn14Config, frames: int) -> int:
    """Half of the operations that torch's ``FlopCounterMode`` sees: it counts a multiplication and an addition as two."""
    from torch.utils.flop_counter import FlopCounterMode  # imports slowly, and only a cross-check needs it

    network, logmel = _Network(config).eval(), _logmel(frames)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(logmel)
    return counter.get_total_flops() // 2


class _Network(nn.Module):
    """A CNN14 from the log-mel on: the front end is an FFT, which neither counter would count as the paper does."""

    def __init__(self, config: Cnn14Config) -> None:
        super().__init__()
        with torch.device("meta"):
            self.model = Cnn14(config)

    def forward(self, logmel: torch.Tensor) -> torch.Tensor:
        return self.model.network(logmel)


def _logmel(frames: int) -> torch.Tensor:
    return torch.zeros(1, 1, frames, FRONT_END.mel_bins, device="meta")
