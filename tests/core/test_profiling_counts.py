"""The closed form against thop, torch's flop counter and real state dicts, over networks of any widths."""

from __future__ import annotations

import json
import random

import pytest
import torch
from thop import profile as thop_profile
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.models.cnn import CNN14_WIDTHS, Cnn14, Cnn14Config
from core.models.registry import architecture
from core.profiling import count, profile
from core.profiling.passes import count_pass


def _random_configs(number: int) -> list[tuple[Cnn14Config, float]]:
    draw = random.Random(20)
    return [
        (
            Cnn14Config(
                tuple(draw.randint(1, width) for width in CNN14_WIDTHS),
                draw.randint(1, 600),
                draw.randint(1, 3000),
            ),
            draw.choice([0.31, 0.5, 1.0, 7.77, 10.0, 33.0]),
        )
        for _ in range(number)
    ]


@pytest.mark.parametrize(("config", "seconds"), _random_configs(25))
def test_the_closed_form_is_what_the_counters_count(config, seconds):
    samples = round(seconds * 32_000)
    counted = count(config, seconds)
    assert counted == count_pass(architecture("cnn14"), config, samples).counts
    with torch.device("meta"):
        model = Cnn14(config)
    learned = sum(parameter.numel() for parameter in model.parameters())
    assert counted.params_trainable == learned
    assert counted.params_total - counted.params_trainable == 2 * 513 * 1024 + 513 * 64
    stored = model.state_dict().values()
    assert counted.file_bytes == sum(tensor.numel() * tensor.element_size() for tensor in stored)
    body, logmel = _Body(model).eval(), torch.zeros(1, 1, samples // 320 + 1, 64, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        body(logmel)
    assert 2 * counted.macs_network == counter.get_total_flops()
    macs, _ = thop_profile(body, inputs=(logmel,), verbose=False)
    assert counted.macs == macs + (samples // 320 + 1) * 2 * 513 * 1024


class _Body(nn.Module):
    def __init__(self, model: Cnn14) -> None:
        super().__init__()
        self.model = model

    def forward(self, logmel: torch.Tensor) -> torch.Tensor:
        return self.model.network(logmel)


def test_counting_without_memory_is_counting_with_it():
    """thop and the flop counter on a network with real weights and a real log-mel say what they say on the meta device."""
    config = Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 6, 16)
    body, logmel = _Body(Cnn14(config)).eval(), torch.zeros(1, 1, 101, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        body(logmel)
    counted = profile(widths=config.widths, classes=6, embedding=16, seconds=1.0)
    assert 2 * counted.macs_network == 2 * counted.macs_flop_counter == counter.get_total_flops()
    assert counted.macs - 101 * 2 * 513 * 1024 == thop_profile(body, inputs=(logmel,), verbose=False)[0]


def test_size_is_that_of_the_published_layout():
    """A state dict of panns_inference's CNN14 has 81,837,071 float32 weights, 13 batch norms' statistics and counters."""
    norms = 64 + sum((64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048))
    counted = profile()
    assert counted.size_bytes == 4 * (81_837_071 + 2 * norms) + 8 * 13
    vectors = 4 * norms + 2048 + 527  # a batch norm's four, and the linear layers' biases: they stay float32
    matrices = 81_837_071 - 2 * norms - 2048 - 527
    assert counted.size_bytes_float16 == 2 * matrices + 4 * vectors + 8 * 13
    assert counted.size_bytes - counted.file_bytes == 4 * (2 * 513 * 1024 + 513 * 64)
    assert counted.size_bytes_float16 - counted.file_bytes_float16 == 2 * (2 * 513 * 1024 + 513 * 64)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_file_is_as_large_as_counted(tmp_path, half):
    """A safetensors file is 8 bytes, a JSON header of the length that they say, and the tensors."""
    model = Cnn14(Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 2, 16))
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, model, classes=ClassSet.from_names(["Speech", "Rain"]), name="small", half=half)
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + header])["__metadata__"]
    counted = count(model.config)
    assert len(content) - 8 - header == (counted.file_bytes_float16 if half else counted.file_bytes)
