"""The ONNX graph, run by onnxruntime, against the network and against the Fourier transform itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from core.examples import EXAMPLES, synthesize
from core.export import export, write_onnx
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.spectrum import _by_products
from core.tagging import load_tagger
from core.training.data import read_manifest
from core.training.evaluate import evaluate
from tests.core.test_onnx_tagger import goes_round


@pytest.fixture(scope="module")
def demo():
    return load_tagger("demo-epanns")


@pytest.fixture(scope="module")
def exported(demo, tmp_path_factory):
    return export(demo, "onnx", tmp_path_factory.mktemp("onnx") / "demo.onnx")


@pytest.fixture(scope="module")
def session(exported):
    return opened(exported.path)


def opened(path: Path) -> onnxruntime.InferenceSession:
    """On one thread: idle ones would spin, and take time from the other side of the comparison."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sound(samples: int) -> np.ndarray:
    whole = np.concatenate([synthesize(example.key) for example in EXAMPLES])
    return whole[1000 : 1000 + samples].copy()


@pytest.mark.parametrize(
    ("n_fft", "hop", "length"),
    [
        (1024, 320, 1024),
        (1024, 320, 800),
        (512, 160, 512),
        (256, 80, 256),
        (1380, 345, 1380),
        (2048, 882, 1764),
    ],
)
def test_the_two_products_are_the_windowed_fourier_transform(n_fft, hop, length):
    """In float64, frame by frame, with every architecture's window; the first frame starts half a window before the first sample."""
    waveform = np.random.default_rng(1).standard_normal(3 * n_fft + 7)
    window = np.random.default_rng(2).random(length).astype(np.float32)
    given = torch.from_numpy(waveform.astype(np.float32))[None].repeat(2, 1)
    found = _by_products(given, torch.from_numpy(window), n_fft, hop, centered=True)
    padded = np.pad(given[0].numpy().astype(np.float64), n_fft // 2, mode="reflect")
    left = (n_fft - length) // 2
    whole = np.pad(window.astype(np.float64), (left, n_fft - length - left))
    assert found.shape == (2, n_fft // 2 + 1, len(waveform) // hop + 1)
    for frame in range(found.shape[2]):
        wanted = np.abs(np.fft.rfft(padded[hop * frame : hop * frame + n_fft] * whole)) ** 2
        assert np.allclose(found[0, :, frame], wanted, rtol=1e-4, atol=1e-4 * wanted.max())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("samples", [9_920, 9_983, 10_239, 54_400, 320_000, 960_000])
def test_every_length_equals_the_network(demo, session, samples):
    waveform = sound(samples)
    (found,) = session.run(["probabilities"], {"waveform": waveform[None]})
    assert found.shape == (1, 527)
    assert found.max() > 0.01
    assert np.abs(found[0] - demo.probabilities(waveform)).max() < 1e-4


def test_it_is_a_tagger(demo, exported):
    goes_round(demo, load_tagger(checkpoint=exported.path))


@pytest.mark.parametrize("samples", [1, 600, 6_400])
def test_what_is_too_short_is_padded_as_the_tagger_does(demo, session, samples):
    waveform = sound(samples)
    found = session.run(None, {"waveform": waveform[None]})[0]
    assert np.abs(found[0] - demo.probabilities(waveform)).max() < 1e-4


def test_silence(demo, session):
    waveform = np.zeros(40_000, np.float32)
    found, embedding = session.run(None, {"waveform": waveform[None]})
    assert np.abs(found[0] - demo.probabilities(waveform)).max() < 1e-4
    expected = demo.model.outputs(torch.from_numpy(waveform)[None])[1].numpy()
    assert np.abs(embedding - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_batch_is_its_clips(session):
    clips = np.stack([synthesize(key)[:48_000] for key in ("rain", "clock", "helicopter")])
    together = session.run(None, {"waveform": clips})[0]
    alone = [session.run(None, {"waveform": clip[None]})[0][0] for clip in clips]
    assert np.abs(together - np.stack(alone)).max() < 1e-6
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_the_file_is_valid_and_says_what_it_is(demo, exported, session):
    onnx.checker.check_model(str(exported.path), full_check=True)
    (given,), (found, embedding) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, found.name, found.shape) == (
        "waveform", ["batch", "samples"], "probabilities", ["batch", 527],
    )  # fmt: skip
    assert (embedding.name, embedding.shape) == ("embedding", ["batch", demo.model.config.embedding])
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == list(demo.classes.names)
    assert notes["sample_rate"] == "32000"
    assert notes["source_sha256"] == demo.info.sha256
    whole = json.loads(notes["pannscope"])
    assert whole["kept"] == demo.info.kept
    assert whole["check"]["largest"] == exported.max_abs_difference < 1e-4


def test_any_widths(tmp_path):
    torch.manual_seed(1)
    model = Cnn14(Cnn14Config((3, 5, 2, 7, 4, 6, 8, 9, 10, 11, 12, 13), 4, 6)).eval()
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for layer in LAYERS:
            norm = model.batch_norm(layer)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.8, 2.0)
            norm.bias.uniform_(-0.2, 0.4)
        model.fc_audioset.weight.mul_(20.0)
    write_onnx(model, tmp_path / "odd.onnx")
    odd = opened(tmp_path / "odd.onnx")
    answers = []
    for key in ("siren", "rain"):
        waveform = synthesize(key)[None, :77_777]
        answers.append(odd.run(None, {"waveform": waveform})[0])
        assert np.abs(answers[-1] - model.probabilities(torch.tensor(waveform)).numpy()).max() < 1e-4
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_the_network_stays_as_it_was(demo, exported):
    before = {name: value.clone() for name, value in demo.model.state_dict().items()}
    assert not demo.model.training
    fresh = load_tagger("demo-epanns").model.state_dict()
    assert all(torch.equal(before[name], value) for name, value in fresh.items())


def test_eight_bits_state_what_they_lose(demo, studio, tmp_path):
    given = [synthesize(example.key)[:64_000] for example in EXAMPLES]
    labelled_tagger = load_tagger(checkpoint=studio / "small.safetensors")
    clips = read_manifest(studio / "clips.csv", studio, labelled_tagger.classes)
    done = export(demo, "int8", tmp_path / "demo.onnx", waveforms=given)
    copy = opened(done.path)
    held_out = given[1::2]
    found = np.stack([copy.run(None, {"waveform": clip[None]})[0][0] for clip in held_out])
    wanted = np.stack([demo.probabilities(clip) for clip in held_out])
    apart = np.abs(found - wanted)
    assert 1e-4 < done.max_abs_difference < 0.4
    assert done.max_abs_difference == pytest.approx(apart.max(), abs=1e-6)
    assert done.measured["mean_abs_difference"] == pytest.approx(apart.mean(), abs=1e-6)
    assert done.measured["first_tag_kept"] == np.mean(found.argmax(1) == wanted.argmax(1))
    assert (done.clips, done.measured["calibration_clips"], done.measured["held_out"]) == (6, 6, True)
    weights = sum(value.numel() for value in demo.model.parameters())
    assert done.size_bytes < 1.1 * weights + 460_000  # a byte a weight, and the front end in float32
    stated = copy.get_modelmeta().custom_metadata_map
    assert float(stated["max_abs_difference"]) == pytest.approx(done.max_abs_difference, rel=0.01)
    assert "Eight bits" in done.notes[0]

    scored = export(labelled_tagger, "int8", tmp_path / "small.onnx", labelled=clips)
    quality = evaluate(labelled_tagger, clips).mean_average_precision
    assert scored.measured["mAP_float"] == pytest.approx(quality)
    assert scored.measured["labelled_clips"] == len(clips)
    assert "mAP" in scored.notes[-1]
