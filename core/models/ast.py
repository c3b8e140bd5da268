"""AST, a transformer on patches of a log-mel spectrogram, by the package ``transformers``.

Gong, Chung and Glass, "AST: Audio Spectrogram Transformer" (Interspeech 2021; arXiv 2104.01778). The layers are those of
``transformers.ASTForAudioClassification``, with its names; the front end, which the authors take from torchaudio, is written here.
Nothing imports ``transformers`` unless an AST is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import ModelError
from core.models.extras import Extra
from core.models.fitting import check_keys, check_shapes
from core.models.frontend import MelModule, shapes_only
from core.models.network import Network

TRANSFORMERS = Extra("transformers", "ast")

SAMPLE_RATE = 16_000
WINDOW_SAMPLES = 10 * SAMPLE_RATE
"""AudioSet's clips. The authors append 26 frames to their 998; what is longer than 1024 frames (10.255 s) is cut off."""

TOKENS = ("audio_spectrogram_transformer.embeddings.distillation_token", "v.dist_token")
"""The distillation token in files of ``transformers``, and in the authors' files."""

_FRAMES, _BANDS, _PATCH = 1024, 128, 16
_FRAME, _HOP, _N_FFT = 400, 160, 512  # frames of 25 ms, one every 10 ms
_BLOCK = 80  # samples; a frame and a hop are multiples of it
_PREEMPHASIS, _FMIN, _FLOOR = 0.97, 20.0, float(np.finfo(np.float32).eps)  # Kaldi's
_MEAN, _DEVIATION = (
    -4.2677393,
    2 * 4.5689974,
)  # of AudioSet; the authors divide by twice the standard deviation
_HEAD = 64  # units of an attention head: 12, 6 and 3 heads in the published sizes of 768, 384 and 192 units
_STRIDES = (10, 12, 14, 16)  # of the published networks, the same in time and frequency
_MOST_LAYERS = 64  # five times the published number

_PREFIX = "audio_spectrogram_transformer."
_BLOCKS = f"{_PREFIX}layers."
_POSITIONS, _OUTPUT = f"{_PREFIX}embeddings.position_embeddings", "classifier.dense.weight"

_RENAMED = (
    # the authors' names, as the conversion script of transformers maps them
    ("mlp_head.0.", "classifier.layernorm."),
    ("mlp_head.1.", "classifier.dense."),
    ("v.cls_token", f"{_PREFIX}embeddings.cls_token"),
    ("v.dist_token", f"{_PREFIX}embeddings.distillation_token"),
    ("v.pos_embed", _POSITIONS),
    ("v.patch_embed.proj.", f"{_PREFIX}embeddings.patch_embeddings.projection."),
    ("v.norm.", f"{_PREFIX}layernorm."),
    ("v.blocks.", _BLOCKS),
    (".attn.proj.", ".attention.o_proj."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    # those that transformers writes, which has other names since its version 5
    (f"{_PREFIX}encoder.layer.", _BLOCKS),
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
_UNUSED = ("v.head.", "v.head_dist.")  # of the image network that AST starts from
_JOINT = ".attn.qkv."  # queries, keys and values, one below the other


def names(name: str) -> tuple[str, ...]:
    """The network's names for a tensor of a file: none where it has no use for it, three where the file holds three in one.

    Examples
    --------
    >>> names("v.blocks.3.attn.qkv.bias")[0]
    'audio_spectrogram_transformer.layers.3.attention.q_proj.bias'
    >>> names("audio_spectrogram_transformer.encoder.layer.3.output.dense.bias")
    ('audio_spectrogram_transformer.layers.3.mlp.fc2.bias',)
    """
    if name.startswith(_UNUSED):
        return ()
    for theirs, ours in _RENAMED:
        if name.startswith(theirs) if theirs[0] != "." else name.startswith(_BLOCKS):
            name = name.replace(theirs, ours, 1)
    if _JOINT in name:
        return tuple(name.replace(_JOINT, f".attention.{which}_proj.") for which in "qkv")
    return (name,)


@dataclass(frozen=True)
class AstConfig:
    """The configuration of an AST; by default the published one.

    Attributes
    ----------
    classes, embedding : outputs, and units of every token.
    depth, hidden : attention layers, and units inside their linear layers.
    stride : frames, and bands, between two patches of 16 x 16.
    widths : filters that can be removed: none.
    """

    classes: int = 527
    embedding: int = 768
    depth: int = 12
    hidden: int = 3072
    stride: int = 10
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ModelError(f"A network needs at least one class; got classes={self.classes}.")

    @property
    def patches(self) -> int:
        """Patches of a spectrogram."""
        return _patches(self.stride)


def configure(classes: int = 527) -> AstConfig:
    """The published configuration; raises ``ModelError`` for no classes."""
    return AstConfig(classes)


def config_from_state(state: Mapping[str, Tensor]) -> AstConfig:
    """The configuration that the shapes of a state dict show; raises ``ModelError`` where they are not an AST's."""
    first = f"{_BLOCKS}0.mlp.fc1.weight"
    missing = [name for name in (_POSITIONS, _OUTPUT, first) if name not in state or state[name].ndim < 2]
    if missing:
        raise ModelError(f"{missing[0]} is missing")
    depth = sum(name.startswith(_BLOCKS) and name.endswith(".mlp.fc1.weight") for name in state)
    units, patches = state[_POSITIONS].shape[-1], state[_POSITIONS].shape[1] - 2
    stride = next((stride for stride in _STRIDES if _patches(stride) == patches), None)
    if stride is None:
        known = ", ".join(str(_patches(stride)) for stride in _STRIDES)
        raise ModelError(
            f"it was trained on spectrograms of {patches} patches; AST is built for those of 10 s: {known}."
        )
    if units % _HEAD or depth > _MOST_LAYERS:
        raise ModelError(
            f"AST has a multiple of {_HEAD} units and up to {_MOST_LAYERS} layers; got {units} and {depth}."
        )
    config = AstConfig(state[_OUTPUT].shape[0], units, depth, state[first].shape[0], stride)
    with shapes_only():
        network = Ast(config)
    check_keys(network, state)
    check_shapes(network, state)
    return config


class Ast(Network):
    """Waveform at 16 kHz, 10 s -> logits; the embedding is the mean of the class token and the distillation token.

    Raises ``ModelError`` where ``transformers`` is not installed.
    """

    output_layers = ("classifier.dense",)
    embedding_layer = "classifier.layernorm"

    def __init__(self, config: AstConfig) -> None:
        super().__init__()
        transformers = TRANSFORMERS.load("AST")
        self.config = config
        self.front_end = KaldiLogMel()
        settings = transformers.ASTConfig(
            hidden_size=config.embedding,
            num_hidden_layers=config.depth,
            num_attention_heads=config.embedding // _HEAD,
            intermediate_size=config.hidden,
            frequency_stride=config.stride,
            time_stride=config.stride,
            max_length=_FRAMES,
            num_mel_bins=_BANDS,
            num_labels=config.classes,
        )
        made = transformers.ASTForAudioClassification(settings)
        self.audio_spectrogram_transformer: nn.Module = made.audio_spectrogram_transformer
        self.classifier: nn.Module = made.classifier

    def feature_maps(self, inputs: Tensor) -> Tensor:
        """Tokens (batch, 2 + patches, units): the class token, the distillation token, and one a patch."""
        model = self.audio_spectrogram_transformer
        tokens = model.get_submodule("embeddings")(inputs)
        for layer in model.get_submodule("layers").children():
            tokens = layer(tokens)
        return model.get_submodule("layernorm")(tokens)

    def embed(self, maps: Tensor) -> Tensor:
        return (maps[:, 0] + maps[:, 1]) / 2

    def classify(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding)


class KaldiLogMel(MelModule):
    """Waveform (batch, samples) -> normalised log-mel (batch, 1024 frames, 128 bands), computed as Kaldi does.

    Frames are not centred. Each loses its mean, is pre-emphasised and windowed (symmetric Hann), which together with the Fourier transform
    is one matrix here, in double precision: an exported graph has it, too, and it is 0.2 G of 131 G MACs. Frames that are
    missing are zeros before the normalisation, as in the authors' ``dataloader.py``.

    Examples
    --------
    >>> KaldiLogMel()(torch.zeros(1, 160_000)).shape
    torch.Size([1, 1024, 128])
    """

    def __init__(self) -> None:
        super().__init__(torch.from_numpy(_transform().copy()), (_N_FFT // 2 + 1, _BANDS), _mel_matrix)

    def forward(self, waveform: Tensor) -> Tensor:
        count = min(_FRAMES, max(0, (waveform.shape[1] - _FRAME) // _HOP + 1))
        blocks = waveform.shape[1] // _BLOCK
        starts = torch.arange(count, device=waveform.device)[:, None] * (_HOP // _BLOCK)
        index = starts + torch.arange(_FRAME // _BLOCK, device=waveform.device)
        frames = waveform[:, : blocks * _BLOCK].reshape(-1, blocks, _BLOCK).double()[:, index].flatten(2)
        cosines, sines = ((frames - frames.mean(dim=2, keepdim=True)) @ self.window).chunk(2, dim=2)
        power = (cosines.square() + sines.square()).to(waveform.dtype)
        logmel = torch.log((power @ self.mel).clamp(min=_FLOOR))
        return (F.pad(logmel, (0, 0, 0, _FRAMES - count)) - _MEAN) / _DEVIATION


@lru_cache(maxsize=1)
def _transform() -> np.ndarray:
    """Pre-emphasis, window and Fourier transform of one frame, (400, 2 x 257) float64: cosines and sines."""
    angles = 2 * np.pi * (np.outer(np.arange(_FRAME), np.arange(_N_FFT // 2 + 1)) % _N_FFT) / _N_FFT
    windowed = np.hanning(_FRAME)[:, None] * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    transform = windowed.copy()
    transform[:-1] -= _PREEMPHASIS * windowed[1:]  # a sample is also subtracted from the next one
    transform[0] -= _PREEMPHASIS * windowed[0]  # and the first from itself
    return transform


@lru_cache(maxsize=1)
def _mel_matrix() -> np.ndarray:
    """Triangles of height 1, straight on Kaldi's mel scale, (257, 128) float32, from 20 to 8,000 Hz."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    bins = mel(np.arange(_N_FFT // 2 + 1) * SAMPLE_RATE / _N_FFT)[:, None]
    lowest, highest = mel(np.array([_FMIN, SAMPLE_RATE / 2]))
    edges = np.linspace(lowest, highest, _BANDS + 2)
    width = edges[1] - edges[0]
    return np.maximum(0.0, 1.0 - np.abs(bins - edges[1:-1]) / width).astype(np.float32)


def _patches(stride: int) -> int:
    return ((_BANDS - _PATCH) // stride + 1) * ((_FRAMES - _PATCH) // stride + 1)
