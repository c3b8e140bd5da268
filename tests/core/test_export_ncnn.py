"""ncnn's files, read by ncnn itself."""

from __future__ import annotations

import ncnn
import numpy as np
import torch

from core.examples import EXAMPLES, synthesize
from core.export import export
from core.export.ncnn_files import ncnn_files
from core.models.cnn import Cnn14, Cnn14Config
from core.tagging import load_tagger


def run(net: ncnn.Net, model: Cnn14, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        logmel = model.front_end(torch.from_numpy(waveform)[None])[0].contiguous().numpy()
    extractor = net.create_extractor()
    extractor.input("logmel", ncnn.Mat(logmel))
    code, found = extractor.extract("probabilities")
    assert code == 0
    return np.array(found)


def float32_net() -> ncnn.Net:
    net = ncnn.Net()
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{kind}", False)
    return net


def test_every_length_equals_the_network(tmp_path):
    tagger = load_tagger("demo-epanns")
    done = export(tagger, "ncnn", tmp_path / "demo.param")
    assert done.max_abs_difference < 1e-4
    net = float32_net()
    assert net.load_param(str(tmp_path / "demo.param")) == 0
    assert net.load_model(str(tmp_path / "demo.bin")) == 0
    whole = np.concatenate([synthesize(example.key) for example in EXAMPLES])
    for samples in (9_920, 10_240, 54_400, 100_001, 320_000):
        waveform = whole[500 : 500 + samples].copy()
        found = run(net, tagger.model, waveform)
        assert found.shape == (527,)
        assert found.max() > 0.01
        assert np.abs(found - tagger.probabilities(waveform)).max() < 1e-4


def test_the_files_hold_every_weight_once():
    """Convolutions without batch norm: 9 in out + out each, and 4 bytes before every convolution's and linear layer's weights."""
    widths = (3, 5, 2, 7, 4, 6, 8, 9, 10, 11, 12, 13)
    torch.manual_seed(0)
    model = Cnn14(Cnn14Config(widths, 4, 6)).eval()
    param, weights = ncnn_files(model)
    inputs = (1, *widths)
    values = 2 * 64 + sum(9 * a * b + b for a, b in zip(inputs, widths, strict=False))
    values += 13 * 6 + 6 + 6 * 4 + 4
    assert len(weights) == 4 * (values + 12 + 2)
    lines = param.splitlines()
    layers, blobs = map(int, lines[1].split())
    assert lines[0] == "7767517"
    assert layers == len(lines) - 2
    assert blobs == sum(int(line.split()[3]) for line in lines[2:])


def test_odd_widths_equal_the_network():
    torch.manual_seed(1)
    model = Cnn14(Cnn14Config((3, 5, 2, 7, 4, 6, 8, 9, 10, 11, 12, 13), 4, 6)).eval()
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for layer in [f"C{i}" for i in range(1, 13)]:
            norm = model.batch_norm(layer)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.8, 2.0)
            norm.bias.uniform_(-0.2, 0.4)
        model.fc_audioset.weight.mul_(20.0)
    param, weights = ncnn_files(model)
    net = float32_net()
    net.load_param_mem(param)
    net.load_model_mem(weights)
    answers = []
    for key in ("siren", "rain"):
        waveform = synthesize(key)[:70_000].copy()
        wanted = model.probabilities(torch.from_numpy(waveform)[None])[0].numpy()
        answers.append(run(net, model, waveform))
        assert np.abs(answers[-1] - wanted).max() < 1e-4
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
