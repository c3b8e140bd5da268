"""Repair, sensitivity and search of residual, depthwise, one-dimensional and framewise networks, against numpy and against real pruning."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from core.models.groups import groups, pruned_config
from core.models.network import Network
from core.models.registry import architecture
from core.models.trace import start_values, trace
from core.profiling.costs import costs
from core.profiling.passes import count_pass
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import plan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair
from core.pruning.search.allocation import Allocation
from core.pruning.search.sensitivity import Sensitivity, measure_sensitivity
from core.pruning.surgery import prune
from core.windows import split_windows
from tests.core.networks import narrow

NAMES = ("resnet22", "mobilenet-v2", "lee-net11", "cnn14-decision-level-att")
FITTED = RepairConfig(windows=1)


def noises(count: int, seconds: float = 1.0, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    swell = np.abs(np.sin(np.linspace(0, 9, round(32_000 * seconds))))
    return [
        (level * swell * rng.standard_normal(len(swell))).astype(np.float32)
        for level in rng.uniform(0.02, 0.4, count)
    ]


@cache
def settled(name: str) -> Network:
    """A network of a twentieth of the published widths (mobilenet-v2's are small), whose batch norms have settled on noise."""
    torch.manual_seed(3)
    entry = architecture(name)
    config = entry.configure(classes=5)
    ratio = 0.8 if name == "mobilenet-v2" else 0.95
    config = pruned_config(name, config, {group.name: ratio for group in groups(name, config)})
    network = entry.build(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the last batch, and so of the only one
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.0, 0.8)
    with torch.no_grad():
        network.train()(torch.cat([split_windows(clip, entry)[0] for clip in noises(4, seed=11)]))
    return network.eval()


def logits(network: Network, clips: list[np.ndarray]) -> torch.Tensor:
    entry = architecture(network.architecture)
    with torch.inference_mode():
        return torch.cat([network(split_windows(clip, entry)[0]) for clip in clips])


@pytest.mark.parametrize("name", NAMES)
def test_repair_brings_the_outputs_on_its_clips_nearer_and_says_how(name):
    model, clips = settled(name), noises(3)
    halved = plan(model, 0.5, [group.name for group in groups(name, model.config)])
    pruned = prune(model, halved)
    repaired = repair(model, halved, pruned, clips, FITTED)
    wanted = logits(model, clips)
    before, after = ((logits(x, clips) - wanted).square().mean() for x in (pruned, repaired.model))
    assert after < 0.5 * before
    modules = dict(model.named_modules())
    depthwise = [path for path, x in modules.items() if getattr(x, "groups", 1) > 1]
    recalibrated = repaired.document["recalibrated"]
    assert set(recalibrated) <= set(depthwise)
    assert bool(recalibrated) == bool(depthwise)
    assert all(errors["after"] <= errors["before"] for errors in repaired.document["layers"].values())


def test_one_layer_of_a_residual_network_is_the_one_that_numpy_works_out():
    """The shortcut of a block, a 1x1 convolution: with a ridge that leaves the first correction out, the second is plain least squares."""
    model, clips, path = settled("resnet22"), noises(4), "resnet.layer2.0.downsample.1"
    layer = "resnet.layer1.0.conv2"  # the first stage's sum, which the shortcut takes
    chosen = plan(model, {layer: 0.5})
    config = RepairConfig(map_ridge=1e9, tap_ridge=1e-9, summary_ridge=1e9, windows=1, batch_norm=False)
    pruned = prune(model, chosen)
    repaired = repair(model, chosen, pruned, clips, config).model

    def rows(network: Network) -> np.ndarray:
        """What the convolution takes, (positions, channels)."""
        taken = []
        handle = network.get_submodule(path).register_forward_pre_hook(lambda _, args: taken.append(args[0]))
        logits(network, clips)
        handle.remove()
        return torch.cat([x[0].flatten(1) for x in taken], 1).T.double().numpy()

    weight = model.get_parameter(f"{path}.weight")[:, :, 0, 0].detach().double().numpy()
    target, inputs = rows(model) @ weight.T, rows(repaired)
    centred = inputs - inputs.mean(0)
    solution = np.linalg.lstsq(centred, target - target.mean(0), rcond=None)[0].T
    found = repaired.get_parameter(f"{path}.weight")[:, :, 0, 0].detach().double().numpy()
    residual = (target - target.mean(0) - centred @ found.T, target - target.mean(0) - centred @ solution.T)
    assert np.square(residual[0]).sum() <= 1.01 * np.square(residual[1]).sum()


def test_recalibrated_batch_norms_have_the_unpruned_mean_and_spread_by_hand():
    name, clips = "mobilenet-v2", noises(3)
    model, path = settled(name), "features.2.conv.5"  # after a depthwise convolution
    chosen = plan(model, {groups(name, model.config)[0].name: 0.5})
    pruned = prune(model, chosen)
    found = repair(model, chosen, pruned, clips, RepairConfig(reconstruct=False, windows=1))
    assert found.document["layers"] == {}
    assert "features.2.conv.3" in found.document["recalibrated"]

    def values(network: Network) -> np.ndarray:
        """What leaves the norm, (channels, values)."""
        taken = []
        handle = network.get_submodule(path).register_forward_hook(
            lambda *call: taken.append(call[2].clone())
        )
        logits(network, clips)
        handle.remove()
        return torch.cat([x[0].flatten(1) for x in taken], 1).double().numpy()

    before, after = values(model), values(found.model)
    assert np.abs(values(pruned).mean(1) - before.mean(1)).max() > 1e-2
    assert np.abs(after.mean(1) - before.mean(1)).max() < 1e-3
    assert np.abs(after.std(1) - before.std(1)).max() < 1e-3


def test_a_value_is_kept_until_its_last_use_although_a_linear_layer_takes_it_first():
    """mn04's squeeze-excitation: what the linear layers pool is multiplied by what they return."""
    model = narrow("mn04", 3)
    cut = plan(model, 0.3, [group.name for group in groups("mn04", model.config)])
    repaired = repair(model, cut, prune(model, cut), noises(1), FITTED)
    assert repaired.document["recalibrated"]


@pytest.mark.parametrize("name", ["resnet22", "mobilenet-v2", "lee-net11", "cnn14-decision-level-att"])
def test_sensitivity_is_each_group_pruned_alone(name):
    model, clips = settled(name), noises(2)
    every = [group.name for group in groups(name, model.config)]
    chosen = [every[0], every[len(every) // 2], every[-1]]
    measured = measure_sensitivity(model, clips, layers=chosen, ratios=(0.5,))
    parent = predictions(model, clips)
    for group, (found,) in zip(measured.layers, measured.divergence, strict=True):
        pruned = prune(model, plan(model, {group: 0.5}))
        expected = fidelity(parent, predictions(pruned, clips)).divergence
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-8)
        assert found > 0


@pytest.mark.parametrize("name", ["mobilenet-v1", "dcase2021-task1a", "wavegram-logmel-cnn14"])
def test_the_cost_of_any_widths_is_what_a_count_of_that_network_gives(name):
    entry, rng = architecture(name), np.random.default_rng(1)
    config = entry.configure(classes=5)
    ratios = {group.name: float(rng.uniform(0.0, 0.9)) for group in groups(name, config)}
    pruned = pruned_config(name, config, ratios)
    widths = dict(zip(entry.layers, pruned.widths, strict=True))
    channels = np.array([widths[group.name] for group in groups(name, config)], np.float64)
    counts = count_pass(entry, pruned, entry.window_samples or 10 * entry.sample_rate).counts
    found = costs(name, config)
    assert found["params"].of(channels) == counts.params_trainable
    assert found["macs"].of(channels) == counts.macs


def test_an_allocation_of_a_residual_network_meets_its_budget():
    name = "resnet22"
    entry = architecture(name)
    config = entry.configure(classes=5)
    every = tuple(group.name for group in groups(name, config))
    losses = np.random.default_rng(2).uniform(0, 1, (len(every), 3)).cumsum(axis=1)
    allocation = Allocation(name, config, Sensitivity(every, (0.25, 0.5, 0.75), losses, losses, "l1", 1))
    steps = allocation.path("macs", 1.5)(0.6)
    pruned = pruned_config(name, config, allocation.ratios(steps))
    share = count_pass(entry, pruned, 320_000).counts.macs / count_pass(entry, config, 320_000).counts.macs
    assert 0.59 < share <= 0.6
    assert allocation.share(steps, "macs") == share


@pytest.mark.parametrize("name", ["wavegram-logmel-cnn14", "erann-1-6", "res1dnet31"])
def test_the_steps_of_a_trace_compute_what_the_network_does(name):
    entry = architecture(name)
    config = entry.configure(classes=3)
    network = entry.build(pruned_config(name, config, {x.name: 0.95 for x in groups(name, config)})).eval()
    window = 0.1 * torch.randn(1, entry.window_samples or entry.least_samples + 999)
    steps = trace(network, window.shape[1])
    with torch.inference_mode():
        assert torch.equal(steps.run(network, start_values(network.front_end(window))), network(window))


def test_a_step_leaves_borrowed_values_as_they_are():
    """A ReLU in place runs on a copy of a value that another pass still needs."""
    network = settled("cnn10")
    steps = trace(network, 9_920)
    with torch.inference_mode():
        values = start_values(network.front_end(0.1 * torch.randn(1, 9_920)))
        at = steps.position("conv_block1.bn1")
        steps.run(network, values, stop=at + 1)
        normed = values[steps.steps[at].output]
        before = normed.clone()
        after = steps.run(network, dict(values), start=at + 1, stop=at + 2, borrowed=values)
    assert torch.equal(normed, before)
    assert torch.equal(after, F.relu(before))
