"""The architectures that Pannscope can build, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import Tensor

from core.errors import ModelError
from core.models.ast import SAMPLE_RATE as AST_RATE
from core.models.ast import TOKENS as AST_TOKENS
from core.models.ast import TRANSFORMERS, Ast, AstConfig
from core.models.ast import WINDOW_SAMPLES as AST_WINDOW
from core.models.ast import config_from_state as ast_config
from core.models.ast import configure as ast_configure
from core.models.ast import names as ast_names
from core.models.cnn import (
    LAYERS,
    MIN_SAMPLES,
    Cnn6,
    Cnn10,
    Cnn14,
    Cnn14Config,
    config_from_state,
    layer_modules,
)
from core.models.dcase import SAMPLE_RATE as DCASE_RATE
from core.models.dcase import SCENES, WINDOW_SAMPLES, Dcase2021
from core.models.decision_level import DecisionLevelAtt, DecisionLevelAvg, DecisionLevelMax
from core.models.efficientat import MIN_SAMPLES as MN_MIN_SAMPLES
from core.models.efficientat import EfficientAt
from core.models.erann import ERANN_FRONT_END, Erann
from core.models.extras import Extra
from core.models.fitting import check_keys, check_shapes
from core.models.frontend import FRONT_END, FrontEnd, shapes_only
from core.models.layers import LayerModules
from core.models.mobilenet import MobileNetV1, MobileNetV2
from core.models.network import Network
from core.models.published import Published
from core.models.resnet import BasicBlock, Bottleneck, ResNet
from core.models.waveform import DaiNet19, LeeNet11, LeeNet24, Res1dNet
from core.models.wavegram import WavegramCnn14, WavegramLogmelCnn14
from core.models.widths import PAPER_LAYERS

_PANNS = "Kong et al., PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition, TASLP 2020"
_ERANNS = "Verbitskiy et al., ERANNs: Efficient Residual Audio Neural Networks for Audio Pattern Recognition, PRL 2022"
_EFFICIENTAT = "Schmid et al., Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation, ICASSP 2023"
_DCASE = (
    "Martin-Morato et al., Low-Complexity Acoustic Scene Classification for Multi-Device Audio, DCASE 2021"
)


@dataclass(frozen=True)
class Architecture:
    """How to build one architecture, and what it takes and returns.

    Attributes
    ----------
    name : as used on the command line and in the manifest.
    title, paper : for people.
    configure : keyword arguments -> configuration (``Cnn14Config``, ``NetworkConfig``).
    make : configuration -> network with random weights; ``build`` is what others call.
    from_state : state dict -> configuration, read off the tensors' shapes; ``ModelError`` where they are not this architecture's.
    template : () -> the published network, with the entry's number of classes.
    modules : () -> the layers that can be pruned, in order, each with its convolution and batch norm.
    sample_rate : Hz, of the waveforms that it takes.
    least_samples : shortest waveform.
    window_samples : the only length that it takes; None where any will do.
    output : "tags", "framewise" (tags, and those of every frame) or "scenes".
    scenes : the classes of the outputs where they are not AudioSet's.
    paper_layers : those that the papers prune, where they prune some; empty where one ratio applies to all.
    extra : the package that it is built with, where that is no dependency.
    marks : tensors that only its files have. A file that has one of them is this architecture's, and no network of it is built before.
    names : name of a tensor in a file with a mark -> the network's names for it, more than one where the file has them one below the other.
    """

    name: str
    title: str
    paper: str
    configure: Callable[..., Any]
    make: Callable[[Any], Network]
    from_state: Callable[[dict[str, Tensor]], Any]
    template: Callable[[], Network]
    modules: Callable[[], Mapping[str, LayerModules]]
    sample_rate: int = FRONT_END.sample_rate
    least_samples: int = MIN_SAMPLES
    window_samples: int | None = None
    output: str = "tags"
    scenes: tuple[str, ...] = ()
    paper_layers: tuple[str, ...] = ()
    extra: Extra | None = None
    marks: tuple[str, ...] = ()
    names: Callable[[str], tuple[str, ...]] = lambda name: (name,)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions that can be pruned, in order."""
        return tuple(self.modules())

    @property
    def default_layers(self) -> tuple[str, ...]:
        """The layers that one ratio applies to where none are named."""
        return self.paper_layers or self.layers

    def build(self, config: Any) -> Network:
        """A network with random weights, on torch's default device; it knows the entry's name."""
        network = self.make(config)
        network.architecture = self.name
        return network


def published_entry(
    name: str,
    title: str,
    paper: str,
    make: Callable[[int], Network],
    *,
    numbered: bool = False,
    least_samples: int = MIN_SAMPLES,
    scenes: tuple[str, ...] = (),
    **facts: Any,
) -> Architecture:
    """An entry whose networks are all made from the published one."""
    published = Published(make, len(scenes) or 527, facts.get("window_samples", least_samples), numbered)
    return Architecture(
        name,
        title,
        paper,
        published.configure,
        published.build,
        published.from_state,
        partial(make, published.outputs),
        lambda: published.modules,
        least_samples=least_samples,
        scenes=scenes,
        **facts,
    )


def _cnn14(name: str, title: str, front_end: FrontEnd = FRONT_END) -> Architecture:
    """An entry of CNN14 on one of the front ends that it was published with."""
    configure = Cnn14Config if front_end == FRONT_END else partial(Cnn14Config, front_end=front_end)
    return Architecture(
        name,
        title,
        _PANNS,
        configure,
        Cnn14,
        partial(_cnn14_from_state, front_end),
        lambda: Cnn14(configure()),
        _cnn14_modules,
        sample_rate=front_end.sample_rate,
        least_samples=MIN_SAMPLES // FRONT_END.hop * front_end.hop,
        paper_layers=PAPER_LAYERS,
    )


def _cnn14_from_state(front_end: FrontEnd, state: dict[str, Tensor]) -> Cnn14Config:
    with shapes_only():
        check_keys(Cnn14(Cnn14Config(front_end=front_end)), state)
        config = config_from_state(state, front_end)
        try:
            network = Cnn14(config)
        except RuntimeError as error:
            raise ModelError(f"its widths are impossible: {list(config.widths)}.") from error
        check_shapes(network, state)
    return config


def _cnn14_modules() -> Mapping[str, LayerModules]:
    modules = {}
    for layer in LAYERS:
        block, convolution, norm = layer_modules(layer)
        modules[layer] = LayerModules(f"{block}.{convolution}", f"{block}.{norm}")
    return modules


_ENTRIES = (
    _cnn14("cnn14", "CNN14"),
    _cnn14("cnn14-16k", "CNN14 at 16 kHz", FrontEnd(sample_rate=16_000, n_fft=512, hop=160, fmax=8_000.0)),
    _cnn14("cnn14-8k", "CNN14 at 8 kHz", FrontEnd(sample_rate=8_000, n_fft=256, hop=80, fmax=4_000.0)),
    _cnn14("cnn14-mel32", "CNN14 on 32 mel bands", FrontEnd(mel_bins=32)),
    _cnn14("cnn14-mel128", "CNN14 on 128 mel bands", FrontEnd(mel_bins=128)),
    published_entry("cnn6", "CNN6", _PANNS, Cnn6, numbered=True, least_samples=4_800),
    published_entry("cnn10", "CNN10", _PANNS, Cnn10, numbered=True, least_samples=4_800),
    published_entry(
        "cnn14-decision-level-max",
        "CNN14 decision-level (maximum)",
        _PANNS,
        DecisionLevelMax,
        numbered=True,
        output="framewise",
        paper_layers=PAPER_LAYERS,
    ),
    published_entry(
        "cnn14-decision-level-avg",
        "CNN14 decision-level (mean)",
        _PANNS,
        DecisionLevelAvg,
        numbered=True,
        output="framewise",
        paper_layers=PAPER_LAYERS,
    ),
    published_entry(
        "cnn14-decision-level-att",
        "CNN14 decision-level (attention)",
        _PANNS,
        DecisionLevelAtt,
        numbered=True,
        output="framewise",
        paper_layers=PAPER_LAYERS,
    ),
    published_entry("resnet22", "ResNet22", _PANNS, partial(ResNet, BasicBlock, (2, 2, 2, 2))),
    published_entry("resnet38", "ResNet38", _PANNS, partial(ResNet, BasicBlock, (3, 4, 6, 3))),
    published_entry("resnet54", "ResNet54", _PANNS, partial(ResNet, Bottleneck, (3, 4, 6, 3))),
    published_entry("mobilenet-v1", "MobileNetV1", _PANNS, MobileNetV1),
    published_entry("mobilenet-v2", "MobileNetV2", _PANNS, MobileNetV2),
    published_entry("wavegram-cnn14", "Wavegram-CNN14", _PANNS, WavegramCnn14, least_samples=10_236),
    published_entry(
        "wavegram-logmel-cnn14", "Wavegram-Logmel-CNN14", _PANNS, WavegramLogmelCnn14, least_samples=10_236
    ),
    published_entry(
        "wavegram-logmel128-cnn14",
        "Wavegram-Logmel-CNN14 on 128 mel bands",
        _PANNS,
        partial(WavegramLogmelCnn14, front_end=FrontEnd(mel_bins=128)),
        least_samples=10_236,
    ),
    published_entry("lee-net11", "LeeNet11", _PANNS, LeeNet11),
    published_entry("lee-net24", "LeeNet24", _PANNS, LeeNet24),
    published_entry("dai-net19", "DaiNet19", _PANNS, DaiNet19, least_samples=332),
    published_entry("res1dnet31", "Res1dNet31", _PANNS, partial(Res1dNet, (2,) * 7), least_samples=20_476),
    published_entry(
        "res1dnet51", "Res1dNet51", _PANNS, partial(Res1dNet, (2, 3, 4, 6, 4, 3, 2)), least_samples=20_476
    ),
    published_entry(
        "erann-2-5", "ERANN-2-5", _ERANNS, partial(Erann, 2, 5), sample_rate=ERANN_FRONT_END.sample_rate
    ),
    published_entry(
        "erann-1-6", "ERANN-1-6", _ERANNS, partial(Erann, 1, 6), sample_rate=ERANN_FRONT_END.sample_rate
    ),
    published_entry("mn04", "mn04", _EFFICIENTAT, partial(EfficientAt, 0.4), least_samples=MN_MIN_SAMPLES),
    published_entry("mn05", "mn05", _EFFICIENTAT, partial(EfficientAt, 0.5), least_samples=MN_MIN_SAMPLES),
    published_entry("mn10", "mn10", _EFFICIENTAT, partial(EfficientAt, 1.0), least_samples=MN_MIN_SAMPLES),
    published_entry(
        "dcase2021-task1a",
        "DCASE 2021 Task 1A baseline",
        _DCASE,
        Dcase2021,
        sample_rate=DCASE_RATE,
        least_samples=WINDOW_SAMPLES,
        window_samples=WINDOW_SAMPLES,
        output="scenes",
        scenes=SCENES,
    ),
    Architecture(
        "ast",
        "AST",
        "Gong et al., AST: Audio Spectrogram Transformer, Interspeech 2021",
        ast_configure,
        Ast,
        ast_config,
        lambda: Ast(AstConfig()),
        dict,
        sample_rate=AST_RATE,
        least_samples=AST_WINDOW,
        window_samples=AST_WINDOW,
        extra=TRANSFORMERS,
        marks=AST_TOKENS,
        names=ast_names,
    ),
)

ARCHITECTURES = {entry.name: entry for entry in _ENTRIES}
"""Every architecture that Pannscope builds, counts, loads and runs, by name."""


def architecture(name: str) -> Architecture:
    """Look up an architecture; raises ``ModelError`` that names the known ones."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        close = get_close_matches(name, ARCHITECTURES, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ModelError(
            f"Unknown architecture {name!r}; Pannscope can build {', '.join(ARCHITECTURES)}.{hint}"
        ) from None


def empty_network(entry: Architecture, config: Any) -> Network:
    """A network without memory, its front end included, in eval mode."""
    with shapes_only():
        return entry.build(config).eval()
