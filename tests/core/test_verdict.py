"""The result in words: every kind of outcome, written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.api import plan, prune
from core.audio import encode_wav, load_clip
from core.classes import ClassSet
from core.compare import Comparison, agreement, compare
from core.tagging import load_tagger
from core.tags import Tags
from core.units import beside_threshold
from core.verdict import SILENT, headline, summary, verdict

NAMES = ("Dog", "Rain", "Clock", "Smoke detector, smoke alarm", "Music", "Siren")


def tags(values: dict[str, float]) -> Tags:
    listed = np.array(list(values.values()), np.float32)
    return Tags("", ClassSet.from_names(list(values)), listed, "torch", 1.0, ((0.0, 1.0),))


def said(before: list[float], after: list[float], threshold: float = 0.5) -> str:
    one, two = (tags(dict(zip(NAMES, values, strict=False))) for values in (before, after))
    return verdict(agreement(one, two, threshold=threshold), "CNN14", "Pruned")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ([0.91, 0.1], [0.89, 0.1], "Both recognise Dog (0.91 → 0.89); no difference above 0.10"),
        ([0.9, 0.8], [0.9, 0.83], "Both recognise Dog and Rain; no difference above 0.10"),
        (
            [0.875, 0.75, 0.625],
            [0.75, 0.625, 0.5],
            "Both recognise Dog, Rain and Clock; largest difference 0.12 (Dog)",
        ),
        ([0.9, 0.8], [0.9, 0.7], "Both recognise Dog and Rain; largest difference 0.10 (Rain)"),
        ([0.9, 0.1], [0.8, 0.1], "Both recognise Dog (0.90 → 0.80)"),
        (
            [0.9, 0.1, 0.1, 0.1],
            [0.8, 0.1, 0.1, 0.4],
            "Both recognise Dog (0.90 → 0.80); largest difference 0.30 (“Smoke detector, smoke alarm”)",
        ),
        ([0.1, 0.1, 0.95], [0.1, 0.1, 0.46], "Pruned loses Clock (0.95 → 0.46)"),
        ([0.9, 0.1, 0.95], [0.8, 0.1, 0.46], "Pruned loses Clock (0.95 → 0.46); both recognise Dog"),
        ([0.2, 0.1], [0.6, 0.1], "Pruned gains Dog (0.20 → 0.60)"),
        ([0.2, 0.9], [0.6, 0.1], "Pruned loses Rain (0.90 → 0.10) and gains Dog (0.20 → 0.60)"),
        (
            [0.9, 0.8, 0.1, 0.1, 0.7],
            [0.1, 0.2, 0.6, 0.1, 0.7],
            "Pruned loses Dog (0.90 → 0.10) and Rain (0.80 → 0.20), and gains Clock (0.10 → 0.60); both recognise Music",
        ),
        (
            [0.9, 0.8, 0.7, 0.6],
            [0.9, 0.8, 0.7, 0.6],
            "Both recognise Dog, Rain, Clock and 1 more; no difference above 0.10",
        ),
        (
            [0.9] * 6,
            [0.1] * 6,
            "Pruned loses Dog (0.90 → 0.10), Music (0.90 → 0.10), Rain (0.90 → 0.10) and 3 more",
        ),
        (
            [0.4, 0.2],
            [0.3, 0.44],
            "Neither recognises any of 2 classes at 0.50; the likeliest is Rain (0.20 → 0.44)",
        ),
        (
            [0.4, 0.2],
            [0.37, 0.25],
            "Neither recognises any of 2 classes at 0.50; the likeliest is Dog (0.40 → 0.37); no difference above 0.10",
        ),
        (
            [0.1, 0.1, 0.1, 0.9],
            [0.1, 0.1, 0.1, 0.8],
            "Both recognise “Smoke detector, smoke alarm” (0.90 → 0.80)",
        ),
    ],
)
def test_every_kind_of_outcome(before: list[float], after: list[float], text: str) -> None:
    assert said(before, after) == text


def test_the_threshold_itself_counts_and_figures_show_the_side() -> None:
    assert said([0.5, 0.1], [0.5, 0.1]) == "Both recognise Dog (0.50 → 0.50); no difference above 0.10"
    assert said([0.5, 0.1], [0.4990234375, 0.1]) == "Pruned loses Dog (0.50 → 0.499)"
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert said([0.5, 0.1], [below, 0.1]) == "Pruned loses Dog (0.50 → 0.49999997)"
    assert said([0.25, 0.1], [0.2, 0.1], threshold=0.25) == "Pruned loses Dog (0.25 → 0.20)"


@pytest.mark.parametrize("threshold", [0.05, 0.35, 0.5, 0.95])
def test_a_printed_figure_is_never_on_the_other_side_of_the_threshold(threshold: float) -> None:
    for offset in (0.0, 1e-9, 1e-6, 0.0004, 0.004, 0.006, 0.04):
        for value in (threshold - offset, threshold + offset):
            assert (float(beside_threshold(value, threshold)) >= threshold) == (value >= threshold)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ([("", "")], "Neither network recognises anything at 0.50 on 1 recording."),
        ([("D", "D")], "P keeps the only tag at 0.50 on 1 recording."),
        ([("D", "D"), ("R", "R")], "P keeps both tags at 0.50 on 2 recordings."),
        ([("D", "D"), ("RC", "RC")], "P keeps all 3 tags at 0.50 on 2 recordings."),
        ([("D", "")], "P loses the only tag at 0.50 on 1 recording. Lost: Dog."),
        ([("DR", "D")], "P keeps 1 of 2 tags at 0.50 on 1 recording. Lost: Rain."),
        (
            [("D", "DR"), ("R", "RC")],
            "P keeps both tags at 0.50 on 2 recordings; none of them is unchanged. Gained: Rain and Clock.",
        ),
        (
            [("", "D"), ("", "")],
            "P only gains tags at 0.50 on 2 recordings; 1 of them is unchanged. Gained: Dog.",
        ),
        (
            [("DR", "D"), ("R", "C"), ("M", "M")],
            "P keeps 2 of 4 tags at 0.50 on 3 recordings; 1 of them is unchanged. Lost: Rain (2). Gained: Clock.",
        ),
        (
            [("DRCM", "")],
            "P loses all 4 tags at 0.50 on 1 recording. Lost: Dog, Music, Rain and 1 more.",
        ),
    ],
)
def test_several_recordings_in_sentences(pairs: list[tuple[str, str]], text: str) -> None:
    agreements = [
        agreement(
            *(
                tags({name: 0.9 * (name[0] in letters) for name in ("Dog", "Rain", "Clock", "Music")})
                for letters in pair
            ),
            threshold=0.5,
        )
        for pair in pairs
    ]
    assert summary(agreements, "P") == text


def test_classes_of_one_network_alone_are_named() -> None:
    one, two = tags({"Dog": 0.9, "Rain": 0.7}), tags({"Dog": 0.8, "Clock": 0.6, "Music": 0.5})
    assert verdict(agreement(one, two, threshold=0.5), "A", "B") == (
        "Both recognise Dog (0.90 → 0.80); only A has the class Rain; only B has the classes Clock and Music"
    )
    none = verdict(agreement(tags({"Dog": 0.1, "Rain": 0.7}), tags({"Dog": 0.2}), threshold=0.5), "A", "B")
    assert none == (
        "Neither recognises the only class that both have at 0.50; the likeliest is Dog (0.10 → 0.20); only A has the class Rain"
    )


def test_names_are_escaped_and_nothing_else() -> None:
    result = agreement(tags({"Dog": 0.9}), tags({"Dog": 0.1}))
    assert verdict(result, "CNN14", "Pruned", str.upper) == "Pruned loses DOG (0.90 → 0.10)"


def test_a_silent_clip_has_nothing_to_recognise_whatever_the_networks_output() -> None:
    one, two = tags({"Dog": 0.14}), tags({"Dog": 0.9})
    for level, silent in ((0.0, True), (0.1, False)):
        clip = load_clip(encode_wav(np.full(32_000, level)), name="a.wav")
        text = headline(Comparison(clip, one, two, agreement(one, two)), "A", "B")
        assert text == (SILENT if silent else "B gains Dog (0.14 → 0.90)")


RECORDINGS = {  # of the fold that the pair did not learn from, with labels of shared/clips/meta.csv
    "4-esc-182395-A-dog_bark.ogg": {"Dog"},
    "4-esc-160999-A-rain.ogg": {"Rain"},
    "4-esc-167063-A-sea_waves.ogg": {"Ocean", "Waves, surf"},
    "4-esc-164021-A-rooster.ogg": {"Chicken, rooster", "Crowing, cock-a-doodle-doo"},
    "4-libri-1081-125237-0000-speech.ogg": {"Speech"},
}


def test_recordings_whose_tags_pruning_keeps_and_breaks(shared: Path) -> None:
    """The demonstration pair keeps what the recordings' labels say; 75 % removed without repair loses all of it."""
    one, two = (load_tagger(name, runtime="torch") for name in ("demo-cnn14", "demo-epanns"))
    broken = prune(one, plan(one, 0.75))
    for name, labels in RECORDINGS.items():
        clip = load_clip(shared / "clips" / "audio" / name)
        kept, lost = compare(clip, one, two), compare(clip, one, broken)
        assert labels <= set(kept.agreement.kept)
        assert labels <= set(lost.agreement.lost)
        assert headline(kept, "CNN14", "E-PANNs").startswith("Both recognise ")
        said = headline(lost, "CNN14", "Pruned")
        assert said.startswith("Pruned loses ")
        assert " and gains Music (0.0" in said  # which it outputs for every clip
        assert lost.agreement.divergence > 100 * kept.agreement.divergence


def test_a_sound_that_is_no_class_gets_the_nearest(shared: Path) -> None:
    clip = load_clip(shared / "pool" / "audio" / "00003-sounds-bat-01.ogg")
    one, two = (load_tagger(name, runtime="torch") for name in ("demo-cnn14", "demo-epanns"))
    assert headline(compare(clip, one, two), "CNN14", "E-PANNs") == (
        "Both recognise Bird (0.27 → 0.30); no difference above 0.10"
    )
