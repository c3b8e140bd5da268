"""What follows from the Prune page's settings: widths, the position on the curves, and layers in words."""

from __future__ import annotations

import pytest

from core.models.cnn import Cnn14Config
from dashboard.prune.cut import Cut
from dashboard.prune.settings import PruneSettings, layers_text
from dashboard.server.source import Source

BEFORE = Cnn14Config((16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512), classes=18, embedding=512)


def cut(*ratios: tuple[str, float], ratio: float | None = None, round_to: int = 1) -> Cut:
    source = Source.of_example("siren", "Siren")
    settings = PruneSettings("l1", ratios, ratio=ratio, round_to=round_to)
    return Cut(source, "demo-cnn14", BEFORE, settings)


def test_widths_follow_from_ratios_and_rounding() -> None:
    assert cut(("C9", 0.5), ("C12", 0.3)).after.widths == (*BEFORE.widths[:8], 128, 256, 512, 358)
    assert cut(("C12", 0.3), round_to=16).after.widths[11] == 352  # 358.4 lies between 352 and 368
    assert (cut(("C12", 0.3)).after.classes, cut(("C12", 0.3)).after.embedding) == (18, 512)
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
    assert layers_text(layers) == text
