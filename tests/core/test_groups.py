"""Groups of layers that share their channels: by hand for one network of each kind, and by surgery on every architecture."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.errors import PruningError
from core.models.groups import (
    INPUTS,
    OUTPUTS,
    Group,
    by_group,
    couplings,
    group_of,
    groups,
    narrow,
    prunable_layers,
)
from core.models.network import Network
from core.models.registry import architecture, empty_network
from core.profiling import profile
from core.pruning import plan_file
from core.pruning.criteria import CRITERIA, group_importance, layer_importance
from core.pruning.plan import PruningPlan, plan, similarity_plan
from core.pruning.surgery import prune
from core.tagging import load_tagger
from tests.core.networks import WITHOUT_EXTRA

NARROW = 6
"""Channels of each group of the networks that are run here."""


@cache
def small(name: str) -> Network:
    """A network of at most ``NARROW`` channels a group, whose batch norms are as uneven as trained ones."""
    entry = architecture(name)
    config = entry.configure(classes=3)
    found = groups(name, config)
    kept = {group.name: range(min(NARROW, group.channels)) for group in found}
    generator = torch.Generator().manual_seed(0)
    shapes = narrow(empty_network(entry, config).state_dict(), found, kept)
    state = {key: _values(key, shape, generator) for key, shape in shapes.items()}
    return loaded(name, state)


def _values(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    normal = torch.randn(like.shape, generator=generator)
    if like.ndim > 1:
        return normal * (2 / like[0].numel()) ** 0.5
    if key.endswith("running_var"):
        return 0.8 + 0.5 * torch.rand(like.shape, generator=generator)
    if like.ndim == 0:
        return torch.tensor(1)
    return 1 + 0.1 * normal if key.endswith("weight") else 0.2 * normal


def loaded(name: str, state: dict[str, Tensor]) -> Network:
    """A network with these tensors; the published one, of which it is a narrow one, takes no memory meanwhile."""
    entry = architecture(name)
    with torch.device("meta"):
        network = entry.build(entry.from_state(state)).eval()
    network.load_state_dict(state, assign=True)
    return network


def zeroed(network: Network, found: tuple[Group, ...], kept: dict[str, tuple[int, ...]]) -> Network:
    """The network of full width whose removed feature maps are zero: so are all that makes them, biases and batch norms included."""
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    for group in found:
        stays = kept.get(group.name, range(group.channels))
        gone = [channel for channel in range(group.channels) if channel not in stays]
        for member in group.members:
            for part in ("weight", "bias"):
                if member.axis == OUTPUTS and f"{member.path}.{part}" in state:
                    state[f"{member.path}.{part}"][member.index[gone].flatten()] = 0
    return loaded(network.architecture, state)


def logits(network: Network) -> Tensor:
    entry = architecture(network.architecture)
    samples = entry.window_samples or max(entry.least_samples, entry.sample_rate // 2)
    with torch.inference_mode():
        return network(0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("name", WITHOUT_EXTRA)
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


def members(name: str, group: str) -> set[tuple[str, int]]:
    found = groups(name, architecture(name).configure(classes=2))
    return {(each.path, each.axis) for each in next(x for x in found if x.name == group).members}


def test_a_depthwise_convolution_has_the_channels_of_the_layer_before_it():
    """MobileNetV1: a 1x1 convolution and its norm, the depthwise one and its norm, and the inputs of the next 1x1 convolution."""
    assert members("mobilenet-v1", "features.1.4") == {
        ("features.1.4", 0), ("features.1.5", 0),
        ("features.2.0", 0), ("features.2.2", 0),
        ("features.2.4", 1),
    }  # fmt: skip


def test_a_concatenation_and_a_flattening_move_positions():
    """Wavegram's and log-mel's maps are concatenated; those of the DCASE network are flattened before a linear layer."""
    name = "wavegram-logmel-cnn14"
    config = architecture(name).configure(classes=2)
    assert "pre_block3.conv2" not in prunable_layers(name)  # its channels become bands: 32 go at once
    positions = {
        group.name: each.index.flatten().tolist()
        for group in groups(name, config)
        for each in group.members
        if (each.path, each.axis) == ("conv_block2.conv1", INPUTS)
    }
    assert positions == {"pre_block4.conv2": list(range(64, 128)), "conv_block1.conv2": list(range(64))}
    flat = next(
        group
        for group in groups("dcase2021-task1a", architecture("dcase2021-task1a").configure())
        if group.members[-1].index.shape[1] > 1
    )
    copies = flat.members[-1].index
    assert torch.equal(
        copies.flatten(), torch.arange(copies.numel())
    )  # a channel's positions follow each other


def test_no_group_loses_a_channel_of_its_own_where_many_go_at_once():
    with pytest.raises(PruningError, match=r"pre_block3\.conv2 cannot lose single filters"):
        plan(small("wavegram-cnn14"), {"pre_block3.conv2": 0.5})


def test_coupled_layers_have_one_ratio():
    with pytest.raises(
        PruningError, match=r"downsample.1 share their filters .* so 0.5 and 0.25 cannot both be"
    ):
        by_group("resnet22", {"resnet.layer2.0.conv2": 0.5, "resnet.layer2.0.downsample.1": 0.25})
    with pytest.raises(PruningError, match=r"layer2.1.conv2 shares its filters with resnet.layer2.0.conv2"):
        PruningPlan("resnet22", small("resnet22").config.widths, "l1", {"resnet.layer2.1.conv2": 0.5}, {})


def test_a_channel_counts_the_sum_of_its_filters_scores():
    network, group = small("resnet22"), "resnet.layer2.0.conv2"
    for name in CRITERIA:
        summed = sum(layer_importance(network, layer, name) for layer in couplings("resnet22")[group])
        np.testing.assert_allclose(group_importance(network, group, name), summed / summed.max(), rtol=1e-12)
    kept = plan(network, {group: 0.5}, criterion_name="l1").kept[group]
    assert kept == tuple(
        sorted(np.argsort(-group_importance(network, group, "l1"), kind="stable")[:3].tolist())
    )
    assert PruningPlan.from_text(similarity_plan(network).text()) == similarity_plan(network)


def test_a_plan_of_the_first_format_is_read():
    network = small("cnn14")
    made = plan(network, 0.5)
    document = made.document() | {"format": 1}
    del document["groups"]
    assert PruningPlan.from_document(document) == made
    with pytest.raises(PruningError, match="has no 'groups'"):
        PruningPlan.from_document(document | {"format": 2})


def test_a_network_wider_than_the_published_one_has_a_graph_of_its_own():
    entry = architecture("cnn14")
    config = entry.configure(widths=(70, 64, *(8,) * 10), classes=2, embedding=4)
    found = groups("cnn14", config)
    assert [group.channels for group in found] == list(config.widths)
    assert plan(entry.build(config), {"C1": 0.5}, criterion_name="l1").after[0] == 35


def test_a_pruned_network_is_counted_from_its_shapes_alone():
    """By hand for CNN6 with half of C4: its kernels (5x5 of 256), its norm, and fc1's inputs."""
    whole, half = profile("cnn6"), profile("cnn6", ratio=0.5, layers=("C4",))
    assert whole.params_trainable - half.params_trainable == 256 * (25 * 256 + 2 + 512)
    network = small("mobilenet-v1")
    pruned = prune(network, plan(network, 0.5, criterion_name="l1"))
    assert profile("mobilenet-v1", config=network.config, ratio=0.5).widths == pruned.config.widths
    assert profile("mobilenet-v1", config=pruned.config).params_trainable == sum(
        x.numel() for x in pruned.parameters()
    )


DOCUMENT = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("C1", "C12", "C0")), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


PLAN = plan(small("cnn14"), 0.5, criterion_name="random").document()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(key=st.sampled_from(sorted(PLAN)), value=DOCUMENT)
def test_damaged_plans_are_refused_in_one_line(key, value):
    said = ""
    try:
        PruningPlan.from_document(PLAN | {key: value})
    except PruningError as error:
        said = str(error)
    assert "\n" not in said


def test_the_commands_take_modules_and_patterns_of_any_architecture(cli, tmp_path):
    file, out = tmp_path / "resnet.safetensors", tmp_path / "pruned.safetensors"
    save_checkpoint(
        file, small("resnet22"), classes=ClassSet.from_names(("Speech", "Rain", "Siren")), name="resnet"
    )
    said = cli(
        "prune",
        "-m",
        file,
        "--ratio",
        0.5,
        "--layers",
        "resnet.layer2,*.layer1.*.conv1",
        "--out",
        out,
        "--json",
    ).document
    groups = said["plan"]["groups"]
    assert list(said["kept"]) == list(groups) == [
        "resnet.layer1.0.conv1", "resnet.layer1.1.conv1", "resnet.layer2.0.conv1", "resnet.layer2.0.conv2", "resnet.layer2.1.conv1",
    ]  # fmt: skip
    assert groups["resnet.layer2.0.conv2"] == list(couplings("resnet22")["resnet.layer2.0.conv2"])
    again = load_tagger(checkpoint=out).model
    assert again.config.widths == plan_file.load_plan(out).after
    scored = cli("importance", "-m", file, "--layer", "resnet.layer2", "--criterion", "l1", "--json").document
    assert [each["layer"] for each in scored["layers"]] == list(groups)[2:]
    assert (
        scored["layers"][1]["scores"]
        == group_importance(small("resnet22"), "resnet.layer2.0.conv2", "l1").tolist()
    )
