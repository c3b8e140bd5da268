"""What follows from the Prune page's settings: widths, the position on the curves, and layers in words."""

from __future__ import annotations

import pytest

from core.models.cnn import Cnn14Config
from core.models.registry import architecture
from dashboard.prune.cut import Cut
from dashboard.prune.settings import PruneSettings
from dashboard.server.source import Source
from dashboard.server.structure import Structure

BEFORE = Structure(
    "cnn14", Cnn14Config((16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512), classes=18, embedding=512)
)


def cut(*ratios: tuple[str, float], ratio: float | None = None, round_to: int = 1) -> Cut:
    source = Source.of_example("siren", "Siren")
    settings = PruneSettings("l1", ratios, ratio=ratio, round_to=round_to)
    return Cut(source, "demo-cnn14", BEFORE, settings)


def test_widths_follow_from_ratios_and_rounding() -> None:
    config = cut(("C9", 0.5), ("C12", 0.3)).after.config
    assert config.widths == (*BEFORE.config.widths[:8], 128, 256, 512, 358)
    assert (config.classes, config.embedding) == (18, 512)
    assert cut(("C12", 0.3), round_to=16).after.config.widths[11] == 352  # 358.4 lies between 352 and 368
    assert cut().empty
    assert not cut(("C12", 0.3)).empty


@pytest.mark.parametrize(
    ("chosen", "ratio"),
    [
        (cut(("C12", 0.3), ratio=0.3), 0.3),
        (cut(("C9", 0.5), ("C12", 0.25)), 1 / 3),  # 128 + 128 of 256 + 512 filters
        (cut(("C12", 0.9)), 0.9),  # 51 of 512 are left: 0.9004
        (cut(("C12", 0.89)), 1 - 56 / 512),
        (cut(), 0.0),
    ],
)
def test_a_cut_is_on_the_curves_at_the_share_of_filters_that_it_removes(chosen: Cut, ratio: float) -> None:
    assert chosen.ratio == pytest.approx(ratio, abs=1e-12)


def test_counts_are_before_and_after() -> None:
    before, after = cut(*((f"C{number}", 0.5) for number in range(7, 13)), ratio=0.5).counts
    # 3 x 3 kernels, two entries of batch norm a filter and a mel band, two linear layers
    assert (before.params_trainable, after.params_trainable) == (4_992_482, 1_394_402)
    assert (before.macs, after.macs) == (2_327_542_016, 1_849_940_224)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ((), "no layer"),
        (("C9",), "C9"),
        (("C7", "C8"), "C7 to C8"),
        (("C7", "C8", "C9", "C10", "C11", "C12"), "C7 to C12"),
        (("C9", "C12"), "C9 and C12"),
        (("C2", "C7", "C9"), "C2, C7 and C9"),
        (("C2", "C7", "C9", "C10"), "C2, C7 and 2 more"),
    ],
)
def test_layers_in_words(layers: tuple[str, ...], text: str) -> None:
    assert BEFORE.text(layers) == text


def test_layers_that_share_their_filters_are_one() -> None:
    """The first convolution's outputs are added to those of both blocks of ResNet22's layer1: they have the same 64 filters."""
    resnet = Structure("resnet22", architecture("resnet22").configure(classes=2))
    others = ("resnet.layer1.0.conv2", "resnet.layer1.1.conv2")
    assert resnet.coupled["conv_block1.conv2"] == others
    assert set(resnet.layers) & set(others) == set()
    assert resnet.default_layers == resnet.layers
    assert resnet.text(resnet.layers) == "all layers"
    halved = resnet.pruned({"conv_block1.conv2": 0.5})
    widths = dict(zip(architecture("resnet22").layers, halved.config.widths, strict=True))
    assert [widths[layer] for layer in ("conv_block1.conv2", *others, "resnet.layer1.1.conv1")] == [
        32,
        32,
        32,
        64,
    ]
