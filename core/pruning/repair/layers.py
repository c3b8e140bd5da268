"""The repair of one network, step by step of its pass, with what is still needed of all calibration windows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from core.models.fitting import sizes_of
from core.models.groups import INPUTS, OUTPUTS
from core.models.network import Network
from core.models.registry import architecture
from core.models.trace import run_step, start_values, trace
from core.pruning.repair.calibration import Window
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.kernels import Kernel, at, output_size, patches, size_of
from core.pruning.repair.least_squares import Correction, LeastSquares
from core.pruning.repair.moments import match_moments
from core.pruning.repair.spans import Spans

_SAMPLES = 20_000  # positions of a layer's feature maps in its least squares: all of them from CNN14's C7 on, a random subset before

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class LayerRepair:
    """Repairs ``repaired`` in place against the unpruned ``model``.

    Both networks run on all windows, one step of the pass at a time. Where a plain convolution or a linear layer has other inputs than in the
    unpruned network, it is corrected by least squares before it runs; where a batch norm has, its statistics are matched. Depthwise
    convolutions, and what else least squares does not fit, are corrected by the batch norm after them alone.

    Parameters
    ----------
    model, repaired : Network
        The unpruned network, and a copy of the pruned one.
    kept : mapping of (str, int) to (channels,) Tensor
        For each module and axis that lost some, which positions stayed (``groups.kept_positions``).
    windows : sequence of Window
        Calibration windows and their variants.
    config : RepairConfig
        Which corrections to make, and how strong their ridges are.
    on_progress : callable, optional
        Called with (done, total); an exception that it raises ends the repair.

    Attributes
    ----------
    errors : dict
        Each corrected layer's relative squared error {"before", "after"}.
    recalibrated : list of str
        What was corrected by a batch norm alone.
    """

    def __init__(
        self,
        model: Network,
        repaired: Network,
        kept: Mapping[tuple[str, int], Tensor],
        windows: Sequence[Window],
        config: RepairConfig,
        *,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._wide, self._narrow, self._kept, self._config = model, repaired, kept, config
        entry = architecture(model.architecture)
        self._names = {modules.convolution: name for name, modules in entry.modules().items()}
        self._windows = [_Pair(model, repaired, window) for window in windows]
        self._trace = self._windows[0].wide_trace
        self._work = self._what_to_correct()
        if entry.window_samples is None:
            for index, correct in self._work.items():
                if correct == self._reconstruct_linear:
                    for pair in self._windows:
                        pair.cut_before(index, model)
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._done, self._total = 0, len(windows) * (max(self._work, default=-1) + 1)
        self._generator = torch.Generator().manual_seed(0)
        self.errors: dict[str, dict[str, float]] = {}
        self.recalibrated: list[str] = []

    def run(self) -> None:
        """Repair, as far as the last step that has to be corrected."""
        for index in range(max(self._work, default=-1) + 1):
            correct = self._work.get(index)
            if correct:
                correct(index)
            self._run(index)

    def _what_to_correct(self) -> dict[int, Callable[[int], None]]:
        """What each step needs, known from which values are not the unpruned network's any more."""
        work: dict[int, Callable[[int], None]] = {}
        differ: set[int] = set()
        for index, step in enumerate(self._trace.steps):
            changed = any(value in differ for value in step.inputs)
            if isinstance(step.target, str):
                module = self._wide.get_submodule(step.target)
                loses = (step.target, INPUTS) in self._kept
                if isinstance(module, Norm) and changed and self._config.batch_norm:
                    work[index] = self._match
                elif self._config.reconstruct and (loses or (changed and self._inner(step.target))):
                    if isinstance(module, nn.Linear):
                        work[index] = self._reconstruct_linear
                    elif isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups == 1:
                        work[index] = self._reconstruct
                changed = changed or loses
            if changed:
                differ.add(step.output)
        return work

    def _inner(self, path: str) -> bool:
        """Whether a module is no output layer: that one is left as trained, unless it loses inputs itself."""
        return path not in self._wide.output_layers

    def _run(self, index: int) -> None:
        """Both networks' next step. Until a filter is missing they have the same values, and one computation serves both."""
        path = self._trace.steps[index].target
        touched = (path, OUTPUTS) in self._kept or (path, INPUTS) in self._kept
        for pair in self._windows:
            pair.run(index, self._wide, self._narrow, touched=touched)
            self._done += 1
            self._report()

    def _report(self) -> None:
        """Report the progress, which is also where a repair can be stopped."""
        self._on_progress(self._done, self._total)

    def _inputs(self, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The step's input in both networks, window by window."""
        value = self._trace.steps[index].inputs[0]
        for pair in self._windows:
            self._report()
            yield pair.wide[value], pair.narrow[value]

    def _match(self, index: int) -> None:
        path = str(self._trace.steps[index].target)
        before, after = self._wide.get_submodule(path), self._narrow.get_submodule(path)
        assert isinstance(before, Norm)
        assert isinstance(after, Norm)
        match_moments(before, after, self._stayed(path, OUTPUTS), self._inputs(index))
        corrected = self._source(index) or path
        name = self._names.get(corrected, corrected)
        if name not in self.errors:
            self.recalibrated.append(name)

    def _source(self, index: int) -> str | None:
        """The convolution or linear layer whose outputs alone a batch norm takes."""
        path = str(self._trace.steps[index].target)
        for step in self._trace.steps[:index]:
            if (
                isinstance(step.target, str)
                and isinstance(self._wide.get_submodule(step.target), nn.Conv1d | nn.Conv2d | nn.Linear)
                and self._norm_after(step.target) == path
            ):
                return step.target
        return None

    def _norm_after(self, path: str) -> str | None:
        return self._trace.norm_after(path, self._wide)

    def _stayed(self, path: str, axis: int) -> Tensor:
        every = sizes_of(self._wide.get_submodule(path))[1 - axis]
        return self._kept.get((path, axis), torch.arange(every))

    def _reconstruct(self, index: int) -> None:
        """Two corrections of a kernel, the second on top of the first."""
        path = str(self._trace.steps[index].target)
        inputs = self._stayed(path, INPUTS)
        wide, narrow = Kernel.of(self._wide.get_submodule(path)), Kernel.of(self._narrow.get_submodule(path))
        kernel = wide.weight[self._stayed(path, OUTPUTS)]  # (kept, wide inputs, height, width)
        pruned = narrow.weight
        sizes = [size_of(x) for x, _ in self._inputs(index)]
        positions = self._positions(sizes)
        mixture_of = LeastSquares(len(inputs), kernel.shape[1])
        for (x, y), chosen in zip(self._inputs(index), positions, strict=True):
            target = at(x, chosen)
            missing = target.clone()
            missing[:, inputs] -= at(y, chosen)
            mixture_of.add(at(y, chosen), target, missing)
        mixture = mixture_of.solve(self._config.map_ridge).weight.float()
        first = pruned + torch.einsum("ocij,ck->okij", kernel, mixture)

        outputs = [output_size(size, narrow) for size in sizes]
        if outputs != sizes:
            positions = self._positions(outputs)
        norm = self._norm_after(path)
        taps = LeastSquares(
            pruned[0].numel(), len(pruned), offset=narrow.bias is not None or norm is not None
        )
        before = 0.0
        for (x, y), chosen in zip(self._inputs(index), positions, strict=True):
            taken = patches(y, chosen, narrow)
            target = patches(x, chosen, wide) @ kernel.flatten(1).T
            before += float((target - taken @ pruned.flatten(1).T).double().square().sum())
            taps.add(taken, target, target - taken @ first.flatten(1).T)
        correction = taps.solve(self._config.tap_ridge)
        pruned.copy_(first.add_(correction.weight.view_as(first)))
        if narrow.bias is not None:
            narrow.bias.add_(correction.offset)
        elif norm is not None:
            # A convolution without a bias: the offset is taken from the mean that batch norm subtracts.
            mean = self._narrow.get_submodule(norm).running_mean
            assert isinstance(mean, Tensor)
            mean.sub_(correction.offset)
        self._record(path, before, correction)

    def _reconstruct_linear(self, index: int) -> None:
        """Correct a linear layer: on all rows of its inputs, or on many spans of each window where it has one row a window."""
        path = str(self._trace.steps[index].target)
        wide, narrow = self._wide.get_submodule(path), self._narrow.get_submodule(path)
        assert isinstance(wide, nn.Linear)
        assert isinstance(narrow, nn.Linear)
        target_weight = wide.weight[self._stayed(path, OUTPUTS)].double()
        weight = narrow.weight.double()
        system = LeastSquares(narrow.in_features, narrow.out_features, offset=narrow.bias is not None)
        for pair in self._windows:
            self._report()
            x, y = pair.rows(index, self._wide, self._narrow)
            target = x.double() @ target_weight.T
            system.add(y, target, target - y.double() @ weight.T)
        correction = system.solve(self._config.summary_ridge)
        narrow.weight.add_(correction.weight)
        if narrow.bias is not None:
            narrow.bias.add_(correction.offset)
        self._record(path, correction.missed, correction)

    def _positions(self, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Which positions (of both axes, flattened) of each window's feature maps enter the least squares."""
        counts = [height * width for height, width in sizes]
        share = min(1.0, _SAMPLES / sum(counts))
        if share == 1.0:
            return [torch.arange(count) for count in counts]
        return [
            torch.randperm(count, generator=self._generator)[: max(1, round(share * count))].sort().values
            for count in counts
        ]

    def _record(self, path: str, before: float, correction: Correction) -> None:
        """Errors relative to the response's variance: 1 is as bad as a constant output, the mean."""
        scale = 1.0 / correction.variance if correction.variance > 0 else 0.0
        self.errors[self._names.get(path, path)] = {
            "before": round(before * scale, 6),
            "after": round(correction.left * scale, 6),
        }


class _Pair:
    """Both networks' values of one window that later steps still need."""

    def __init__(self, model: Network, repaired: Network, window: Window) -> None:
        self.wide_trace, self._narrow_trace = trace(model, window.samples), trace(repaired, window.samples)
        self.wide, self.narrow = start_values(window.inputs), start_values(window.inputs)
        self._spans: dict[int, Spans] = {}
        self._held: dict[int, int] = {}  # values that spans are cut from, and the step that needs them
        self._unused: set[int] = set()  # values that no later step takes

    def cut_before(self, index: int, model: Network) -> None:
        """Keep what spans are cut from until the linear layer that step ``index`` runs."""
        spans = Spans.before(model, self.wide_trace, index)
        if spans is not None:
            self._spans[index] = spans
            self._held |= dict.fromkeys(spans.sources, index)

    def run(self, index: int, model: Network, repaired: Network, *, touched: bool) -> None:
        """One step of both networks. Until a filter is missing they have the same values, and one computation serves both."""
        step = self.wide_trace.steps[index]
        shared = [value for value in step.inputs if self.narrow[value] is self.wide[value]]
        if touched or len(shared) < len(step.inputs):
            later = self._narrow_trace.steps[index]
            self.narrow[step.output] = run_step(later, repaired, self.narrow, {}, shared)
            self.wide[step.output] = run_step(step, model, self.wide, {}, shared)
        else:
            self.wide[step.output] = self.narrow[step.output] = run_step(step, model, self.wide, {})
        self._unused.update(self.wide_trace.freed[index])
        for value in [value for value in self._unused if self._held.get(value, index) <= index]:
            self._unused.remove(value)
            del self.wide[value], self.narrow[value]

    def rows(self, index: int, model: Network, repaired: Network) -> tuple[Tensor, Tensor]:
        """A linear layer's input in both networks, (rows, inputs) each."""
        value = self.wide_trace.steps[index].inputs[0]
        x, y = self.wide[value].flatten(0, -2), self.narrow[value].flatten(0, -2)
        spans = self._spans.get(index)
        if spans is None:
            return x, y
        return (
            spans.rows(model, self.wide_trace, self.wide, x),
            spans.rows(repaired, self._narrow_trace, self.narrow, y),
        )
