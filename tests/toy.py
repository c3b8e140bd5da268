"""An architecture that Pannscope does not have: what docs/adding-a-model.md asks for, a module and an entry."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.frontend import FRONT_END
from core.models.network import LogMelNetwork
from core.models.registry import published_entry


class Toy(LogMelNetwork):
    """A convolution, a residual block with a depthwise convolution in it, and one more convolution."""

    def __init__(self, classes: int) -> None:
        super().__init__(FRONT_END)
        self.first, self.norm1 = nn.Conv2d(1, 16, 5, padding=2, bias=False), nn.BatchNorm2d(16)
        self.inside, self.norm2 = nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24)
        self.depthwise, self.norm3 = (
            nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False),
            nn.BatchNorm2d(24),
        )
        self.back, self.norm4 = nn.Conv2d(24, 16, 1, bias=False), nn.BatchNorm2d(16)
        self.last, self.norm5 = nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.add_head(32, 20, classes)

    def maps(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.relu_(self.norm1(self.first(x))), 4)
        inside = F.relu_(self.norm2(self.inside(x)))
        inside = F.relu_(self.norm3(self.depthwise(inside)))
        x = F.avg_pool2d(F.relu_(x + self.norm4(self.back(inside))), 4)
        return F.relu_(self.norm5(self.last(x)))


ENTRY = published_entry("toy", "Toy", "Nobody et al., A network for a test", Toy)
