"""The architectures that Pannscope can build, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor

from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config, config_from_state


@dataclass(frozen=True)
class Architecture:
    """How to build one architecture.

    Attributes
    ----------
    name : as used on the command line and in the manifest.
    layers : the convolutions that can be pruned, in order.
    configure : keyword arguments -> configuration (``Cnn14Config`` …).
    build : configuration -> network with random weights.
    from_state : state dict -> configuration, read off the tensors' shapes.
    """

    name: str
    layers: tuple[str, ...]
    configure: Callable[..., Cnn14Config]
    build: Callable[[Cnn14Config], Cnn14]
    from_state: Callable[[dict[str, Tensor]], Cnn14Config]


ARCHITECTURES = {
    "cnn14": Architecture("cnn14", LAYERS, Cnn14Config, Cnn14, config_from_state),
}


def architecture(name: str) -> Architecture:
    """Look an architecture up by name; raises ``ModelError`` that names the known ones."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        close = get_close_matches(name, ARCHITECTURES, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ModelError(
            f"Unknown architecture {name!r}; Pannscope can build {', '.join(ARCHITECTURES)}.{hint}"
        ) from None
