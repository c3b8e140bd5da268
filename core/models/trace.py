"""A network's pass as a list of steps, so that it runs layer by layer, or from the middle on.

The network runs once on torch's meta device, on a copy without memory, and every module without parts and every torch function outside of
these is noted with the values that it takes. Nothing is patched, so that other threads can run networks meanwhile.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from core.models.network import Network
from core.models.registry import architecture, empty_network


@dataclass(frozen=True)
class Value:
    """Stands for a tensor of the pass in a step's arguments."""

    index: int


@dataclass(frozen=True)
class Weight:
    """Stands for a parameter or buffer of the network that a step uses outside of its module."""

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a module or function.

    Attributes
    ----------
    target : str or callable
        A module's path, or a function of torch.
    args, kwargs : tuple, dict
        Its arguments, tensors as ``Value``.
    inputs : tuple of int
        The values that it takes.
    output : int
        The value that it makes.
    shape : tuple of int
        Of that value, for a batch of one.
    alias : bool
        Whether the output shares memory with an input, as an in-place activation's does.
    """

    target: str | Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int, ...]
    alias: bool


@dataclass(frozen=True, eq=False)
class Trace:
    """The steps from what the front end returns to the logits, for waveforms of one length.

    Attributes
    ----------
    steps : tuple of Step
        In the order of the pass. Sizes that the network works out from its inputs' are fixed in them.
    freed : tuple of tuple of int
        For every step the values that no later one takes.
    """

    steps: tuple[Step, ...]
    freed: tuple[tuple[int, ...], ...]

    def position(self, path: str) -> int | None:
        """The step that first calls a module; None where the network stores it and never uses it."""
        return next((at for at, step in enumerate(self.steps) if step.target == path), None)

    def users(self, value: int) -> list[Step]:
        """The steps that take a value."""
        return [step for step in self.steps if value in step.inputs]

    def norm_after(self, path: str, network: nn.Module) -> str | None:
        """The batch norm that alone takes a module's output, as it is or averaged over neighbours; None where there is none."""
        at = self.position(path)
        while at is not None:
            users = self.users(self.steps[at].output)
            if len(users) != 1 or not isinstance(users[0].target, str):
                return None
            module = network.get_submodule(users[0].target)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                return users[0].target
            at = self.position(users[0].target) if isinstance(module, nn.AvgPool1d | nn.AvgPool2d) else None
        return None

    def run(
        self,
        network: nn.Module,
        values: dict[int, Any],
        *,
        start: int = 0,
        stop: int | None = None,
        modules: Mapping[str, Callable[..., Any]] | None = None,
        borrowed: Collection[int] = (),
    ) -> Any:
        """Run some of the steps.

        Parameters
        ----------
        network : Module
            The network, or one that differs from it in its weights and widths alone.
        values : dict of int to Tensor
            What the steps so far made, ``start_values`` for the first; it is changed, and values are dropped after their last use.
        start, stop : int
            The first step, and the one after the last; by default all that follow.
        modules : mapping of str to callable, optional
            What takes the place of modules.
        borrowed : collection of int
            Values that others need as they are: no step changes them in place.

        Returns
        -------
        Tensor
            What the last step made.
        """
        last: Any = None
        for step, freed in zip(self.steps[start:stop], self.freed[start:stop], strict=True):
            last = run_step(step, network, values, modules or {}, borrowed)
            values[step.output] = last
            for index in freed:
                del values[index]
        return last


def run_step(
    step: Step,
    network: nn.Module,
    values: Mapping[int, Any],
    modules: Mapping[str, Callable[..., Any]],
    borrowed: Collection[int] = (),
) -> Any:
    """What one step makes of ``values``; see ``Trace.run``."""

    def filled(argument: Any) -> Any:
        if isinstance(argument, Value):
            value = values[argument.index]
            return value.clone() if step.alias and argument.index in borrowed else value
        if isinstance(argument, Weight):
            parent, _, name = argument.name.rpartition(".")
            return getattr(network.get_submodule(parent), name)
        return argument

    args, kwargs = tree_map(filled, (step.args, step.kwargs))
    if isinstance(step.target, str):
        return (modules.get(step.target) or network.get_submodule(step.target))(*args, **kwargs)
    return step.target(*args, **kwargs)


def start_values(inputs: Any) -> dict[int, Tensor]:
    """The first step's values from what the front end returns, a tensor or several."""
    return dict(enumerate(tree_leaves(inputs)))


def trace(network: Network, samples: int) -> Trace:
    """The steps of a network for waveforms of ``samples`` at its own rate; the network itself is not run.

    Examples
    --------
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> model = Cnn14(Cnn14Config((2,) * 12, classes=3, embedding=4)).eval()
    >>> steps = trace(model, 32_000)
    >>> steps.norm_after("conv_block1.conv1", model), steps.steps[-1].target
    ('conv_block1.bn1', 'fc_audioset')
    >>> with torch.inference_mode():
    ...     logits = steps.run(model, start_values(model.front_end(torch.zeros(1, 32_000))))
    >>> torch.equal(logits, model(torch.zeros(1, 32_000)))
    True
    """
    return _trace(network.architecture, network.config, samples)


@lru_cache(maxsize=32)
def _trace(name: str, config: Any, samples: int) -> Trace:
    network = empty_network(architecture(name), config)
    with torch.no_grad():
        inputs = network.front_end(torch.empty(1, samples, device="meta"))
        recorder = _Recorder(network, tree_leaves(inputs))
        with recorder:
            network.head(network.feature_maps(inputs))
    last = {index: at for at, step in enumerate(recorder.steps) for index in step.inputs}
    freed: list[list[int]] = [[] for _ in recorder.steps]
    for index, at in last.items():
        freed[at].append(index)
    return Trace(tuple(recorder.steps), tuple(map(tuple, freed)))


class _Recorder(TorchFunctionMode):
    """Notes the calls of one network, which nothing else runs."""

    def __init__(self, network: nn.Module, inputs: list[Tensor]) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self._alive: list[Any] = [*inputs]  # so that no other tensor takes a tensor's place
        self._index = {id(tensor): index for index, tensor in enumerate(inputs)}
        self._weights = {id(tensor): name for name, tensor in network.named_parameters()}
        self._weights |= {id(tensor): name for name, tensor in network.named_buffers()}
        self._inside = 0
        for path, module in network.named_modules():
            if not any(True for _ in module.children()):
                module.register_forward_pre_hook(self._enter, with_kwargs=True)
                module.register_forward_hook(self._leaver(path), with_kwargs=True)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._inside:
            self._note(func, args, kwargs or {}, output)
        return output

    def _enter(self, *_: Any) -> None:
        self._inside += 1

    def _leaver(self, path: str) -> Callable[..., None]:
        def leave(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            self._inside -= 1
            if not self._inside:
                self._note(path, args, kwargs, output)

        return leave

    def _note(self, target: Any, args: Any, kwargs: Any, output: Any) -> None:
        parts = list(output) if isinstance(output, tuple | list) else []
        made = [part for part in parts or [output] if isinstance(part, Tensor)]
        if not made:
            return  # a size, which the steps have as a number
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        storages = {leaf.untyped_storage()._cdata for leaf in taken}
        alias = any(leaf.untyped_storage()._cdata in storages for leaf in made)
        inputs = tuple(self._index[id(leaf)] for leaf in taken if id(leaf) in self._index)
        named: tuple[Any, Any] = tree_map(self._named, (tuple(args), dict(kwargs)))
        whole = self._add(target, named, inputs, output, alias=alias)
        for at, part in enumerate(parts):
            self._add(operator.getitem, ((Value(whole), at), {}), (whole,), part, alias=False)

    def _add(
        self, target: Any, arguments: tuple[Any, Any], inputs: tuple[int, ...], output: Any, *, alias: bool
    ) -> int:
        index = len(self._alive)
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        self.steps.append(Step(target, arguments[0], arguments[1], inputs, index, shape, alias))
        self._index[id(output)] = index
        self._alive.append(output)
        return index

    def _named(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and id(leaf) in self._index:
            return Value(self._index[id(leaf)])
        return (
            Weight(self._weights[id(leaf)])
            if isinstance(leaf, Tensor) and id(leaf) in self._weights
            else leaf
        )
