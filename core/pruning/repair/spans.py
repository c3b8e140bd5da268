"""More rows for a linear layer that has one a window: what it would take of spans of the window.

A whole window alone is one row of the least squares, far too few for thousands of inputs. The steps from the last feature maps over time
to the layer, mostly a pooling, run on half-overlapping spans of these maps as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.models.network import Network
from core.models.trace import Trace, run_step

_SPAN_FRAMES = 4  # the shortest span; of CNN14's C12 that is 1.28 s


@dataclass(frozen=True, eq=False)
class Spans:
    """How one linear layer's input follows from feature maps over time.

    Attributes
    ----------
    sources : mapping of int to int
        The values that are cut, and which of their axes is time.
    steps : tuple of int
        The steps from there to the layer's input.
    frames : int
        Length of the sources.
    """

    sources: Mapping[int, int]
    steps: tuple[int, ...]
    frames: int

    @classmethod
    def before(cls, network: Network, trace: Trace, index: int) -> Spans | None:
        """The spans of the linear layer that step ``index`` runs; None where it has many rows already, or no maps to cut."""
        made = {step.output: at for at, step in enumerate(trace.steps)}
        sources, steps, waiting = {}, set[int](), [trace.steps[index].inputs[0]]
        if len(trace.steps[made[waiting[0]]].shape) != 2:
            return None
        while waiting:
            value = waiting.pop()
            at = made.get(value)
            if at is None:
                return None
            step = trace.steps[at]
            axis = network.time_axis if len(step.shape) == 4 else 2
            if len(step.shape) > 2 and step.shape[axis] > 1:
                sources[value] = axis
                continue
            if isinstance(step.target, str) and not _keeps_rows(network.get_submodule(step.target)):
                return None
            steps.add(at)
            waiting += step.inputs
        lengths = {trace.steps[made[value]].shape[axis] for value, axis in sources.items()}
        return cls(sources, tuple(sorted(steps)), lengths.pop()) if len(lengths) == 1 else None

    def rows(self, network: Network, trace: Trace, values: Mapping[int, Tensor], whole: Tensor) -> Tensor:
        """The layer's input for the window, ``whole`` (1, inputs), and for its spans: (rows, inputs)."""
        rows, length = [whole], _SPAN_FRAMES
        while length < self.frames:
            for start in range(0, self.frames - length + 1, length // 2):
                part = {
                    value: values[value].narrow(axis, start, length) for value, axis in self.sources.items()
                }
                for at in self.steps:
                    part[trace.steps[at].output] = run_step(trace.steps[at], network, part, {}, self.sources)
                rows.append(part[trace.steps[self.steps[-1]].output])
            length *= 2
        # Where maps are flattened, a span has fewer inputs than the layer.
        return torch.cat([row for row in rows if row.shape == whole.shape])


def _keeps_rows(module: nn.Module) -> bool:
    """Whether a module may run on a span: one without weights, or a linear layer."""
    return isinstance(module, nn.Linear) or not any(True for _ in module.parameters())
