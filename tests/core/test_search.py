"""Plans that are found: within what was asked, no worse than what they are compared with, and what their notes say is true."""

from __future__ import annotations

import csv
import itertools
import re

import numpy as np
import pytest
import torch

from core.audio import load_clip
from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.widths import kept_widths
from core.profiling import Latency, count
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.repair import repair
from core.pruning.search import search
from core.pruning.search.allocation import Allocation
from core.pruning.search.budget import Budget
from core.pruning.search.evaluator import PlanEvaluator
from core.pruning.search.search import find_plan
from core.pruning.search.sensitivity import Sensitivity, mean_average_precision, measure_sensitivity
from core.pruning.surgery import prune
from core.tagging import load_tagger

CONFIG = Cnn14Config((8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 32, 32), 5, 32)


@pytest.fixture(scope="module")
def model() -> Cnn14:
    torch.manual_seed(4)
    return Cnn14(CONFIG).eval()


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    return [0.1 * rng.standard_normal(16_000).astype(np.float32) for _ in range(3)]


@pytest.fixture(scope="module")
def sensitivity(model, clips) -> Sensitivity:
    return measure_sensitivity(model, clips)


def share(config: Cnn14Config, kind: str, whole: Cnn14Config = CONFIG) -> float:
    after, before = count(config), count(whole)
    return after.macs / before.macs if kind == "macs" else after.params_trainable / before.params_trainable


def made_up(layers: tuple[str, ...], losses: list[list[float]]) -> Sensitivity:
    table = np.array(losses)
    return Sensitivity(layers, (0.25, 0.5, 0.75), table, np.ones_like(table), "l1", 1)


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize("exponent", [1.0, 2.0])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_allocation_finds_what_trying_everything_finds(kind, exponent, part):
    losses = [[0.1, 0.3, 0.9], [0.02, 0.2, 2.0], [0.3, 0.5, 0.6]]
    allocation = Allocation("cnn14", CONFIG, made_up(("C6", "C10", "C12"), losses))
    least = allocation.share(allocation.smallest(), kind)
    asked = least + part * (1 - least)
    found = allocation.path(kind, exponent)(asked)
    possible = []
    chosen = [LAYERS.index(layer) for layer in ("C6", "C10", "C12")]
    for steps in itertools.product(
        *(range(0, len(allocation.ladders[layer].filters), 2) for layer in chosen)
    ):
        every = np.zeros(12, int)
        every[chosen] = steps
        if allocation.share(every, kind) <= asked:
            possible.append(allocation.predicted(every, exponent))
    assert allocation.share(found, kind) <= asked
    assert allocation.predicted(found, exponent) <= 1.15 * min(possible)


def test_what_a_step_costs_and_loses():
    allocation = Allocation("cnn14", CONFIG, made_up(("C11",), [[0.1, 0.4, 0.3]]))
    steps = np.zeros(12, int)
    assert allocation.share(steps, "macs") == allocation.share(steps, "params") == 1
    last = len(allocation.ladders[10].filters) - 1
    steps[10] = last
    assert allocation.ladders[10].ratios[last] <= 0.75  # never further than was tried
    assert kept_widths(CONFIG.widths, allocation.ratios(steps), LAYERS) == (*CONFIG.widths[:10], 8, 32)
    after = Cnn14Config((*CONFIG.widths[:10], 8, 32), 5, 32)
    assert allocation.share(steps, "params") == pytest.approx(share(after, "params"))
    # a larger ratio is not expected to lose less than a smaller one
    assert allocation.predicted(steps, 1.5) == pytest.approx(0.4)
    half = int(np.flatnonzero(allocation.ladders[10].filters == 16)[0])
    steps[10] = half
    assert allocation.predicted(steps, 1.0) == pytest.approx(0.4)
    both = Allocation("cnn14", CONFIG, made_up(("C11", "C12"), [[0.1, 0.4, 0.5], [0.1, 0.1, 0.9]]))
    steps[11] = half
    assert both.predicted(steps, 1.0) == pytest.approx(0.5)
    assert both.predicted(steps, 2.0) == pytest.approx((0.4**0.5 + 0.1**0.5) ** 2)


@pytest.fixture(scope="module")
def found(model, clips, sensitivity) -> PruningPlan:
    return find_plan(model, sensitivity, budget=Budget("params", 0.4), waveforms=clips)


@pytest.mark.parametrize(("kind", "asked"), [("params", 0.4), ("macs", 0.95)])
def test_a_budget_is_met_and_the_notes_are_true(model, clips, sensitivity, found, kind, asked):
    if kind == "macs":
        found = find_plan(model, sensitivity, budget=Budget(kind, asked), waveforms=clips)
    pruned = prune(model, found)
    assert share(pruned.config, kind) <= asked
    assert share(pruned.config, kind) > 0.95 * asked  # and made use of
    parent = predictions(model, clips)
    notes = found.origin
    assert notes["loss_measured"] == pytest.approx(
        fidelity(parent, predictions(pruned, clips)).divergence, rel=1e-3
    )
    assert notes["remaining"][kind] == pytest.approx(share(pruned.config, kind), abs=1e-5)
    if (
        kind == "macs"
    ):  # C7 to C12 alone cannot bring this network there: most of its MACs are the front end's
        assert notes["uniform"] is None
    else:
        uniform = prune(model, plan(model, notes["uniform"]["ratios"]))
        assert share(uniform.config, kind) <= asked
        loss = fidelity(parent, predictions(uniform, clips)).divergence
        assert notes["uniform"]["loss"] == pytest.approx(loss, rel=1e-3)
        assert notes["loss_measured"] <= loss
    assert (notes["method"], notes["budget"], notes["clips"]) == ("budget", {"kind": kind, "share": asked}, 3)
    assert notes["sensitivity"] == sensitivity.document()


def test_only_measured_layers_are_pruned_and_widths_rounded(model, clips):
    some = measure_sensitivity(model, clips, layers=("C9", "C11", "C12"), criterion_name="l2")
    found = find_plan(model, some, budget=Budget("params", 0.6), waveforms=clips, round_to=4)
    assert set(found.kept) <= {"C9", "C11", "C12"}
    assert all(len(kept) % 4 == 0 for kept in found.kept.values())
    assert (found.criterion, found.round_to) == ("l2", 4)
    assert share(prune(model, found).config, "params") <= 0.6


def test_a_tolerated_loss_is_kept(model, clips, sensitivity):
    parent = predictions(model, clips)
    kept = []
    for tolerance in (0.0, float(sensitivity.divergence.min()), float(np.median(sensitivity.divergence))):
        found = find_plan(model, sensitivity, tolerance=tolerance, waveforms=clips)
        pruned = prune(model, found)
        assert fidelity(parent, predictions(pruned, clips)).divergence <= tolerance + 1e-9
        assert (found.origin["method"], found.origin["tolerance"]) == ("tolerance", tolerance)
        kept.append(share(pruned.config, "macs"))
    assert 1 >= kept[0] >= kept[1] >= kept[2]
    assert kept[2] < 0.99


def test_with_labels_the_loss_is_the_fall_of_map(model, clips):
    targets = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], bool)
    labelled = measure_sensitivity(model, clips, targets=targets)
    found = find_plan(model, labelled, tolerance=0.1, waveforms=clips, targets=targets)
    before, after = (
        mean_average_precision(targets, predictions(each, clips)) for each in (model, prune(model, found))
    )
    assert before - after <= 0.1
    assert found.origin["loss_measured"] == pytest.approx(before - after)
    assert found.origin["loss"] == "mAP"


def test_what_will_be_repaired_is_heard_repaired(model, clips, sensitivity):
    found = find_plan(
        model, sensitivity, budget=Budget("params", 0.4), waveforms=clips, repair=RepairConfig()
    )
    pruned = prune(model, found)
    assert share(pruned.config, "params") <= 0.4
    mended = repair(
        model, found, pruned, [clips[0], clips[2]], RepairConfig()
    ).model  # and heard on the one between
    loss = fidelity(predictions(model, clips[1:2]), predictions(mended, clips[1:2])).divergence
    assert found.origin["loss_measured"] == pytest.approx(loss, rel=1e-3)
    assert found.origin["loss_measured"] <= found.origin["uniform"]["loss"]
    assert found.origin["repaired"] is True


def test_one_clip_is_cut_in_two_for_repair(model, clips):
    made = plan(model, 0.5)
    mended = repair(model, made, prune(model, made), [clips[0][:8_000]], RepairConfig()).model
    other = [clips[0][8_000:]]
    loss = fidelity(predictions(model, other), predictions(mended, other)).divergence
    assert PlanEvaluator(model, clips[:1], repair=RepairConfig()).loss(made) == pytest.approx(loss, rel=1e-3)


def test_time_is_what_was_measured(model, clips, sensitivity, monkeypatch):
    """With times that follow the MACs, in place of a clock that no test can rely on."""

    def by_macs(runs, waveform, repeats):
        assert len(waveform) == 320_000
        return tuple(Latency.of([count(run.args[0].__self__.config).macs / 1e6] * repeats) for run in runs)

    monkeypatch.setattr(search, "measure_latencies", by_macs)
    found = find_plan(model, sensitivity, budget=Budget("time", 0.96), waveforms=clips)
    remains = share(prune(model, found).config, "macs")
    assert 0.94 < remains <= 0.96
    assert found.origin["time"] == pytest.approx(remains, abs=1e-4)
    with pytest.raises(PruningError, match=r"of the time cannot be met: with 90% of all layers removed"):
        find_plan(model, sensitivity, budget=Budget("time", 0.1), waveforms=clips)


def test_an_impossible_budget_says_what_is_possible(model, clips, sensitivity):
    with pytest.raises(PruningError, match=r"10% of the macs cannot be met") as raised:
        find_plan(model, sensitivity, budget=Budget("macs", 0.1), waveforms=clips)
    least = float(re.search(r"removed, ([\d.]+)% remain", str(raised.value))[1]) / 100
    found = find_plan(model, sensitivity, budget=Budget("macs", least), waveforms=clips)
    assert share(prune(model, found).config, "macs") <= least


def test_progress_reaches_its_end_and_can_stop_the_search(model, clips, sensitivity, found):
    seen = []
    again = find_plan(
        model,
        sensitivity,
        budget=Budget("params", 0.4),
        waveforms=clips,
        on_progress=lambda *at: seen.append(at),
    )
    assert again == found  # the same question has the same answer
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]

    class StopError(Exception):
        pass

    def stop(done, total):
        raise StopError

    with pytest.raises(StopError):
        find_plan(model, sensitivity, tolerance=0.1, waveforms=clips, on_progress=stop)


@pytest.mark.parametrize(
    ("kind", "asked"), [("watts", 0.5), ("macs", 0), ("macs", 1), ("macs", float("nan"))]
)
def test_impossible_budgets_are_refused(kind, asked):
    with pytest.raises(PruningError, match="A budget is"):
        Budget(kind, asked)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "give one of them"),
        ({"budget": Budget("macs", 0.9), "tolerance": 0.1}, "give one of them"),
        ({"tolerance": -0.1}, "at least 0; got -0.1"),
        ({"tolerance": float("nan")}, "at least 0; got nan"),
        ({"tolerance": 0.1, "waveforms": []}, "give at least one"),
        ({"tolerance": 0.1, "round_to": 0}, "at least 1"),
        ({"tolerance": 0.1, "criterion_name": "l1"}, "not by l1"),
        ({"tolerance": 0.1, "targets": np.ones((3, 4))}, "got an array of shape"),
    ],
)
def test_impossible_requests_are_refused(model, clips, sensitivity, changes, said):
    with pytest.raises(PruningError, match=said):
        find_plan(model, sensitivity, **({"waveforms": clips} | changes))


def test_an_automatic_plan_beats_the_uniform_one_on_clips_it_was_not_found_on(shared):
    """The embedded network at the MACs of half of C7..C12: found on 1 s of 4 clips of fold 1, compared on 16 of the other folds."""
    model = load_tagger("demo-cnn14").model
    with (shared / "clips" / "meta.csv").open() as file:
        rows = list(csv.DictReader(file))
    folder = shared / "clips" / "audio"
    first = [row["filename"] for row in rows if row["fold"] == "1"][6::12][:4]
    others = [row["filename"] for row in rows if row["fold"] != "1"][6::12][:16]
    heard, unheard = (
        [load_clip(folder / name).waveform[:32_000] for name in names] for names in (first, others)
    )
    uniform = plan(model, 0.5)
    asked = Budget("macs", share(prune(model, uniform, share=True).config, "macs", model.config))
    found = find_plan(model, measure_sensitivity(model, heard), budget=asked, waveforms=heard)
    assert share(prune(model, found, share=True).config, "macs", model.config) <= asked.share
    parent = predictions(model, unheard)
    lost = [
        fidelity(parent, predictions(prune(model, each, share=True), unheard)).divergence
        for each in (uniform, found)
    ]
    assert lost[1] < 0.9 * lost[0]
