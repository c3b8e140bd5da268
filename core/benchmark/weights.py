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
