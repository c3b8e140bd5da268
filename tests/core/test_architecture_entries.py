"""Entries of the registry: networks that no original class counts, least lengths, layers, and networks from their tensors' shapes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.errors import ModelError
from core.models.fitting import depthwise
from core.models.network import Network
from core.models.recognition import recognize
from core.models.registry import architecture, empty_network
from core.profiling import profile
from core.profiling.passes import count_pass
from tests.core.networks import WITHOUT_EXTRA

# A depthwise, a residual, a one-dimensional, a concatenating and a flattening one, and the smallest tagger.
VARIED = (
    "cnn6",
    "mobilenet-v1",
    "resnet22",
    "lee-net11",
    "wavegram-logmel-cnn14",
    "dcase2021-task1a",
    "mn04",
)


def empty_state(name: str) -> dict[str, Tensor]:
    entry = architecture(name)
    with torch.device("meta"):
        return entry.build(entry.configure()).state_dict()


@pytest.mark.parametrize(("name", "params"), [("erann-2-5", 38_196_065), ("erann-1-6", 54_529_265)])
def test_eranns_have_the_published_parameters(name, params):
    entry = architecture(name)
    assert count_pass(entry, entry.configure(), 441_000).counts.params_trainable == params


def test_mn_networks_have_the_published_parameters():
    """0.983, 1.43 and 4.88 M in EfficientAT's README; 0.11 G MACs for 10 s of mn04, 0.130 G by thop."""
    counted = {name: profile(name) for name in ("mn04", "mn05", "mn10")}
    assert [each.params_trainable for each in counted.values()] == [983_599, 1_431_239, 4_876_831]
    assert round(counted["mn04"].macs_network / 1e9, 2) == 0.11
    assert round(counted["mn04"].macs / 1e9, 3) == 0.130


@pytest.mark.parametrize("seconds", [1, 5])
def test_mn04_outputs_are_the_originals(shared, seconds):
    golden = json.loads((shared / "facts/efficientat_golden.json").read_text())
    state = torch.load(shared / "teacher/mn04_as_mAP_432.pt", weights_only=True)
    entry = architecture("mn04")
    model = entry.build(entry.from_state(state)).eval()
    model.load_state_dict(state)
    samples = 32_000 * seconds
    waveforms = {
        "noise": 0.1 * np.random.default_rng(0).standard_normal(samples),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / 32_000),
    }
    for name, waveform in waveforms.items():
        expected, batch = golden[f"{name}_{samples}"], torch.from_numpy(waveform.astype(np.float32))[None]
        probabilities = model.probabilities(batch)[0].numpy()
        np.testing.assert_allclose(probabilities[:8], expected["first8"], atol=1e-5, rtol=0)
        for index, value in expected["top5"]:
            assert probabilities[index] == pytest.approx(value, abs=1e-5)
        np.testing.assert_allclose(model.outputs(batch)[1][0, :4], expected["embedding4"], atol=1e-5, rtol=0)


def test_the_scene_network_by_hand():
    """facts/dcase2021.md: 46,246 parameters with the running statistics, and three convolutions' MACs; its output is a softmax."""
    entry = architecture("dcase2021-task1a")
    counted = profile("dcase2021-task1a")
    statistics = 2 * (16 + 16 + 32)
    assert (
        counted.params_trainable + statistics
        == 46_246
        == 800 + 64 + 12_560 + 64 + 25_120 + 128 + 6_500 + 1_010
    )
    convolutions = [layer.macs for layer in counted.layers[:3]]
    assert convolutions == [15_680_000, 250_880_000, 20_070_400]
    model = entry.build(entry.configure()).eval()
    probabilities = model.probabilities(0.1 * torch.randn(2, 441_000))
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1, 1])
    assert (counted.output, counted.classes, len(entry.scenes)) == ("scenes", 10, 10)
    with pytest.raises(ModelError, match="takes clips of 10 s and no others; got 9 s"):
        profile("dcase2021-task1a", seconds=9)


@pytest.mark.parametrize("name", WITHOUT_EXTRA)
def test_the_least_length_is_accepted(name):
    """And by the networks that pool until nothing is left no shorter one."""
    entry = architecture(name)
    model = empty_network(entry, entry.configure())
    with torch.no_grad():
        assert model(torch.empty(2, entry.least_samples, device="meta")).shape == (
            2,
            len(entry.scenes) or 527,
        )
        if not name.startswith(("lee-net", "erann", "mn", "dcase")):
            with pytest.raises(RuntimeError):
                model(torch.empty(2, entry.least_samples - 1, device="meta"))


def test_layers_are_the_convolutions_that_run():
    assert architecture("cnn10").layers == tuple(f"C{number}" for number in range(1, 9))
    assert architecture("cnn14-decision-level-att").layers == architecture("cnn14").layers
    assert architecture("cnn14").modules()["C8"] == ("conv_block4.conv2", "conv_block4.bn2")
    resnet = architecture("resnet22").modules()
    assert resnet["resnet.layer2.0.downsample.1"].norm == "resnet.layer2.0.downsample.2"
    # The first block and its batch norm are stored, and a learned front end takes their place.
    assert not any(layer.startswith("conv_block1") for layer in architecture("wavegram-cnn14").layers)
    # ERANN's batch norms come before the convolutions: the second convolution's output is a term of a sum.
    assert architecture("erann-2-5").modules()["stages.1.0.conv1"].norm == "stages.1.0.bn2"
    assert architecture("erann-2-5").modules()["stages.1.0.conv2"].norm is None
    # Depthwise convolutions lose their inputs' filters.
    assert [layer for layer in architecture("mobilenet-v1").layers if layer.endswith(".0")] == [
        "features.0.0"
    ]


@pytest.mark.parametrize("name", VARIED)
def test_a_network_is_read_off_its_tensors(name):
    entry = architecture(name)
    config = entry.from_state(empty_state(name))
    assert config == entry.configure()
    assert config.sizes == ()
    few = architecture(name).configure(classes=3)
    with torch.device("meta"):
        assert entry.from_state(entry.build(few).state_dict()) == few
    assert few.classes == 3


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("cnn6", [("conv_block1.conv1", 1, 5), ("conv_block1.bn1", 5, 5), ("conv_block2.conv1", 5, 128)]),
        # The depthwise convolution and its batch norm have as many channels as the convolution before.
        (
            "mobilenet-v1",
            [
                ("features.0.0", 1, 7),
                ("features.0.2", 7, 7),
                ("features.1.0", 7, 7),
                ("features.1.2", 7, 7),
                ("features.1.4", 7, 64),
            ],
        ),
        # Each of 20 maps is two of the flattened inputs.
        ("dcase2021-task1a", [("conv3", 16, 20), ("bn3", 20, 20), ("dense1", 40, 100)]),
    ],
)
def test_a_narrower_network_is_read_off_its_tensors(name, sizes):
    entry = architecture(name)
    config = entry.configure()
    with torch.device("meta"):
        narrow = entry.build(config)
    for path, inputs, outputs in sizes:
        module = narrow.get_submodule(path)
        shape = (outputs, *((1,) if depthwise(module) else (inputs,) if module.weight.ndim > 1 else ()))
        module.weight = nn.Parameter(torch.empty(shape + module.weight.shape[2:], device="meta"))
        for vector in {"bias", "running_mean", "running_var"} & module.state_dict().keys():
            new = torch.empty(outputs, device="meta")
            setattr(module, vector, nn.Parameter(new) if vector == "bias" else new)
    read = entry.from_state(narrow.state_dict())
    assert set(read.sizes) == set(sizes)
    model = entry.build(read).eval()
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in narrow.state_dict().items()
    }
    assert model.probabilities(torch.zeros(1, entry.least_samples)).shape == (1, config.classes)
    assert model.config == read
    assert sum(read.widths) < sum(config.widths)


def _without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name != key}


def test_tensors_of_another_network_are_refused():
    state, entry = empty_state("resnet22"), architecture("resnet22")
    with pytest.raises(ModelError, match=r"1 missing.*conv_block1.bn2\.bias"):
        entry.from_state(_without(state, "conv_block1.bn2.bias"))
    with pytest.raises(ModelError, match=r"1 unexpected.*extra"):
        entry.from_state({**state, "extra": torch.empty(1)})
    with pytest.raises(ModelError, match=r"fc_audioset\.weight is missing"):
        entry.from_state({})
    wide = torch.empty(64, 64, 5, 5, device="meta")
    with pytest.raises(ModelError, match=r"1 of another kind .*layer1.0.conv1.weight \(64, 64, 5, 5\)"):
        entry.from_state({**state, "resnet.layer1.0.conv1.weight": wide})
    with pytest.raises(ModelError, match="do not fit each other"):
        entry.from_state({**state, "resnet.layer1.0.conv1.weight": torch.empty(64, 9, 3, 3, device="meta")})
    with pytest.raises(ModelError, match=r"of another shape .*conv_block1.bn1\.bias"):
        entry.from_state({**state, "conv_block1.bn1.bias": torch.empty(3, device="meta")})


def test_a_state_dict_is_recognized_by_its_tensors():
    for name in ("cnn6", "mobilenet-v2", "mn04", "cnn14-mel32"):
        assert tuple(recognize(empty_state(name))) == (name,)
    same = {"cnn14", "cnn14-16k", "cnn14-8k", "cnn14-decision-level-max", "cnn14-decision-level-avg"}
    state = empty_state("cnn14")
    assert set(recognize(state)) == same
    front = {"spectrogram_extractor.stft.conv_real.weight": torch.empty(257, 1, 512, device="meta")}
    assert tuple(recognize({**state, **front})) == ("cnn14-16k",)
    with pytest.raises(ModelError, match="none of them has a name that any of these has"):
        recognize({"weight": torch.empty(2, 2)})
    # Another hidden layer; mn10 could be narrowed to the same shapes.
    other = empty_state("mn04")
    other["classifier.2.weight"], other["classifier.2.bias"] = torch.empty(9, 384), torch.empty(9)
    other["classifier.5.weight"] = torch.empty(527, 9)
    assert tuple(recognize(other)) == ("mn04",)


def test_what_other_networks_cannot_do_yet_is_said():
    with pytest.raises(ModelError, match="counted as published"):
        profile("resnet38", widths=(1, 2))
    with pytest.raises(ModelError, match="at least one class"):
        profile("resnet38", classes=0)


def test_framewise_probabilities_are_the_segments():
    """201 frames of 2 s are six segments of 32 frames; the rest has the last one's. The clip's are their maximum or mean."""
    entry = architecture("cnn14-decision-level-avg")
    torch.manual_seed(0)
    model: Network = entry.build(entry.configure(classes=2)).eval()
    noise = torch.randn(1, 64_000)
    frames = model.framewise(noise)[0]
    assert frames.shape == (201, 2)
    segments = frames[::32][:6]
    assert torch.equal(frames[:192], segments.repeat_interleave(32, dim=0))
    assert torch.equal(frames[192:], segments[-1:].expand(9, -1))
    torch.testing.assert_close(model.probabilities(noise)[0], segments.mean(dim=0))
