"""Every architecture, narrow, as ONNX: the exported graph and the engine give torch's outputs; formats that one cannot have are refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
import torch
from torchlibrosa.stft import STFT

from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.errors import ExportError
from core.examples import synthesize
from core.export import FORMATS, export, refusal, write_onnx
from core.export.panns import REAL
from core.models.frontend import mel_matrix, shapes_only
from core.models.network import Network
from core.models.registry import ARCHITECTURES
from core.runtime import onnx_engine
from core.runtime.choice import engine_for
from core.runtime.engine import EngineError
from core.runtime.onnx_engine import OnnxEngine
from core.tagging import load_tagger
from tests.core.networks import WITHOUT_EXTRA, narrow

CLASSES = ("Speech", "Rain", "Siren")


FAMILIES = (
    "cnn14-16k", "cnn6", "cnn10", "cnn14-decision-level-max", "cnn14-decision-level-avg", "cnn14-decision-level-att", "resnet22",
    "mobilenet-v1", "mobilenet-v2", "wavegram-cnn14", "wavegram-logmel-cnn14", "lee-net11",
    "lee-net24", "dai-net19", "res1dnet31", "erann-1-6",
    "mn04", "dcase2021-task1a",
)  # fmt: skip
"""One entry for each class of network, and a front end at another rate."""


def made(name: str) -> tuple[Network, torch.Tensor]:
    """A narrow network, and a sound and a softer one (2, samples) at its rate."""
    entry = ARCHITECTURES[name]
    sound = np.concatenate([synthesize(key) for key in ("siren", "rain")])
    samples = entry.window_samples or round(1.0137 * entry.sample_rate)
    sound = np.resize(soxr.resample(sound, 32_000, entry.sample_rate), samples).astype(np.float32)
    return narrow(name, len(entry.scenes) or len(CLASSES)), torch.from_numpy(
        np.stack([sound, 0.1 * sound[::-1]])
    )


def test_every_class_of_network_is_here():
    with shapes_only():
        classes = {name: type(ARCHITECTURES[name].template()) for name in WITHOUT_EXTRA}
    assert {classes[name] for name in FAMILIES} == set(classes.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_graph_and_the_engine_give_torchs_outputs(name, tmp_path):
    """A batch of two at a length that leaves remainders, at the least one, and at one that has to be padded."""
    entry = ARCHITECTURES[name]
    model, sounds = made(name)
    write_onnx(model, tmp_path / "a.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # idle ones would spin
    session = onnxruntime.InferenceSession(
        str(tmp_path / "a.onnx"), options, providers=["CPUExecutionProvider"]
    )
    for samples in (None,) if entry.window_samples else (None, entry.least_samples, 100):
        given = sounds[:, :samples].contiguous()
        found, embedding = session.run(None, {"waveform": given.numpy()})
        if samples == 100:
            given = torch.nn.functional.pad(given, (0, entry.least_samples - 100))
        assert np.abs(found - model.probabilities(given).numpy()).max() < 1e-4, samples
        # A sigmoid hides differences of large logits: what they are computed from is compared, too.
        wanted = model.outputs(given)[1].numpy()
        assert np.abs(embedding - wanted).max() < 1e-4 * np.abs(wanted).max(), samples
        assert np.ptp(wanted, axis=0).max() > 0  # the two sounds differ
    for found, wanted in zip(OnnxEngine(model, 1).outputs(sounds), model.outputs(sounds), strict=True):
        assert float((found - wanted).abs().max()) < 1e-5 * max(1.0, float(wanted.abs().max()))


def test_auto_runs_what_is_made_for_an_architecture(monkeypatch):
    """Our kernels CNN14 on 64 bands at any rate, onnxruntime the rest; each says why."""
    chosen = {name: engine_for(narrow(name, 3)) for name in ("cnn14-16k", "cnn6", "dai-net19")}
    assert [engine.name for engine in chosen.values()] == ["winograd", "onnxruntime", "onnxruntime"]
    assert chosen["cnn6"].why.startswith("onnxruntime, the fastest here without a CUDA device; ")
    assert chosen["cnn6"].nbytes == sum(
        value.nbytes for value in narrow("cnn6", 3).state_dict().values() if value.ndim
    )
    with pytest.raises(
        EngineError, match="winograd runs CNN14 on 64 mel bands, not cnn6; give auto, onnxruntime or torch"
    ):
        engine_for(narrow("cnn6", 3), "winograd")
    monkeypatch.setattr(onnx_engine, "usable_memory", lambda: 100_000)
    assert (
        "needs 1 MB of memory to prepare this network, and 0 MB are free" in engine_for(narrow("cnn6", 3)).why
    )


def test_formats_that_an_architecture_cannot_have_are_refused(tmp_path):
    for name in ("cnn14", "cnn10", "mn04", "dcase2021-task1a"):
        model = narrow(name, 10)
        refused = {form for form in FORMATS if refusal(form, model)}
        assert refused == {"cnn14": set(), "cnn10": {"ncnn"}}.get(name, {"ncnn", "panns"})
    saved = tmp_path / "cnn10.safetensors"
    save_checkpoint(saved, narrow("cnn10", 3), classes=ClassSet.named(CLASSES), name="small")
    with pytest.raises(
        ExportError, match="ncnn's files are written for CNN14 alone, not for cnn10; onnx works"
    ):
        export(load_tagger(checkpoint=saved), "ncnn", tmp_path / "a.param")


@pytest.mark.parametrize("name", ["cnn14-16k", "wavegram-logmel-cnn14"])
def test_the_authors_layout_and_eight_bits_of_another_front_end(name, tmp_path):
    """torchlibrosa's own front end gives the kernels of the file; the file's network is the network."""
    saved = tmp_path / "a.safetensors"
    save_checkpoint(saved, narrow(name, 3), classes=ClassSet.named(CLASSES), name="small")
    tagger = load_tagger(checkpoint=saved)
    done = export(tagger, "panns", tmp_path / "a.pt")
    assert done.max_abs_difference < 1e-4
    stored = torch.load(done.path, weights_only=True)
    front = tagger.model.published_front_end
    theirs = STFT(n_fft=front.n_fft, hop_length=front.hop)
    assert float((stored[REAL] - theirs.conv_real.weight).abs().max()) < 1e-6
    assert np.array_equal(stored["logmel_extractor.melW"].numpy(), mel_matrix(front))
    assert set(tagger.model.state_dict()) == {
        key for key in stored if not key.startswith(("spectrogram", "logmel"))
    }
    if name == "cnn14-16k":
        assert export(tagger, "int8", tmp_path / "a.onnx").max_abs_difference < 0.3


def test_the_bundle_of_a_network_at_another_rate(tmp_path):
    """Its script resamples to the network's rate; both of its files, at 16 and at 44.1 kHz, have the network's own tags."""
    saved = tmp_path / "a.safetensors"
    save_checkpoint(saved, narrow("cnn14-16k", 3), classes=ClassSet.named(CLASSES), name="small")
    tagger = load_tagger(checkpoint=saved)
    done = export(tagger, "bundle", tmp_path / "a.zip")
    with zipfile.ZipFile(done.path) as archive:
        archive.extractall(tmp_path / "a")
    assert "cnn14-16k (CNN14 at 16 kHz" in (tmp_path / "a" / "MODEL_CARD.md").read_text()
    assert "float32 mono at 16000 Hz" in (tmp_path / "a" / "README.md").read_text()
    sound = soxr.resample(synthesize("siren")[:64_000], 32_000, 16_000)
    soundfile.write(tmp_path / "b.wav", sound, 16_000, subtype="FLOAT")
    ran = subprocess.run(
        [sys.executable, "a/tag.py", "b.wav"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    printed = dict(line.split("  ")[::-1] for line in ran.stdout.splitlines()[1:])
    wanted = tagger.model.probabilities(torch.from_numpy(sound.astype(np.float32))[None])[0]
    for name, probability in zip(CLASSES, wanted, strict=True):
        assert float(printed[name]) == pytest.approx(float(probability), abs=1e-3)
