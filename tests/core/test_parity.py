"""The whole way from waveform to probabilities against panns_inference's own CNN14, weights random but not degenerate.

The E-PANNs reference is the same network with narrower last six convolutions; panns_inference's class is narrowed to it here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from core.tagging import load_tagger, windows

RATE = 32_000
EPANNS_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 1024, 1024)


def reference_network(widths: tuple[int, ...] | None = None) -> nn.Module:
    """panns_inference's CNN14 with random weights whose activations stay in range, as training would keep them."""
    from panns_inference.models import Cnn14

    torch.manual_seed(3)
    model = Cnn14(32000, 1024, 320, 64, 50, 14000, 527)
    if widths:
        inputs = 1
        for block in range(6):
            mid, out = widths[2 * block : 2 * block + 2]
            module = getattr(model, f"conv_block{block + 1}")
            module.conv1, module.bn1 = nn.Conv2d(inputs, mid, 3, padding=1, bias=False), nn.BatchNorm2d(mid)
            module.conv2, module.bn2 = nn.Conv2d(mid, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
            inputs = out
        model.fc1 = nn.Linear(inputs, 2048)
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d) and module is not model.bn0:
                module.bias.uniform_(-0.2, 0.2)
    return model.eval()


def signals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(3 * RATE) / RATE
    return {
        "noise": 0.1 * rng.standard_normal(3 * RATE),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "silence": np.zeros(3 * RATE),
        "half a second": 0.1 * rng.standard_normal(RATE // 2),
        "25 s": 0.1 * rng.standard_normal(25 * RATE) * np.linspace(0, 1, 25 * RATE),
    }


def reference_probabilities(model: nn.Module, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(waveform.astype(np.float32))[None])["clipwise_output"][0].numpy()


@pytest.fixture(scope="module", params=["cnn14", "epanns"])
def pair(request, tmp_path_factory):
    """The reference network, and the file that holds its weights in the official layout of that model."""
    model = reference_network(EPANNS_WIDTHS if request.param == "epanns" else None)
    path = tmp_path_factory.mktemp("official") / f"{request.param}.pth"
    state = model.state_dict()
    torch.save(state if request.param == "epanns" else {"model": state}, path)
    return model, path


@pytest.fixture(scope="module")
def tagger(pair):
    return load_tagger(checkpoint=pair[1])


@pytest.mark.parametrize("name", list(signals()))
def test_one_pass_equals_the_reference(pair, tagger, name):
    waveform = signals()[name].astype(np.float32)
    theirs = reference_probabilities(pair[0], waveform)
    assert theirs.std() > 0.01  # the comparison means something
    assert np.abs(tagger.probabilities(waveform) - theirs).max() < 1e-4


def test_a_short_clip_equals_the_reference_on_the_padded_waveform(pair, tagger):
    waveform = signals()["noise"][: RATE // 5].astype(np.float32)
    padded = np.pad(waveform, (0, 9920 - len(waveform)))
    assert np.abs(tagger.probabilities(waveform) - reference_probabilities(pair[0], padded)).max() < 1e-4


def test_a_long_clip_equals_the_mean_over_its_windows(pair, tagger):
    waveform = np.tile(signals()["25 s"], 2)[: 45 * RATE].astype(np.float32)
    assert windows(len(waveform)) == [(0, 720_000), (720_000, 1_440_000)]  # 2 x 22.5 s, by hand
    halves = [reference_probabilities(pair[0], part) for part in (waveform[:720_000], waveform[720_000:])]
    assert np.abs(halves[0] - halves[1]).max() > 1e-3
    assert np.abs(tagger.probabilities(waveform) - np.mean(halves, axis=0)).max() < 1e-4


def test_the_command_line_gives_the_same(pair, tmp_path):
    waveform = signals()["noise"].astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", waveform, RATE, subtype="FLOAT")
    command = [sys.executable, "-m", "core.cli", "tag", str(tmp_path / "noise.wav"), "--json"]
    done = subprocess.run(
        [*command, "--checkpoint", str(pair[1]), "--architecture", "cnn14"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    tags = json.loads(done.stdout)["tags"]
    theirs = reference_probabilities(pair[0], waveform)
    assert len(tags) == 527
    assert max(abs(tag["probability"] - theirs[tag["index"]]) for tag in tags) < 1e-4
