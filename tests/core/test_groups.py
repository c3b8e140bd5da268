"""Groups of layers that share their channels: by hand for one network of each kind, and by surgery on every architecture."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.models.groups import OUTPUTS, Group, couplings, group_of, groups, narrow
from core.models.network import Network
from core.models.registry import ARCHITECTURES, architecture, empty_network
from core.pruning.plan import PruningPlan, plan
from core.pruning.surgery import prune

NARROW = 6
"""Channels of each group of the networks that are run here."""


@cache
def small(name: str) -> Network:
    """A network of at most ``NARROW`` channels a group, whose batch norms are as uneven as trained ones."""
    entry = architecture(name)
    config = entry.configure(classes=3)
    found = groups(name, config)
    state = narrow(
        empty_network(entry, config).state_dict(),
        found,
        {group.name: range(min(NARROW, group.channels)) for group in found},
    )
    torch.manual_seed(0)
    network = entry.build(entry.from_state(state)).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.3)
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


def zeroed(network: Network, found: tuple[Group, ...], kept: dict[str, tuple[int, ...]]) -> Network:
    """The network of full width whose removed feature maps are zero: so are all that makes them, biases and batch norms included."""
    state = {key: value.clone() for key, value in network.state_dict().items()}
    for group in found:
        gone = [
            channel
            for channel in range(group.channels)
            if channel not in kept.get(group.name, range(group.channels))
        ]
        for member in group.members:
            if member.axis == OUTPUTS:
                for part in ("weight", "bias"):
                    if f"{member.path}.{part}" in state:
                        state[f"{member.path}.{part}"][member.index[gone].flatten()] = 0
    copy = architecture(network.architecture).build(network.config).eval()
    copy.load_state_dict(state)
    return copy


def logits(network: Network) -> Tensor:
    entry = architecture(network.architecture)
    samples = entry.window_samples or max(entry.least_samples, entry.sample_rate // 2)
    with torch.inference_mode():
        return network(0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("name", ARCHITECTURES)
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_surgery_equals_the_network_with_the_feature_maps_set_to_zero(name, data):
    network = small(name)
    found = groups(name, network.config)
    kept = {}
    for group in found:
        stays = data.draw(st.sets(st.integers(0, group.channels - 1), min_size=1), label=group.name)
        if len(stays) < group.channels:
            kept[group.name] = tuple(sorted(stays))
    pruned = prune(network, PruningPlan(name, network.config.widths, "l1", {}, kept))
    expected = logits(zeroed(network, found, kept))
    scale = max(1.0, float(expected.abs().max()))  # Res1dNet51's outputs are around 12,000
    assert float((logits(pruned) - expected).abs().max()) < 1e-4 * scale
    assert pruned.architecture == name
    assert {group.name: group.channels for group in groups(name, pruned.config)} == {
        group.name: len(kept.get(group.name, range(group.channels))) for group in found
    }


def test_layers_whose_outputs_are_added_are_one_group():
    stage = ("resnet.layer2.0.conv2", "resnet.layer2.0.downsample.1", "resnet.layer2.1.conv2")
    assert couplings("resnet22")["resnet.layer2.0.conv2"] == stage
    assert {group_of("resnet22", layer) for layer in stage} == {"resnet.layer2.0.conv2"}
    assert couplings("resnet22")["resnet.layer1.0.conv1"] == ("resnet.layer1.0.conv1",)


def test_a_plan_does_not_need_names_of_groups():
    network = small("resnet22")
    made = plan(network, {"resnet.layer2.1.conv2": 0.5}, criterion_name="l1")
    assert made.ratios == {"resnet.layer2.0.conv2": 0.5}
