"""The fast engine of x86 processors: our own kernels, written for CNN14's twelve convolutions and compiled where they run."""

from __future__ import annotations

from core.models.cnn import Cnn14
from core.models.frontend import FRONT_END
from core.models.network import Network


def runs(network: Network) -> bool:
    """Whether the kernels run it: a CNN14 of any widths whose maps have the published numbers of bands, two of them in C11 and C12."""
    return isinstance(network, Cnn14) and network.config.front_end.mel_bins == FRONT_END.mel_bins
