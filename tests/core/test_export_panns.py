"""The authors' layout against panns_inference's own class, at the published width and at others."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn

from core.checkpoints import load_checkpoint
from core.examples import synthesize
from core.export import export
from core.export.panns import panns_state, pruning_arguments, save_state, stft_kernels
from core.models.cnn import CNN14_WIDTHS, Cnn14
from core.models.frontend import mel_matrix
from core.tagging import load_tagger

EPANNS_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 1024, 1024)


def authors_network(widths: tuple[int, ...], embedding: int, classes: int) -> nn.Module:
    """panns_inference's CNN14 with its layers replaced by narrower ones, as the authors' Cnn14_pruned builds them."""
    from panns_inference.models import Cnn14 as Reference

    model = Reference(32000, 1024, 320, 64, 50, 14000, classes)
    if (widths, embedding) == (CNN14_WIDTHS, 2048):
        return model.eval()
    inputs = 1
    for block in range(6):
        mid, out = widths[2 * block : 2 * block + 2]
        module = getattr(model, f"conv_block{block + 1}")
        module.conv1, module.bn1 = nn.Conv2d(inputs, mid, 3, padding=1, bias=False), nn.BatchNorm2d(mid)
        module.conv2, module.bn2 = nn.Conv2d(mid, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        inputs = out
    model.fc1, model.fc_audioset = nn.Linear(inputs, embedding), nn.Linear(embedding, classes)
    return model.eval()


def test_the_front_end_is_torchlibrosas():
    from torchlibrosa.stft import STFT

    reference = STFT(n_fft=1024, hop_length=320)
    for ours, theirs in zip(stft_kernels(), (reference.conv_real, reference.conv_imag), strict=True):
        assert ours.shape == theirs.weight.shape
        assert (ours - theirs.weight).abs().max() < 1e-6


def test_the_published_width_loads_into_panns_inference(tmp_path):
    torch.manual_seed(0)
    model = Cnn14().eval()
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    file = tmp_path / "cnn14.pt"
    save_state(panns_state(model), model, file)
    reference = authors_network(CNN14_WIDTHS, 2048, 527)
    stored = torch.load(file, weights_only=True, mmap=True)
    assert list(stored) == ["model"]  # what panns_inference.AudioTagging looks up
    reference.load_state_dict(stored["model"], strict=True)
    clip = torch.from_numpy(synthesize("siren")[:54_321].copy())[None]
    with torch.inference_mode():
        theirs = reference(clip)["clipwise_output"].numpy()
    assert theirs.max() > 0.01
    assert np.abs(theirs - model.probabilities(clip).numpy()).max() < 1e-4
    assert list(stored["model"]) == list(reference.state_dict())


def test_a_pruned_network_loads_into_the_authors_narrower_class(tmp_path):
    tagger = load_tagger("demo-epanns")
    done = export(tagger, "panns", tmp_path / "demo.pt")
    stored = torch.load(done.path, weights_only=True)
    reference = authors_network(tagger.model.config.widths, 512, 527)
    reference.load_state_dict(stored, strict=True)  # the dict itself, as the authors' demo_tag.py does it
    for value, wanted in zip(stored.values(), reference.state_dict().values(), strict=True):
        assert value.dtype == wanted.dtype
        assert value.is_contiguous()
    for key in ("siren", "rain", "music"):
        clip = torch.from_numpy(synthesize(key).copy())[None]
        with torch.inference_mode():
            theirs = reference(clip)["clipwise_output"][0].numpy()
        assert np.abs(theirs - tagger.probabilities(clip[0].numpy())).max() < 1e-4
    notes = json.loads(stored._metadata["pannscope"])
    assert notes["check"]["largest"] == done.max_abs_difference
    assert [each["name"] for each in notes["classes"]] == list(tagger.classes.names)


def test_it_comes_back_into_pannscope(tmp_path):
    tagger = load_tagger("demo-epanns")
    done = export(tagger, "panns", tmp_path / "demo.pt")
    loaded = load_checkpoint(done.path, classes=tagger.classes)
    for name, value in tagger.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    stored = torch.load(done.path, weights_only=True)
    assert np.array_equal(stored["logmel_extractor.melW"].numpy(), mel_matrix())


def test_the_authors_arithmetic_gives_every_width_back():
    """Their class computes int(n * (1 - p)), which loses a filter where the product comes out just below a whole number."""
    for layer, full in enumerate(CNN14_WIDTHS):
        for width in range(1, full + 1):
            widths = [*CNN14_WIDTHS[:layer], width, *CNN14_WIDTHS[layer + 1 :]]
            share = float(repr(pruning_arguments(widths)[layer]))  # as it is written down
            assert int(full * (1 - share)) == width


def test_the_paper_ratio_is_the_papers_argument():
    assert pruning_arguments(EPANNS_WIDTHS) == [0.0] * 6 + [0.5] * 6
