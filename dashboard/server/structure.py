"""What the pages know of a network without its weights: its architecture, its widths, and which of its layers can be pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from core.models.groups import chosen_layers, couplings, group_of, narrowed_config, pruned_config
from core.models.registry import architecture
from core.pruning.plan import PruningPlan
from core.pruning.ratios import layers_text


@dataclass(frozen=True)
class Structure:
    """A network by its architecture's name and its configuration.

    Attributes
    ----------
    architecture : str
        A name of the registry.
    config : object
        Of a network of that architecture.

    Examples
    --------
    >>> cnn14 = Structure("cnn14", architecture("cnn14").configure())
    >>> cnn14.layers[0], cnn14.default_layers, cnn14.text(("C7", "C8", "C9"))
    ('C1', ('C7', 'C8', 'C9', 'C10', 'C11', 'C12'), 'C7 to C9')
    """

    architecture: str
    config: Any

    @property
    def title(self) -> str:
        """The architecture's name for people."""
        return architecture(self.architecture).title

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that pruning is asked for, in order. One stands for all that share its filters, and lose them together."""
        return tuple(self.filters)

    @cached_property
    def filters(self) -> dict[str, int]:
        """Filters of each of ``layers``."""
        widths = dict(zip(architecture(self.architecture).layers, self.config.widths, strict=True))
        return {layer: widths[layer] for layer in couplings(self.architecture)}

    @property
    def coupled(self) -> dict[str, tuple[str, ...]]:
        """The other layers that share the filters of each of ``layers``."""
        return {layers[0]: layers[1:] for layers in couplings(self.architecture).values()}

    @cached_property
    def default_layers(self) -> tuple[str, ...]:
        """Those of ``layers`` that one ratio applies to at first: the papers', or all."""
        chosen = {group_of(self.architecture, layer) for layer in chosen_layers(self.architecture, None)}
        return tuple(layer for layer in self.layers if layer in chosen)

    @property
    def numbered(self) -> bool:
        """Whether the papers number the layers (C1, C2 …); others have the names of their modules."""
        return self.layers[0] == "C1"

    def text(self, layers: Sequence[str]) -> str:
        """Layers in short: a range as 'C7 to C12', 'all layers', others listed."""
        return layers_text(layers, self.layers)

    def pruned(self, ratios: Mapping[str, float], round_to: int = 1) -> Structure:
        """The structure after pruning by a ratio a layer; no filter has to be ranked for it."""
        if not ratios:
            return self
        return Structure(self.architecture, pruned_config(self.architecture, self.config, ratios, round_to))

    def after(self, plan: PruningPlan) -> Structure:
        """The structure after pruning by a plan."""
        kept = {layer: len(indices) for layer, indices in plan.kept.items()}
        return Structure(self.architecture, narrowed_config(self.architecture, self.config, kept))
