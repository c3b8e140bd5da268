"""The weights that a benchmark runs on: those of the model where it is installed, else random ones of the same shape."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.benchmark.subjects import Files
from core.checkpoints import load_checkpoint, manifest, named_file, path_of, save_checkpoint, status
from core.classes import ClassSet
from core.errors import ModelError
from core.export import write_onnx
from core.models.cnn import Cnn14Config
from core.models.network import Network
from core.models.registry import Architecture, architecture
from core.models.widths import PAPER_LAYERS, pruned_widths


def prepare(name: str, folder: Path) -> tuple[Files, str]:
    """Write a network in every format that subjects read; returns the files, and whose weights they are.

    ``name`` is the manifest's, an architecture's or a checkpoint file's, or ``cnn14:0.25``: that network's shape without a quarter of the
    filters of C7 to C12.
    """
    model, classes, source = network_named(name)
    stem = re.sub(r"[^\w.-]", "-", name)
    rate = architecture(model.architecture).sample_rate
    files = Files(folder / f"{stem}.safetensors", folder / f"{stem}.onnx", rate)
    save_checkpoint(files.safetensors, model, classes=classes, name=name)
    write_onnx(model, files.onnx)
    return files, source


def network_named(name: str) -> tuple[Network, ClassSet, str]:
    """The network, its classes and whose weights it has, in words; ``name`` as for ``prepare``."""
    file = named_file(name)
    if file is not None:
        loaded = load_checkpoint(file)
        return loaded.model, loaded.info.classes, "the file's own"
    base, _, ratio = name.partition(":")
    known = manifest().get(base)
    if known and not ratio and status(known) in ("embedded", "installed"):
        loaded = load_checkpoint(path_of(known), name=base)
        return loaded.model, loaded.info.classes, f"{known.title}'s own"
    chosen = architecture(known.architecture if known else base)
    widths = known.widths if known else None
    if ratio:
        if chosen.name != "cnn14" or widths is None:
            raise ModelError(f"{name}: a pruning ratio is of CNN14's C7 to C12, such as cnn14:0.25.")
        try:
            widths = pruned_widths(float(ratio), PAPER_LAYERS, tuple(widths))
        except ValueError as error:
            raise ModelError(
                f"{name}: after the colon comes the pruning ratio, such as cnn14:0.25."
            ) from error
    if known and not isinstance(known.classes, str):
        classes = ClassSet.from_names(known.classes)
    else:
        classes = ClassSet.named(chosen.scenes) if chosen.scenes else ClassSet(tuple(range(527)))
    config = chosen.configure(classes=len(classes))
    if known and widths is not None and isinstance(config, Cnn14Config):
        config = replace(config, widths=tuple(widths), embedding=known.embedding or config.embedding)
    return random_network(chosen, config), classes, "random, of this shape"


def random_network(chosen: Architecture, config: Any) -> Network:
    """Random weights whose activations keep a usual scale through all layers, so that the time does not depend on them."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = chosen.build(config).eval()
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv1d | nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
                elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.bias.uniform_(-0.2, 0.2)
            bands = model.get_submodule("bn0") if model.published_front_end is not None else None
            if (
                isinstance(bands, nn.BatchNorm2d)
                and bands.running_mean is not None
                and bands.running_var is not None
            ):
                # dB: the mean of a usual recording's mel bands, and below their variance
                bands.running_mean.fill_(-40.0)
                bands.running_var.fill_(400.0)
    return model
