"""Networks of any architecture and any widths, made from the architecture's published network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from core.errors import ModelError
from core.models.fitting import fit, resize, sizes_of
from core.models.frontend import shapes_only
from core.models.layers import LayerModules, convolutions
from core.models.network import Network


@dataclass(frozen=True)
class NetworkConfig:
    """The configuration of a network.

    Attributes
    ----------
    widths : filters of the layers that can be pruned, in the architecture's order.
    classes, embedding : outputs, and the units that they are computed from.
    sizes : (module, inputs, outputs) of every module that is not as in the published network.
    """

    widths: tuple[int, ...]
    classes: int
    embedding: int
    sizes: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class Published:
    """An architecture by its published network: ``make`` builds it for a number of classes, ``outputs`` as published.

    ``samples`` is the length of a waveform that it accepts. ``numbered``: see ``layers.convolutions``.
    """

    make: Callable[[int], Network]
    outputs: int
    samples: int
    numbered: bool = False

    def configure(self, classes: int | None = None) -> NetworkConfig:
        """The published widths; raises ``ModelError`` for no classes."""
        outputs = self.outputs if classes is None else classes
        if outputs < 1:
            raise ModelError(f"A network needs at least one class; got classes={outputs}.")
        return self._describe(self._empty(outputs), ())

    def build(self, config: NetworkConfig) -> Network:
        """A network with random weights, on torch's default device."""
        network = self.make(config.classes)
        resize(network, config.sizes)
        network.config = config
        return network

    def from_state(self, state: Mapping[str, Tensor]) -> NetworkConfig:
        """The configuration that a state dict's shapes show; raises ``ModelError`` where they are not this architecture's."""
        output = f"{self._template.output_layers[0]}.weight"
        if output not in state or state[output].ndim < 2 or state[output].shape[0] < 1:
            raise ModelError(f"{output} is missing")
        network = self._empty(state[output].shape[0])
        return self._describe(network, fit(network, state, self.samples))

    @cached_property
    def modules(self) -> Mapping[str, LayerModules]:
        """The layers that can be pruned, by name."""
        return convolutions(self._template, self.samples, numbered=self.numbered)

    @cached_property
    def _template(self) -> Network:
        return self._empty(self.outputs).eval()

    def _empty(self, classes: int) -> Network:
        with shapes_only():
            return self.make(classes)

    def _describe(self, network: Network, sizes: tuple[tuple[str, int, int], ...]) -> NetworkConfig:
        paths = [layer.convolution for layer in self.modules.values()]
        widths = tuple(sizes_of(network.get_submodule(path))[1] for path in paths)
        embedding, _ = sizes_of(network.get_submodule(network.embedding_layer))
        _, classes = sizes_of(network.get_submodule(network.output_layers[0]))
        return NetworkConfig(widths, classes, embedding, sizes)
