"""The whole way from file to probabilities, through `pannscope tag`, against panns_inference's own CNN14, weights random but not
degenerate.

The network of E-PANNs' shape is the same with an eighth of the widths, the last six convolutions narrower: panns_inference's class is
narrowed to it here. It is the one that long recordings are for; on the network of the published widths they would take many seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from core.classes import ClassSet, labels_table
from core.windows import windows

ROOT = Path(__file__).resolve().parents[2]
RATE = 32_000
EPANNS_WIDTHS = (8, 8, 16, 16, 32, 32, 32, 32, 64, 64, 128, 128)


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
    time = np.arange(RATE) / RATE
    noise = 0.1 * rng.standard_normal(RATE)
    rising = 0.1 * rng.standard_normal(25 * RATE) * np.linspace(0, 1, 25 * RATE)
    clips = {
        "noise": noise,
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "silence": np.zeros(RATE),
        "0.5 s": 0.1 * rng.standard_normal(RATE // 2),
        "25 s": rising,
        "0.2 s": noise[: RATE // 5],
        "45 s": np.tile(rising, 2)[: 45 * RATE],
    }
    return {name: clip.astype(np.float32) for name, clip in clips.items()}


ONE_PASS = ("noise", "tone", "silence", "0.5 s", "25 s")
LONG = ("25 s", "45 s")


def reference_probabilities(model: nn.Module, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(waveform.astype(np.float32))[None])["clipwise_output"][0].numpy()


@pytest.fixture(scope="module", params=["cnn14", "epanns"])
def pair(request, tmp_path_factory):
    """The reference network, the file that holds its weights in the official layout of that model, and the signals for it."""
    narrow = request.param == "epanns"
    model = reference_network(EPANNS_WIDTHS if narrow else None)
    path = tmp_path_factory.mktemp("official") / f"{request.param}.pth"
    state = model.state_dict()
    torch.save(state if narrow else {"model": state}, path)
    return model, path, {name: clip for name, clip in signals().items() if narrow or name not in LONG}


@pytest.fixture(scope="module")
def tagged(pair, tmp_path_factory) -> dict[str, np.ndarray]:
    """What `pannscope tag` outputs for every signal, (527,) in AudioSet's order."""
    folder = tmp_path_factory.mktemp("clips")
    files = [folder / f"{name}.wav" for name in pair[2]]
    for file, waveform in zip(files, pair[2].values(), strict=True):
        soundfile.write(file, waveform, RATE, subtype="FLOAT")
    command = [sys.executable, "-m", "core.cli", "tag", *map(str, files), "--json"]
    done = subprocess.run(
        [*command, "--checkpoint", str(pair[1]), "--architecture", "cnn14"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = {}
    for line in done.stdout.splitlines():
        document = json.loads(line)
        tags = {tag["index"]: tag["probability"] for tag in document["tags"]}
        found[document["clip"]["name"].removesuffix(".wav")] = np.array([tags[i] for i in range(527)])
    assert list(found) == list(pair[2])
    return found


def test_one_pass_equals_the_reference(pair, tagged):
    model, _path, clips = pair
    for name in set(ONE_PASS).intersection(clips):
        theirs = reference_probabilities(model, clips[name])
        assert theirs.std() > 0.01, name  # the comparison means something
        assert np.abs(tagged[name] - theirs).max() < 1e-4, name


def test_a_short_clip_equals_the_reference_on_the_padded_waveform(pair, tagged):
    padded = np.pad(pair[2]["0.2 s"], (0, 9920 - 6400))
    assert np.abs(tagged["0.2 s"] - reference_probabilities(pair[0], padded)).max() < 1e-4


@pytest.mark.parametrize("pair", ["epanns"], indirect=True)
def test_a_long_clip_equals_the_mean_over_its_windows(pair, tagged):
    waveform = pair[2]["45 s"]
    assert windows(len(waveform)) == [(0, 720_000), (720_000, 1_440_000)]  # 2 x 22.5 s, by hand
    halves = [reference_probabilities(pair[0], part) for part in (waveform[:720_000], waveform[720_000:])]
    assert np.abs(halves[0] - halves[1]).max() > 1e-3
    assert np.abs(tagged["45 s"] - np.mean(halves, axis=0)).max() < 1e-4


def test_the_signals_tell_networks_apart(pair, tagged):
    """Otherwise equal numbers would prove little."""
    outputs = np.stack([tagged[name] for name in ONE_PASS if name in tagged])
    apart = np.abs(outputs[:, None] - outputs[None]).max(axis=2)
    assert apart[~np.eye(len(outputs), dtype=bool)].min() > 1e-3


EXAMPLE = """
import os
import librosa
import numpy as np
from panns_inference import AudioTagging, SoundEventDetection, labels

(audio, _) = librosa.core.load('resources/R9_ZSCveAHg_7s.wav', sr=32000, mono=True)
audio = audio[None, :]

print('------ Audio tagging ------')
at = AudioTagging(checkpoint_path=None, device='cpu')
(clipwise_output, embedding) = at.inference(audio)
for k in np.argsort(clipwise_output[0])[::-1][:10]:
    print('{}: {:.3f}'.format(np.array(labels)[k], clipwise_output[0][k]))

print('------ Sound event detection ------')
sed = SoundEventDetection(checkpoint_path=None, device='cpu')
framewise_output = sed.inference(audio)
for k in np.argsort(np.max(framewise_output[0], axis=0))[::-1][:5]:
    print(labels[k], framewise_output.shape)

np.savez(os.environ['OUTPUTS'], clipwise_output, embedding, framewise_output)
"""
"""What panns_inference's example.py calls and prints, in its words, without the picture that it draws; and its arrays, to be compared."""


@pytest.mark.parametrize("pair", ["cnn14"], indirect=True)
def test_panns_inferences_example_with_its_import_changed(pair, tmp_path):
    """Both find the same file in panns_inference's folder; the decision-level network has the same tensors."""
    _model, path, _clips = pair
    data = tmp_path / "panns_data"
    data.mkdir()
    for name in ("Cnn14_mAP=0.431.pth", "Cnn14_DecisionLevelMax.pth"):
        (data / name).symlink_to(path)
    (data / "class_labels_indices.csv").write_text(labels_table(ClassSet.audioset()), encoding="utf-8")
    (tmp_path / "resources").mkdir()
    soundfile.write(tmp_path / "resources" / "R9_ZSCveAHg_7s.wav", signals()["25 s"][-2 * RATE :], RATE)
    said, outputs = [], []
    for module in ("panns_inference", "core.panns_inference"):
        done = subprocess.run(
            [sys.executable, "-c", EXAMPLE.replace("from panns_inference", f"from {module}")],
            env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OUTPUTS": str(tmp_path / f"{module}.npz")},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout)
        with np.load(tmp_path / f"{module}.npz") as stored:
            outputs.append([stored[name] for name in stored.files])
    assert said[0] == said[1]
    assert said[0].count("Using CPU.") == 2
    for theirs, ours in zip(*outputs, strict=True):
        assert (theirs.shape, theirs.dtype) == (ours.shape, ours.dtype)
        assert np.abs(theirs - ours).max() <= 1e-5 * max(1.0, np.abs(theirs).max())
