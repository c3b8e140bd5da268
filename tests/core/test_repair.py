"""Repair: exact where nothing is lost for good, batch norm against direct computation, and agreement on clips never heard."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core import load_tagger
from core.audio import load_clip
from core.errors import AudioError, PruningError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.frontend import FRONT_END, LogMel
from core.models.trace import trace
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair import variants
from core.pruning.repair.calibration import MAX_SECONDS, calibration_windows
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.kernels import Kernel, patches
from core.pruning.repair.moments import _Moments
from core.pruning.repair.repair import repair
from core.pruning.repair.spans import Spans
from core.pruning.repair.variants import LogMels, add_variants
from core.pruning.surgery import prune

WIDTHS = (4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9)
CONFIG = Cnn14Config(WIDTHS, 5, 12)
EXACT = RepairConfig(map_ridge=1e-12, tap_ridge=1e-12, summary_ridge=1e-12, windows=12)
QUICK = RepairConfig(windows=4)
LONGEST = MAX_SECONDS * FRONT_END.sample_rate / FRONT_END.hop


def noises(count: int, seconds: float = 1.0, seed: int = 0) -> list[np.ndarray]:
    """Noise that comes and goes, each at a level of its own."""
    rng = np.random.default_rng(seed)
    length = round(32_000 * seconds)
    swell = np.abs(np.sin(np.linspace(0, 9, length)))
    return [
        (level * swell * rng.standard_normal(length)).astype(np.float32)
        for level in rng.uniform(0.01, 0.4, count)
    ]


@pytest.fixture(scope="module")
def model() -> Cnn14:
    """A small network whose batch norms have settled on noise, so that no feature map is dead."""
    torch.manual_seed(3)
    network = Cnn14(CONFIG)
    torch.nn.init.normal_(network.fc_audioset.bias)
    for norm in (network.bn0, *map(network.batch_norm, LAYERS)):
        norm.momentum = 1.0  # the statistics of the last batch, and so of the only one
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack(noises(4, seed=11))))
        for layer in LAYERS:
            network.batch_norm(layer).bias.uniform_(0.0, 0.8)
            network.batch_norm(layer).weight.uniform_(0.5, 1.5)
    return network.eval()


def some_plan(kept: dict[str, tuple[int, ...]], widths: tuple[int, ...] = WIDTHS) -> PruningPlan:
    ratios = {layer: 1 - len(indices) / widths[LAYERS.index(layer)] for layer, indices in kept.items()}
    return PruningPlan("cnn14", widths, "l1", ratios, kept)


def logits(network: Cnn14, waveforms: list[np.ndarray]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(torch.from_numpy(waveform)[None]) for waveform in waveforms])


def state(network: Cnn14) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def with_copies(model: Cnn14, layers: tuple[str, ...]) -> tuple[Cnn14, PruningPlan]:
    """The network with two filters of each layer made 2 and 0.5 times the first one, and the plan that removes these two."""
    network = Cnn14(model.config)
    network.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer in layers:
            norm, weight = network.batch_norm(layer), network.convolution(layer).weight
            for copy, times in ((1, 2.0), (3, 0.5)):
                weight[copy] = weight[0]
                norm.running_mean[copy], norm.running_var[copy] = norm.running_mean[0], norm.running_var[0]
                norm.weight[copy], norm.bias[copy] = times * norm.weight[0], times * norm.bias[0]
    kept = {
        layer: tuple(i for i in range(WIDTHS[LAYERS.index(layer)]) if i not in (1, 3)) for layer in layers
    }
    return network.eval(), some_plan(kept)


@pytest.mark.parametrize("layers", [("C7",), ("C12",), ("C8", "C9", "C12"), LAYERS], ids=str)
def test_what_kept_filters_can_stand_in_for_is_restored(model, layers):
    wide, made = with_copies(model, layers)
    pruned = prune(wide, made)
    heard, unheard = noises(6), noises(3, seed=5)
    repaired = repair(wide, made, pruned, heard, EXACT).model
    wanted = logits(wide, unheard)
    assert (logits(pruned, unheard) - wanted).abs().max() > 0.01
    assert (logits(repaired, unheard) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_the_corrected_kernel_is_the_one_worked_out_by_hand(model):
    wide, made = with_copies(model, ("C7",))
    repaired = repair(wide, made, prune(wide, made), noises(6), EXACT).model
    kernel = wide.convolution("C8").weight
    by_hand = torch.cat(
        [kernel[:, :1] + 2 * kernel[:, 1:2] + 0.5 * kernel[:, 3:4], kernel[:, [2, 4, 5, 6]]], 1
    )
    assert (repaired.convolution("C8").weight - by_hand).abs().max() < 1e-4
    fitting = {
        name: tensor
        for name, tensor in repaired.state_dict().items()
        if not name.startswith(("conv_block4", "conv_block5", "conv_block6", "fc1"))
    }
    assert all(torch.equal(tensor, wide.state_dict()[name]) for name, tensor in fitting.items())


def test_patches_are_what_a_convolution_hears():
    maps = torch.randn(1, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    positions = torch.tensor([0, 5, 9, 23])
    kernel = Kernel.of(torch.nn.Conv2d(3, 2, 3, padding=1))
    assert torch.equal(patches(maps, positions, kernel), F.unfold(maps, 3, padding=1)[0].T[positions])


def test_batch_norms_bring_the_clips_to_the_unpruned_mean_and_spread(model):
    made = some_plan({"C9": (0, 2, 5), "C11": (1, 2, 3, 4)})
    heard = noises(4)
    repaired = repair(
        model, made, prune(model, made), heard, RepairConfig(reconstruct=False, windows=1)
    ).model

    def normalised(network: Cnn14, layer: str) -> np.ndarray:
        """Every value that leaves the layer's batch norm, (filters, values), by the network's own modules."""
        found = []
        with torch.inference_mode():
            for waveform in heard:
                x = network.normalize(network.front_end(torch.from_numpy(waveform)[None]))
                for name in LAYERS[: LAYERS.index(layer)]:
                    x = network.layer(name, x)
                found.append(network.batch_norm(layer)(network.convolution(layer)(x))[0].flatten(1))
        return torch.cat(found, 1).double().numpy()

    for layer, kept in (("C10", range(8)), ("C11", (1, 2, 3, 4)), ("C12", range(9))):
        unpruned, now = normalised(model, layer)[list(kept)], normalised(repaired, layer)
        assert np.abs(now.mean(1) - unpruned.mean(1)).max() < 1e-3
        assert np.abs(now.std(1) / unpruned.std(1) - 1).max() < 1e-2
    # what comes before the loss is as it was, and so are weights: this was batch norm alone
    for name, tensor in prune(model, made).state_dict().items():
        same = torch.equal(tensor, repaired.state_dict()[name])
        assert same or name.startswith(("conv_block5.bn2.running", "conv_block6.bn")), name


def test_nothing_removed_is_nothing_changed(model):
    whole = some_plan({})
    found = repair(model, whole, prune(model, whole), noises(2), QUICK)
    assert all(
        torch.equal(tensor, model.state_dict()[name]) for name, tensor in found.model.state_dict().items()
    )
    assert found.document["layers"] == {}


def test_neither_network_is_changed_nor_shared(model):
    made = plan(model, 0.5)
    pruned = prune(model, made)
    before, before_pruned = state(model), state(pruned)
    found = repair(model, made, pruned, noises(2), QUICK).model
    assert not found.training
    addresses = {
        tensor.data_ptr() for tensor in (*model.state_dict().values(), *pruned.state_dict().values())
    }
    assert not addresses & {tensor.data_ptr() for tensor in found.state_dict().values()}
    for tensors, network in ((before, model), (before_pruned, pruned)):
        assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in tensors.items())


def test_the_same_clips_give_the_same_network(model):
    made = plan(model, 0.5)
    first, second = (repair(model, made, prune(model, made), noises(3), QUICK).model for _ in range(2))
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())


def test_the_document_says_what_was_heard_and_what_it_did(model):
    made = plan(model, 0.5)
    clips = [*noises(2, seconds=1.0), noises(1, seconds=12.0)[0], noises(1, seconds=0.1)[0]]
    document = repair(model, made, prune(model, made), clips).document
    assert document["clips"] == 4
    assert document["seconds"] == 14.31  # the shortest was padded to 0.31 s
    assert document["variants"] == 32 - 5  # the longest was cut into two windows
    assert list(document["layers"]) == [*LAYERS[7:], "fc1"]
    for errors in document["layers"].values():
        assert 0 <= errors["after"] < errors["before"]


@pytest.mark.parametrize(
    "clips",
    [
        [np.zeros(32_000, np.float32), *noises(1)],
        [np.full(32_000, 1e-4, np.float32)],
        [noises(1, seconds=0.01)[0]],
    ],
    ids=["silence among sounds", "a constant", "320 samples"],
)
def test_meagre_clips_leave_no_nan(model, clips):
    made = plan(model, 0.5)
    found = repair(model, made, prune(model, made), clips, QUICK).model
    assert all(torch.isfinite(tensor).all() for tensor in found.state_dict().values())
    assert torch.isfinite(logits(found, noises(1))).all()


@pytest.mark.parametrize(
    ("clips", "error", "said"),
    [
        ([], PruningError, "at least one"),
        ([np.zeros(32_000, np.float32)] * 2, PruningError, "silent"),
        ([np.zeros(32_000, np.int16)], AudioError, "int16"),
        ([np.full(32_000, np.nan, np.float32)], AudioError, "finite"),
    ],
)
def test_clips_that_teach_nothing_are_refused(model, clips, error, said):
    made = plan(model, 0.5)
    with pytest.raises(error, match=said):
        repair(model, made, prune(model, made), clips)


def test_a_plan_that_made_another_network_is_refused(model):
    made, other = plan(model, 0.5), plan(model, 0.25)
    with pytest.raises(PruningError, match="widths"):
        repair(model, other, prune(model, made), noises(1))
    wider = Cnn14(Cnn14Config(tuple(2 * width for width in WIDTHS), 5, 12)).eval()
    with pytest.raises(PruningError, match="widths"):
        repair(wider, made, prune(model, made), noises(1))


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_ridges_are_refused(ridge):
    with pytest.raises(PruningError, match="tap_ridge"):
        RepairConfig(tap_ridge=ridge)


def test_progress_comes_to_its_end_and_can_stop_the_repair(model):
    made = plan(model, 0.5)
    seen: list[tuple[int, int]] = []
    repair(model, made, prune(model, made), noises(2), QUICK, on_progress=lambda *step: seen.append(step))
    assert all(first <= second for first, second in itertools.pairwise(seen))
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if 2 * done > total:
            raise StopError

    before = state(model)
    with pytest.raises(StopError):
        repair(model, made, prune(model, made), noises(2), QUICK, on_progress=stop)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())


def test_agreement_of_the_embedded_network_rises_on_clips_it_was_not_repaired_on(shared):
    with (shared / "clips" / "meta.csv").open() as manifest:
        rows = list(csv.DictReader(manifest))

    def clips(fold: str, step: int) -> list[np.ndarray]:
        names = sorted(row["filename"] for row in rows if row["fold"] == fold)
        return [load_clip(shared / "clips" / "audio" / name).waveform for name in names[::step]]

    model = load_tagger("demo-cnn14").model
    heard, unheard = clips("1", 4), clips("4", 5)
    wanted = predictions(model, unheard)
    for ratio, least in ((0.5, 0.5), (0.75, 0.3)):
        made = plan(model, ratio)
        pruned = prune(model, made)
        before = fidelity(wanted, predictions(pruned, unheard))
        after = fidelity(wanted, predictions(repair(model, made, pruned, heard).model, unheard))
        assert after.divergence < 0.25 * before.divergence
        assert after.first_tag > max(least, before.first_tag + 0.2)


@pytest.mark.parametrize("windows", [1, 9])
def test_variants_are_sounds_of_the_length_of_the_first_and_above_the_floor(windows):
    front_end = LogMel()
    logmels = [front_end(torch.from_numpy(waveform)[None]) for waveform in (*noises(2), noises(1, 0.5)[0])]
    found = [sound for sound, _ in add_variants(logmels, windows, LONGEST, LogMels(FRONT_END))]
    assert len(found) == max(3, windows)
    assert all(torch.equal(*pair) for pair in zip(logmels, found[:3], strict=True))
    for made in found[3:]:
        assert made.shape[2] in {logmel.shape[2] for logmel in logmels}
        assert torch.isfinite(made).all()
        assert made.min() >= -100.0
        # an equaliser and a second sound: never one of the originals again
        assert all(made.shape != logmel.shape or (made - logmel).std() > 1.0 for logmel in logmels)


def test_two_sounds_add_up_in_power(monkeypatch):
    """Without the equaliser and at equal level: 10 log10(10^(a/10) + 10^(b/10)) by hand, -40 dB and -50 dB give -39.586."""
    monkeypatch.setattr(variants, "_TILT_DB", 0.0)
    monkeypatch.setattr(variants, "_LEVEL_DB", 0.0)
    first, second = torch.full((1, 1, 5, 64), -40.0), torch.full((1, 1, 5, 64), -50.0)
    for made, _ in add_variants([first, second], 12, LONGEST, LogMels(FRONT_END))[2:]:
        level = float(made[0, 0, 0, 0])
        assert torch.allclose(made, torch.full_like(made, level))
        assert min(abs(level - sum_of_two) for sum_of_two in (-39.5861, -36.9897, -46.9897)) < 1e-3


def test_long_clips_share_the_calibration_time(model):
    """120 s in all: all of 5 s and 20 s, half of the other 95 s from each of the two long ones; windows of at most 10 s."""
    lengths = (5, 200, 20, 300)
    rng = np.random.default_rng(0)
    cut = calibration_windows(
        model,
        [0.1 * rng.standard_normal(32_000 * seconds).astype(np.float32) for seconds in lengths],
    )
    assert [window.shape[1] / 32_000 for window in cut] == [5, *[9.5] * 5, 10, 10, *[9.5] * 5]


def test_moments_by_hand():
    """Two windows: of 0, 1, 1, 0 the mean and the variance are 1/2 and 1/4; a constant has none, whatever rounding leaves."""
    moments = _Moments()
    moments.add(torch.tensor([[[[0.0, 1.0]], [[0.1, 0.1]]]]))
    moments.add(torch.tensor([[[[1.0], [0.0]], [[0.1], [0.1]]]]))
    mean, variance = moments.result()
    assert mean.tolist() == pytest.approx([0.5, 0.1])
    assert variance.tolist() == pytest.approx([0.25, 0.0])
    assert variance.min() >= 0


def test_the_spans_that_give_summaries_by_hand(model):
    """Of 10 frames: all of them; 4 from 0, 2, 4 and 6; 8 from 0 (a second half-overlapping one would end at 12)."""
    steps = trace(model, 319 * 320)  # 320 frames, five times halved
    at = steps.position("fc1")
    spans = Spans.before(model, steps, at)
    (value,) = spans.sources
    frames = torch.arange(10.0).repeat(1, 9, 1)  # the mean over the bands of C12's nine maps
    with torch.inference_mode():
        rows = spans.rows(model, steps, {value: frames}, torch.full((1, 9), 13.5))
    # the maximum and the mean of each: 9 + 4.5, 3 + 1.5, 5 + 3.5 …
    assert rows[:, 0].tolist() == [13.5, 4.5, 8.5, 12.5, 16.5, 10.5]


def test_the_ridges_are_those_of_the_document():
    text = (Path(__file__).resolve().parents[2] / "docs" / "repair.md").read_text(encoding="utf-8")
    assert "(0.001 for maps and fc1, 0.01 for kernels)" in text
    config = RepairConfig()
    assert (config.map_ridge, config.tap_ridge, config.summary_ridge) == (0.001, 0.01, 0.001)
