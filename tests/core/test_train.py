"""Training: that it learns, that a stopped run resumes exactly, and that the optimiser is the published one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from core.errors import CheckpointError, DataError
from core.models.cnn import Cnn14, Cnn14Config
from core.training.data import read_manifest
from core.training.loop import run, write_state
from core.training.train import Trainer, TrainingConfig

WIDTHS = (4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16)
BASE = TrainingConfig(
    steps=6, batch=4, seconds=0.5, save_every=3, average=0.9, augment_waveform=True, schedule="cosine"
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two classes that a small network can tell apart: a tone, and noise."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    lines = ["filename,labels,fold"]
    for index in range(12):
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(300, 3000) * np.arange(16000) / 32000)
        wave, label = (
            (tone, "Beep, bleep") if index % 2 else (0.1 * rng.standard_normal(16000), "White noise")
        )
        soundfile.write(folder / f"{index}.wav", wave, 32000)
        lines.append(f'{index}.wav,"{label}",{1 + index % 4 // 2}')
    (folder / "clips.csv").write_text("\n".join(lines))
    return read_manifest(folder / "clips.csv", folder)


def network() -> Cnn14:
    torch.manual_seed(0)
    return Cnn14(Cnn14Config(WIDTHS, 2, 16))


def test_a_stopped_run_goes_on_exactly(clips, tmp_path):
    whole = run(Trainer(network(), clips, BASE), tmp_path / "whole.pt", metrics_file=tmp_path / "whole.jsonl")

    trainer = Trainer(network(), clips, BASE)
    for _ in range(3):
        trainer.advance()
    torch.save(trainer.state(), tmp_path / "half.pt")
    for _ in range(2):  # steps that were done but not saved, as when a run is killed
        trainer.advance()
    torch.manual_seed(99)
    resumed = run(Trainer(network(), clips, BASE), tmp_path / "half.pt", resume=True)

    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_it_learns(clips, tmp_path):
    config = TrainingConfig(
        steps=60, batch=8, seconds=0.5, learning_rate=1e-2, mixup_alpha=0.0, spec_augment=False
    )
    trainer = Trainer(network(), clips, config)
    run(trainer, tmp_path / "state.pt", metrics_file=tmp_path / "metrics.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["learning_rate"] == 1e-2


def test_one_step_is_adam_with_amsgrad_on_binary_cross_entropy(clips, monkeypatch):
    """The same step by hand, from the batch that the sampler draws: no mixup, no augmentation, no dropout."""
    monkeypatch.setattr("core.models.cnn.BLOCK_DROPOUT", 0.0)
    monkeypatch.setattr("core.models.network.PannsNetwork.pooled_dropout", 0.0)
    config = TrainingConfig(steps=1, batch=4, seconds=0.5, mixup_alpha=0.0, spec_augment=False)
    trainer = Trainer(network(), clips, config)
    reference = network().train()
    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, amsgrad=True)
    drawn = type(trainer._sampler)(clips.targets, np.random.default_rng(0)).draw(4)
    power = trainer._inputs.batch(drawn)
    logits = reference.network(reference.front_end.decibels(power))
    targets = torch.from_numpy(clips.targets[drawn])
    probabilities = torch.sigmoid(logits).double()
    loss = -(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log()).mean()
    loss.backward()
    optimizer.step()
    assert trainer.advance() == pytest.approx(loss.item(), abs=1e-5)
    for ours, theirs in zip(trainer.model.parameters(), reference.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-4


def test_bfloat16_keeps_float32_weights(clips):
    trainer = Trainer(network(), clips, TrainingConfig(steps=1, batch=4, seconds=0.5, precision="bfloat16"))
    trainer.advance()
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}


def test_the_cosine_schedule_by_hand(clips):
    """105 steps: 5 of warm-up in equal parts, then half a cosine over 100, whose middle is half the rate."""
    trainer = Trainer(network(), clips, TrainingConfig(steps=105, batch=4, seconds=0.5, schedule="cosine"))
    rates = []
    for step in range(106):
        trainer.step = step
        rates.append(1e3 * trainer.learning_rate())
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[30] == pytest.approx(0.5 + 0.5 * 0.5**0.5)  # a quarter of the way: 45 degrees
    assert (rates[55], rates[105]) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-12))


def test_the_average_of_the_weights_by_hand(clips):
    """After the first step 2/11 of the initial weights stay in the average, after the second 3/12."""
    trainer = Trainer(network(), clips, TrainingConfig(steps=2, batch=4, seconds=0.5, average=0.9))
    weights = [trainer.model.fc1.weight.detach().clone()]
    for _ in range(2):
        trainer.advance()
        weights.append(trainer.model.fc1.weight.detach().clone())
    first = weights[0] * 2 / 11 + weights[1] * 9 / 11
    expected = first * 3 / 12 + weights[2] * 9 / 12
    assert not torch.equal(weights[1], weights[2])
    assert torch.allclose(trainer.trained().fc1.weight, expected, atol=1e-7)


def test_the_configured_decay_limits_the_average(clips):
    """With a decay of 0.1, less than 2/11, a tenth of the initial weights stays."""
    trainer = Trainer(network(), clips, TrainingConfig(steps=1, batch=4, seconds=0.5, average=0.1))
    before = trainer.model.fc1.weight.detach().clone()
    trainer.advance()
    expected = 0.1 * before + 0.9 * trainer.model.fc1.weight
    assert torch.allclose(trainer.trained().fc1.weight, expected, atol=1e-7)


def test_a_state_with_the_former_name_of_augmentation_can_be_resumed(clips, tmp_path):
    config = TrainingConfig(steps=1, batch=4, seconds=0.5, augment_waveform=True)
    trainer = Trainer(network(), clips, config)
    trainer.advance()
    state = trainer.state()
    rest = json.loads(state["rest"])
    rest["config"]["disguise"] = rest["config"].pop("augment_waveform")
    resumed = Trainer(network(), clips, config)
    resumed.restore(state | {"rest": json.dumps(rest)})
    assert resumed.step == 1


def test_metrics_after_the_saved_step_are_written_again(clips, tmp_path):
    """Stopped after step 40, whose state was saved: the line of step 40 stays, those of later steps and half a line go."""
    config = TrainingConfig(steps=60, batch=2, seconds=0.5, mixup_alpha=0.0, save_every=40)
    trainer = Trainer(network(), clips, config)
    trainer.advance()
    trainer.step, trainer.losses = 40, [0.5] * 40
    torch.save(trainer.state(), tmp_path / "state.pt")
    lines = [json.dumps({"step": step, "loss": 9.0}) for step in (20, 40, 60)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 8')
    run(
        Trainer(network(), clips, config),
        tmp_path / "state.pt",
        metrics_file=tmp_path / "metrics.jsonl",
        resume=True,
    )
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"] == 9.0) for line in written] == [(20, True), (40, True), (60, False)]


def test_resuming_with_other_settings_is_refused(clips, tmp_path):
    run(Trainer(network(), clips, TrainingConfig(steps=1, batch=4, seconds=0.5)), tmp_path / "s.pt")
    other = Trainer(network(), clips, TrainingConfig(steps=1, batch=6, seconds=0.5))
    with pytest.raises(CheckpointError, match="batch = 4, not 6"):
        run(other, tmp_path / "s.pt", resume=True)
    half = Trainer(network(), clips.select(["1"]), TrainingConfig(steps=1, batch=4, seconds=0.5))
    with pytest.raises(CheckpointError, match="other clips"):
        run(half, tmp_path / "s.pt", resume=True)
    with pytest.raises(CheckpointError, match="no training state"):
        run(other, tmp_path / "none.pt", resume=True)
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        run(other, tmp_path / "bad.pt", resume=True)


def test_bad_settings_are_refused(clips):
    with pytest.raises(DataError, match="learning rate = 5"):
        TrainingConfig(steps=1, learning_rate=5)
    with pytest.raises(DataError, match="schedule = 'step'"):
        TrainingConfig(steps=1, schedule="step")
    with pytest.raises(DataError, match="has 3 classes"):
        Trainer(Cnn14(Cnn14Config(WIDTHS, 3, 16)), clips, BASE)


def test_a_state_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.state\.pt cannot be written: .*check its folder"):
        write_state({}, tmp_path / "none" / "a.state.pt")
