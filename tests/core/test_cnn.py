"""CNN14 against panns_inference's own class, with the same random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import ModelError
from core.models.cnn import CNN14_WIDTHS, LAYERS, Cnn14, Cnn14Config, config_from_state, layer_modules
from core.models.registry import architecture

SMALL = Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 6, 16)


def test_widths_are_data():
    model = Cnn14(SMALL).eval()
    assert [model.convolution(layer).out_channels for layer in LAYERS] == list(SMALL.widths)
    assert [model.convolution(layer).in_channels for layer in LAYERS] == [1, *SMALL.widths[:-1]]
    assert model(torch.zeros(2, 32000)).shape == (2, 6)


def test_configuration_is_read_off_the_tensors():
    assert config_from_state(Cnn14(SMALL).state_dict()) == SMALL
    assert architecture("cnn14").from_state(Cnn14(SMALL).state_dict()) == SMALL


def test_published_initialisation():
    """Xavier uniform: bounded by sqrt(6 / (fan_in + fan_out)), and filling that range."""
    model = Cnn14(SMALL)
    weight = model.convolution("C5").weight
    bound = np.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * 9))
    assert 0.9 * bound < weight.abs().max().item() <= bound
    assert model.fc1.bias.abs().max() == 0
    assert torch.equal(model.batch_norm("C5").weight, torch.ones(8))


def test_dropout_and_augmentation_act_only_in_training():
    model = Cnn14(SMALL)
    waveform = torch.randn(1, 32000)
    with torch.no_grad():
        assert torch.equal(model.eval()(waveform), model(waveform))
        assert not torch.equal(model.train()(waveform), model(waveform))


def test_augment_receives_the_normalized_log_mel():
    model = Cnn14(SMALL).eval()
    seen = []
    with torch.no_grad():
        logits = model.network(model.front_end(torch.randn(4, 32000)), lambda x: (seen.append(x), x[:2])[1])
    assert logits.shape[0] == 2
    assert seen[0].shape == (4, 1, 101, 64)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"widths": (1, 2)}, "12 convolutions"),
        ({"widths": (0,) * 12}, "at least one filter"),
        ({"classes": 0}, "classes=0"),
    ],
)
def test_impossible_configurations_are_refused(wrong, said):
    with pytest.raises(ModelError, match=said):
        Cnn14Config(**wrong)


def test_unknown_names_are_refused():
    with pytest.raises(ModelError, match="cnn14"):
        architecture("cnn15")
    with pytest.raises(ModelError, match="C1 to C12"):
        layer_modules("C13")
    with pytest.raises(ModelError, match="conv_block1"):
        config_from_state({})


def test_layer_names_follow_the_blocks():
    assert layer_modules("C1") == ("conv_block1", "conv1", "bn1")
    assert layer_modules("C8") == ("conv_block4", "conv2", "bn2")
    assert CNN14_WIDTHS[LAYERS.index("C12")] == 2048


def test_a_mistyped_architecture_is_corrected():
    with pytest.raises(ModelError, match=r"^Unknown architecture 'cnn41'; .* Did you mean cnn14\?$"):
        architecture("cnn41")
    with pytest.raises(ModelError, match=r"can build cnn14, .*, ast\.$"):
        architecture("vgg")
