"""Surgery changes nothing but what it removes: the wide network with those feature maps set to zero is the witness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.widths import pruned_widths
from core.pruning.plan import plan
from core.pruning.ratios import parse_layers
from core.pruning.surgery import compose, prune

CONFIG = Cnn14Config((8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20), 7, 24)


@pytest.fixture(scope="module")
def model() -> Cnn14:
    """A network whose batch norms are as uneven as trained ones."""
    torch.manual_seed(1)
    network = Cnn14(CONFIG)
    for layer in LAYERS:
        norm = network.batch_norm(layer)
        for values, low, high in ((norm.weight.data, 0.5, 1.5), (norm.bias.data, -0.3, 0.5)):
            values.uniform_(low, high)
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2.0)
    return network.eval()


def masked_logits(model: Cnn14, waveform: torch.Tensor, kept: dict[str, tuple[int, ...]]) -> torch.Tensor:
    """The wide network with the removed feature maps set to zero after batch norm (ReLU of 0 is 0)."""
    handles = []
    for layer, indices in kept.items():
        mask = torch.zeros(model.convolution(layer).out_channels)
        mask[list(indices)] = 1.0

        def zero(_module, _inputs, output, mask=mask):
            return output * mask[None, :, None, None]

        handles.append(model.batch_norm(layer).register_forward_hook(zero))
    try:
        with torch.no_grad():
            return model(waveform)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("layers", ["C7-C12", "all", "C1", "C12", "C2,C6,C11"])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_equals_the_network_with_the_feature_maps_set_to_zero(model, layers, ratio):
    made = plan(model, ratio, parse_layers(layers, LAYERS))
    waveform = 0.1 * torch.randn(2, 32000, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        pruned = prune(model, made)(waveform)
        unpruned = model(waveform)
    assert (pruned - masked_logits(model, waveform, made.kept)).abs().max() < 1e-5
    assert (pruned - unpruned).abs().max() > 1e-3  # and something was removed


def test_the_pruned_network_is_narrower_and_the_original_untouched(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = plan(model, 0.5)
    pruned = prune(model, made)
    assert (
        pruned.config.widths
        == pruned_widths(0.5, widths=CONFIG.widths)
        == tuple(
            len(made.kept.get(layer, range(width)))
            for layer, width in zip(LAYERS, CONFIG.widths, strict=True)
        )
    )
    with torch.no_grad():
        pruned.fc1.weight.zero_()
        pruned.convolution("C1").weight.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_kept_indices_refer_to_the_original_after_two_prunings(model):
    first = plan(model, 0.5, ("C12",))
    once = prune(model, first)
    second = plan(once, 0.5, ("C12", "C3"))
    twice = prune(once, second)
    kept = compose({layer: list(indices) for layer, indices in first.kept.items()}, second)
    weight = model.fc1.weight.detach().numpy()[:, kept["C12"]]
    assert np.array_equal(weight, twice.fc1.weight.detach().numpy())
    assert kept["C3"] == list(second.kept["C3"])


def test_shared_tensors_are_the_originals(model):
    waveform = 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(7))
    made = plan(model, 0.5, ("C9",))
    shared, copied = prune(model, made, share=True), prune(model, made)
    assert torch.equal(shared.probabilities(waveform), copied.probabilities(waveform))
    theirs = model.state_dict()
    touched = {"conv_block5.conv1.weight", "conv_block5.conv2.weight"}
    touched |= {f"conv_block5.bn1.{entry}" for entry in ("weight", "bias", "running_mean", "running_var")}
    for name, tensor in shared.state_dict().items():
        assert (tensor.data_ptr() == theirs[name].data_ptr()) == (name not in touched), name
    for name, tensor in copied.state_dict().items():
        assert tensor.data_ptr() != theirs[name].data_ptr(), name
        assert tensor.is_contiguous()


def test_a_plan_for_another_network_is_refused(model):
    made = plan(Cnn14(Cnn14Config((8,) * 12, 7, 24)), 0.5)
    with pytest.raises(PruningError, match=r"widths 8, 8, .* and this one has 8, 9, 10"):
        prune(model, made)
