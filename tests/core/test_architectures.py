"""Every architecture against the original classes' structure, counts and outputs (facts/architectures.json, its `_about`)."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import nn

from core.models.network import Network
from core.models.recognition import recognize
from core.models.registry import architecture
from core.models.resnet import Stages
from core.models.waveform import Res1dStages
from core.profiling import profile
from core.profiling.passes import count_pass, flop_counter_macs

ORIGINALS = {
    "Cnn14": ("cnn14", {}),
    "Cnn14_emb512": ("cnn14", {"embedding": 512}),
    "Cnn14_emb128": ("cnn14", {"embedding": 128}),
    "Cnn14_emb32": ("cnn14", {"embedding": 32}),
    "Cnn14_DecisionLevelMax": ("cnn14-decision-level-max", {}),
    "Cnn14_DecisionLevelAvg": ("cnn14-decision-level-avg", {}),
    "Cnn14_DecisionLevelAtt": ("cnn14-decision-level-att", {}),
    "Cnn14_16k": ("cnn14-16k", {}),
    "Cnn14_8k": ("cnn14-8k", {}),
    "Cnn14_mel32": ("cnn14-mel32", {}),
    "Cnn14_mel128": ("cnn14-mel128", {}),
    "Wavegram_Cnn14": ("wavegram-cnn14", {}),
    "Wavegram_Logmel_Cnn14": ("wavegram-logmel-cnn14", {}),
    "Wavegram_Logmel128_Cnn14": ("wavegram-logmel128-cnn14", {}),
    "Cnn6": ("cnn6", {}),
    "Cnn10": ("cnn10", {}),
    "ResNet22": ("resnet22", {}),
    "ResNet38": ("resnet38", {}),
    "ResNet54": ("resnet54", {}),
    "MobileNetV1": ("mobilenet-v1", {}),
    "MobileNetV2": ("mobilenet-v2", {}),
    "LeeNet11": ("lee-net11", {}),
    "LeeNet24": ("lee-net24", {}),
    "DaiNet19": ("dai-net19", {}),
    "Res1dNet31": ("res1dnet31", {}),
    "Res1dNet51": ("res1dnet51", {}),
}
"""Original class -> the registry's name, and how it is configured. Those that share weights stand together."""

SAME_AS_CNN14 = ("Cnn14_no_specaug", "Cnn14_no_dropout")
"""Classes that differ from Cnn14 in training only."""

SAME_TENSORS = ("cnn14", "cnn14-decision-level-max", "cnn14-decision-level-avg")
"""Told apart by what a file is called."""

FRONT_END = ("spectrogram_extractor.", "logmel_extractor.")
PIECE = 2**16
RECIPES = ("manual_seed_0", "by_key")
Weighted = nn.Conv1d | nn.Conv2d | nn.Linear


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "facts/architectures.json").read_text())


def test_every_original_is_built(golden):
    assert set(golden) - {"_about"} == {*ORIGINALS, *SAME_AS_CNN14}
    for name in SAME_AS_CNN14:
        assert golden[name] == golden["Cnn14"]


@pytest.mark.parametrize("original", ORIGINALS)
def test_tensors_and_counts_are_the_originals(golden, original):
    expected, (name, options) = golden[original], ORIGINALS[original]
    entry = architecture(name)
    config = entry.configure(**options)
    with torch.device("meta"):
        state = entry.build(config).state_dict()
    stored = {
        key: value["shape"] for key, value in expected["state_dict"].items() if not key.startswith(FRONT_END)
    }
    assert {key: list(value.shape) for key, value in state.items()} == stored
    published = {
        key: torch.empty(value["shape"], device="meta") for key, value in expected["state_dict"].items()
    }
    fitting = tuple(recognize(published))
    assert fitting == (SAME_TENSORS if name in SAME_TENSORS else (name,))
    samples = 10 * expected["constructor"]["sample_rate"]
    assert entry.sample_rate == expected["constructor"]["sample_rate"]
    counts = count_pass(entry, config, samples).counts
    assert counts.params_trainable == expected["params_trainable"]
    assert counts.params_total == expected["params_total"]
    assert counts.params_paper == expected["thop_params"]
    assert counts.macs == expected["thop_macs"]
    assert counts.size_bytes == expected["state_dict_bytes"]
    assert counts.macs_network == flop_counter_macs(entry, config, samples)


def test_published_multi_adds_include_batch_norm(golden):
    """Two a value that enters a batch norm, where thop counts four; and the biases of the two linear layers (docs/conventions.md)."""
    entry = architecture("cnn14")
    counts = count_pass(entry, entry.configure(), 320_000).counts
    stft = 1001 * 1_050_624
    normalized = (counts.macs - counts.macs_network - stft) // 4
    assert (counts.macs_network + stft, normalized) == (21_093_601_280, 16_194_112)
    assert golden["Cnn14"]["panns_multi_adds"] == 2 * 21_093_601_280 + 2 * normalized + 2048 + 527


def test_statements_of_the_papers_beside_the_counts():
    """docs/conventions.md, "Other statements"."""
    layers = profile().layers
    whole, last = (sum(layer.params for layer in layers[first:12]) for first in (0, 6))
    assert round(100 * last / profile().params_trainable, 1) == 92.0
    assert round(100 * last / whole, 1) == 98.5
    assert (
        round(100 * (1 - profile(ratio=0.5).params_trainable / profile("resnet38").params_trainable), 1)
        == 68.5
    )
    patches, tokens, width = 256 + 1, 12 * 101 + 2, 768
    block = 4 * width + 4 * width * width + 4 * width + 8 * width * width + 5 * width
    ast = (
        patches * width + tokens * width + 2 * width + 12 * block + 2 * width + 2 * width + 527 * (width + 1)
    )
    heads = 2 * (width * 1000 + 1000)
    assert (round((ast + heads) / 1e6, 1), round(heads / 1e6, 2)) == (88.1, 1.54)


@pytest.mark.parametrize("original", ORIGINALS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_outputs_are_the_originals(golden, recipe, original):
    name, options = ORIGINALS[original]
    entry = architecture(name)
    with torch.device("meta"):
        model = entry.build(entry.configure(**options)).eval()
    draw_as_constructed(model) if recipe == "manual_seed_0" else draw_by_key(model)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy((0.1 * rng.standard_normal((1, 2 * entry.sample_rate))).astype(np.float32))
    probabilities, embedding = model.outputs(noise)
    computed = {"clipwise_output": probabilities, "embedding": embedding}
    for output, expected in golden[original]["outputs"][f"{recipe}, 2 s"].items():
        values = model.framewise(noise) if output == "framewise_output" else computed[output]
        assert list(values.shape) == expected["shape"]
        within = {"atol": 1e-5 * max(1.0, expected["max"]), "rtol": 0}  # embeddings reach 40
        np.testing.assert_allclose(values.flatten()[expected["flat_index"]], expected["value"], **within)
        figures = [values.mean(dtype=torch.float64), values.min(), values.max()]
        np.testing.assert_allclose(figures, [expected[key] for key in ("mean", "min", "max")], **within)


def draw_by_key(model: Network) -> None:
    """The second recipe: each tensor from its key and its shape alone."""
    state = {
        key: value if value.ndim == 0 else _drawn(key, tuple(value.shape))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)


@lru_cache(maxsize=96)  # more than a CNN14 has: networks that share its blocks come one after another
def _drawn(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    values = np.empty(np.prod(shape), np.float32)
    for start in range(0, len(values), PIECE):  # pieces stay in the processor's cache
        z = rng.standard_normal(min(PIECE, len(values) - start))
        if key.endswith("running_var"):
            z = (1 + 0.1 * np.abs(z)) * (400 if key.startswith("bn0") else 1)
        elif key.endswith("running_mean"):
            z = 0.1 * z - (30 if key.startswith("bn0") else 0)
        elif len(shape) >= 2:
            z *= np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith("weight"):
            z = 1 + 0.1 * z
        else:
            z = 0.1 * z
        values[start : start + PIECE] = z
    return torch.from_numpy(values.reshape(shape))


def draw_as_constructed(model: Network) -> None:
    """The first recipe: what the originals' constructors draw after ``torch.manual_seed(0)``, in their order.

    A block draws torch's default initialisation of each of its layers, then Xavier's of each; a residual block has its shortcut
    ready before. Layers outside blocks get Xavier's last of all. torchlibrosa's two Conv1d draw as well, right before ``bn0``.
    """
    torch.manual_seed(0)
    for layer in list(_visit(model)):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _visit(container: nn.Module) -> Iterator[nn.Module]:
    """Draw everything but the layers outside blocks, whose second draw is still to come: they are returned."""
    for name, child in container.named_children():
        front = getattr(container, "published_front_end", None)
        if name == "bn0" and front is not None:
            for _ in ("real", "imaginary"):
                nn.Conv1d(1, front.n_fft // 2 + 1, front.n_fft, bias=False)
        if isinstance(child, Weighted):
            child.to_empty(device="cpu")
            child.reset_parameters()
            yield child
        elif isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            child.to_empty(device="cpu")
            child.reset_parameters()
        elif isinstance(child, Stages | Res1dStages) or name.startswith(("features", "layer")):
            yield from _visit(child)
        elif name != "front_end":
            _draw_block(child)


def _draw_block(block: nn.Module) -> None:
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.to_empty(device="cpu")
            norm.reset_parameters()
    if hasattr(block, "zero_norm"):
        nn.init.zeros_(block.get_submodule(block.zero_norm).weight)
    shortcut = getattr(block, "downsample", None)
    first = _weighted(shortcut) if isinstance(shortcut, nn.Sequential) else []
    for layers in (first, [layer for layer in _weighted(block) if layer not in first]):
        shapes = tuple((tuple(layer.weight.shape), layer.bias is not None) for layer in layers)
        weights, after = _drawn_block(torch.get_rng_state().numpy().tobytes(), shapes)
        torch.set_rng_state(after)
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight = nn.Parameter(weight)
            if layer.bias is not None:
                layer.bias = nn.Parameter(torch.zeros(len(weight)))


def _weighted(block: nn.Module) -> list[nn.Module]:
    return [layer for layer in block.modules() if isinstance(layer, Weighted)]


@lru_cache(maxsize=16)  # nine classes draw the same blocks
def _drawn_block(state: bytes, shapes: tuple) -> tuple[list[torch.Tensor], torch.Tensor]:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    scratch = torch.empty(PIECE)
    for (
        shape,
        biased,
    ) in shapes:  # torch's default initialisation is drawn and replaced: a number for every weight and bias
        left = math.prod(shape) + (shape[0] if biased else 0)
        for start in range(0, left, PIECE):
            scratch[: min(PIECE, left - start)].uniform_()
    weights = [torch.empty(shape) for shape, _ in shapes]
    for weight in weights:
        nn.init.xavier_uniform_(weight)
    return weights, torch.get_rng_state()
