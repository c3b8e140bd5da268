"""The weights that a benchmark runs on: those of the model where it is installed, else random ones of the same shape."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from core.benchmark.subjects import Files
from core.checkpoints import entry, load_checkpoint, path_of, save_checkpoint, status
from core.classes import ClassSet
from core.errors import ModelError
from core.export import write_onnx
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.widths import PAPER_LAYERS, pruned_widths


def prepare(name: str, folder: Path) -> tuple[Files, str]:
    """Write a network in every format that subjects read; returns the files, and whose weights they are.

    ``name`` is the manifest's, or ``cnn14:0.25``: that network's shape without a quarter of the filters of C7 to C12.
    """
    model, classes, source = _model(name)
    stem = name.replace(":", "-")
    files = Files(*(folder / f"{stem}.{ending}" for ending in ("safetensors", "pth", "onnx")))
    save_checkpoint(files.safetensors, model, classes=classes, name=name)
    torch.save({"model": model.state_dict()}, files.pth)
    write_onnx(model, files.onnx)
    return files, source


def _model(name: str) -> tuple[Cnn14, ClassSet, str]:
    base, _, ratio = name.partition(":")
    known = entry(base)
    if not ratio and status(known) in ("embedded", "installed"):
        loaded = load_checkpoint(path_of(known), name=base)
        return loaded.model, loaded.info.classes, f"{known.title}'s own"
    if known.widths is None:
        raise ModelError(
            f"The shape of {name} is not known; give cnn14, epanns, cnn14:0.25, or an installed model."
        )
    widths = tuple(known.widths)
    if ratio:
        try:
            widths = pruned_widths(float(ratio), PAPER_LAYERS, widths)
        except ValueError as error:
            raise ModelError(
                f"{name}: after the colon comes the pruning ratio, such as cnn14:0.25."
            ) from error
    classes = (
        ClassSet(tuple(range(527))) if isinstance(known.classes, str) else ClassSet.from_names(known.classes)
    )
    return (
        random_network(Cnn14Config(widths, len(classes), known.embedding or 2048)),
        classes,
        "random, of this shape",
    )


def random_network(config: Cnn14Config) -> Cnn14:
    """Random weights whose activations keep a usual scale through all layers, so that the time does not depend on them."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Cnn14(config).eval()
        with torch.no_grad():
            assert model.bn0.running_mean is not None
            assert model.bn0.running_var is not None
            model.bn0.running_mean.fill_(
                -40.0
            )  # dB: the mean of a usual recording's mel bands, and below their variance
            model.bn0.running_var.fill_(400.0)
            for layer in LAYERS:
                nn.init.kaiming_normal_(model.convolution(layer).weight)
                model.batch_norm(layer).bias.uniform_(-0.2, 0.2)
    return model
