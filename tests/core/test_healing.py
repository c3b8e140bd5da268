"""Healing: that agreement rises, that time and memory bound it, that it can be ended early, and that any architecture can be healed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core import api
from core.audio import encode_wav, load_clip
from core.errors import DataError
from core.models.cnn import Cnn14, Cnn14Config
from core.models.network import Network
from core.models.registry import architecture
from core.runtime.background import TaskCancelledError
from core.tagging import load_tagger
from core.training import healing
from core.training.agreement import teacher_agreement
from core.training.healing import heal, needed_bytes, windows_a_step
from core.training.loop import Progress
from core.training.recordings import Listed, Recordings
from core.training.students import probabilities
from tests.core.networks import narrow


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    rng = np.random.default_rng(0)
    return Recordings.of(
        (Listed(Path(f"{n}.wav"), str(n)), (0.05 * (n + 1) * rng.standard_normal(16_000)).astype(np.float32))
        for n in range(6)
    )


def pair() -> tuple[Network, Network]:
    """A network that reacts strongly, so that there is something to agree on, and the same with other outputs' weights."""
    torch.manual_seed(0)
    model = Cnn14(Cnn14Config((8,) * 12, classes=4, embedding=16)).eval()
    other = Cnn14(Cnn14Config((8,) * 12, classes=4, embedding=16)).eval()
    with torch.no_grad():
        model.fc_audioset.weight.mul_(4_000)
    other.load_state_dict(
        {**model.state_dict(), "fc_audioset.weight": torch.zeros_like(model.fc_audioset.weight)}
    )
    return model, other


def test_agreement_rises_on_recordings_that_are_not_learned_from(recordings, monkeypatch):
    monkeypatch.setattr(
        healing, "RECIPE", healing.replace(healing.RECIPE, seconds=0.5, batch=2, learning_rate=0.005)
    )
    model, pruned = pair()
    before = [parameter.clone() for parameter in (*model.parameters(), *pruned.parameters())]
    reports: list[Progress] = []
    held_out = recordings.select([0, 1])
    healed = heal(
        model,
        pruned,
        recordings.select([2, 3, 4, 5]),
        minutes=0,
        steps=60,
        held_out=held_out,
        on_progress=reports.append,
    )
    agreement = healed.document["agreement"]
    assert agreement["after"]["difference"] < 0.7 * agreement["before"]["difference"]
    # Before the first step, at every tenth of the run, and its end: measured here again.
    assert [report.step for report in reports if report.measured] == list(range(0, 61, 6))
    outputs = [
        np.stack([probabilities(network, held_out.waveform(row)).numpy() for row in range(2)])
        for network in (model, healed.model)
    ]
    assert agreement["after"] == teacher_agreement(*outputs).document()
    assert healed.document["steps"] == 60
    assert healed.document["held_out"] == 2
    for old, new in zip(before, (*model.parameters(), *pruned.parameters()), strict=True):
        assert torch.equal(old, new)


def test_it_ends_when_its_minutes_are_over(recordings, monkeypatch):
    monkeypatch.setattr(healing, "RECIPE", healing.replace(healing.RECIPE, seconds=0.5, batch=2))
    totals = []
    healed = heal(
        *pair(),
        recordings,
        minutes=0.02,
        on_progress=lambda report: totals.append((report.step, report.steps)),
    )
    assert healed.document["steps"] >= 1
    assert 1.2 <= healed.document["seconds"] < 10
    assert "agreement" not in healed.document
    assert totals[-1][0] == totals[-1][1]  # the schedule ends where the run does


def test_what_was_reached_is_kept_when_it_is_ended_early(recordings, monkeypatch):
    monkeypatch.setattr(healing, "RECIPE", healing.replace(healing.RECIPE, seconds=0.5, batch=2))

    def stop(report: Progress) -> None:
        if report.step == 2:
            raise TaskCancelledError

    healed = heal(*pair(), recordings, minutes=60, on_progress=stop)
    assert healed.document["steps"] == 2


def test_memory_bounds_the_batch_and_too_little_is_refused():
    """Four copies of the weights at least (Adam's two, gradients, the average), and nothing fits into nothing."""
    config = architecture("cnn14").configure()
    weights = 4 * 80_753_615
    assert needed_bytes("cnn14", config, config, 2) > 5 * weights
    wide, small = (Cnn14Config((width,) * 12, classes=4, embedding=8) for width in (16, 8))
    assert windows_a_step("cnn14", wide, small) == 8
    assert windows_a_step("cnn14", wide, small, needed_bytes("cnn14", wide, small, 8)) == 8
    assert windows_a_step("cnn14", wide, small, needed_bytes("cnn14", wide, small, 8) - 1) == 4
    with pytest.raises(DataError, match=r"needs .* of memory and 1.00 MB is free; prune more"):
        windows_a_step("cnn14", wide, small, 10**6)


def test_other_outputs_are_refused(recordings):
    with pytest.raises(DataError, match="4 outputs and the pruned one 3"):
        heal(pair()[0], Cnn14(Cnn14Config((8,) * 12, classes=3, embedding=8)), recordings)


@pytest.mark.parametrize(
    "name", ["cnn14-decision-level-att", "dcase2021-task1a", "mobilenet-v2", "erann-2-5", "res1dnet31"]
)
def test_any_architecture_can_be_healed(name, recordings):
    model, student = narrow(name, 5, seed=0), narrow(name, 5, seed=1)
    healed = heal(model, student, recordings, minutes=0, steps=1, held_out=recordings.select([0]))
    moved = [
        key
        for key, value in healed.model.state_dict().items()
        if not torch.equal(value, student.state_dict()[key])
    ]
    assert moved
    assert not any("running" in key for key in moved)  # batch norms keep their statistics
    assert all(torch.isfinite(value).all() for value in healed.model.state_dict().values())


def test_the_public_function_learns_from_clips_and_says_so(monkeypatch):
    """What it returns is what the core's function gives for the same clips; silent ones are left out."""
    monkeypatch.setattr(healing, "RECIPE", healing.replace(healing.RECIPE, seconds=0.5, batch=2))
    rng = np.random.default_rng(3)
    noise = load_clip(encode_wav(0.1 * rng.standard_normal(16_000)), name="noise.wav")
    silence = load_clip(encode_wav(np.zeros(16_000)))
    tagger = load_tagger("demo-cnn14", runtime="torch")
    pruned = api.prune(tagger, api.plan(tagger, 0.75))
    healed = api.heal(tagger, pruned, [noise, silence], minutes=0, steps=2, held_out=[noise])
    recordings = Recordings.of([(Listed(Path(noise.name), noise.sha256), noise.waveform)])
    again = heal(tagger.model, pruned.model, recordings, minutes=0, steps=2)
    for key, value in healed.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key])
    notes = healed.info.training
    assert (notes["healing"]["steps"], notes["healing"]["recordings"]) == (2, 1)
    assert set(notes["healing"]["agreement"]) == {"before", "after"}
    assert notes["pruning"] == pruned.info.training["pruning"]
    assert (healed.name, healed.info.widths) == ("demo-cnn14-healed", pruned.info.widths)
    assert healed.info.sha256 != pruned.info.sha256
    for clips, said in (([], "there are none"), ([silence], "all of them are silent")):
        with pytest.raises(DataError, match=said):
            api.heal(tagger, pruned, clips)
    with pytest.raises(DataError, match="at least 1 where no minutes are given"):
        api.heal(tagger, pruned, [noise], minutes=0)
