"""Distillation: that a student learns, that a killed run resumes to the bit, whom it is matched with, and what is refused."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from core.classes import ClassSet
from core.errors import CheckpointError, DataError
from core.models.cnn import Cnn14, Cnn14Config
from core.models.registry import architecture
from core.training.agreement import teacher_agreement
from core.training.distil import DistilConfig, Distiller, Teacher
from core.training.loop import run
from core.training.mixtures import MixtureConfig
from core.training.recordings import Listed, Recordings
from core.training.students import new_network, new_outputs
from core.training.teaching import common_classes, soft_loss

WIDTHS = (4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16)
CLASSES = ClassSet((0, 74, 300))
CONFIG = DistilConfig(steps=7, batch=2, seconds=1.3, average=0.9, save_every=3, labels=0.5)


def network(seed: int, classes: int = 3, embedding: int = 16) -> Cnn14:
    torch.manual_seed(seed)
    return Cnn14(Cnn14Config(WIDTHS, classes, embedding)).eval()


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    """Tones and noise of different lengths from four sources, half of them labelled."""
    rng = np.random.default_rng(0)
    waves = []
    for index in range(8):
        time = np.arange(12_000 + 5_000 * index) / 32_000
        wave = (
            0.3 * np.sin(2 * np.pi * 300 * (index + 1) * time)
            if index % 2
            else 0.1 * rng.standard_normal(len(time))
        )
        labels = (74,) if index % 4 == 1 else ()
        waves.append((Listed(Path(f"{index}.wav"), f"source {index // 2}", labels), wave.astype(np.float32)))
    return Recordings.of(waves)


def distiller(recordings: Recordings, config: DistilConfig = CONFIG, **options) -> Distiller:
    teacher = Teacher(network(1, embedding=12), CLASSES, "teacher")
    return Distiller((network(0), CLASSES), teacher, recordings, config, **options)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    states = first.state_dict().values(), second.state_dict().values()
    return all(torch.equal(a, b) for a, b in zip(*states, strict=True))


@pytest.mark.parametrize("more", [{}, {"dropout": True, "embedding": 1.0, "balance": 0.0}])
def test_a_run_that_is_killed_at_random_steps_ends_as_one_that_was_not(recordings, tmp_path, more):
    config = DistilConfig(**vars(CONFIG) | more)
    whole = run(distiller(recordings, config), tmp_path / "whole.pt")
    state = tmp_path / "killed.pt"
    first = distiller(recordings, config)
    steps = int(np.random.default_rng().integers(1, 6))
    for _ in range(steps):
        first.advance()
    torch.save(first.state(), state)
    first.advance()  # done, but not saved
    torch.manual_seed(99)
    torch.rand(3)
    assert same(whole, run(distiller(recordings, config), state, resume=True)), steps


def test_ctrl_c_ends_after_a_whole_step_that_is_saved(recordings, tmp_path):
    config = DistilConfig(steps=25, batch=2, seconds=0.5, balance=0.0)
    state, log = tmp_path / "state.pt", tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(
            distiller(recordings, config),
            state,
            metrics_file=log,
            on_progress=lambda report: signal.raise_signal(signal.SIGINT),
        )
    resumed = distiller(recordings, config)
    trained = run(resumed, state, metrics_file=log, resume=True)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [20, 25]
    assert same(trained, run(distiller(recordings, config), tmp_path / "whole.pt"))


def test_a_report_that_raises_ends_the_run_with_its_state_saved(recordings, tmp_path):
    class CancelledError(Exception):
        pass

    def cancel(report):
        raise CancelledError

    config = DistilConfig(steps=21, batch=2, seconds=0.5, balance=0.0)
    with pytest.raises(CancelledError):
        run(distiller(recordings, config), tmp_path / "s.pt", on_progress=cancel)
    again = distiller(recordings, config)
    again.restore(torch.load(tmp_path / "s.pt", weights_only=True))
    assert again.step == 20


def test_a_student_comes_to_agree_with_its_teacher(recordings, tmp_path):
    """Of a teacher that reacts strongly, so that there is something to learn."""
    config = DistilConfig(steps=40, batch=4, seconds=0.5, learning_rate=1e-2, average=0.0)
    teacher = network(1)
    with torch.no_grad():
        teacher.fc_audioset.weight.mul_(40)
    student = Distiller(
        (network(0), CLASSES), Teacher(teacher, CLASSES), recordings, config, held_out=recordings
    )
    log = tmp_path / "log.jsonl"
    run(student, tmp_path / "state.pt", metrics_file=log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    start = Distiller((network(0), CLASSES), Teacher(teacher, CLASSES), recordings, config).advance()
    assert lines[-1]["loss"] < 0.8 * float(start)
    assert {"first_in_three", "first_five", "difference"} <= lines[-1].keys()
    assert lines[-1]["learning_rate"] == pytest.approx(0, abs=1e-6)


def test_the_student_starts_as_it_is_and_bfloat16_keeps_its_weights_float32(recordings):
    learner = distiller(recordings, DistilConfig(steps=1, batch=2, seconds=0.5, precision="bfloat16"))
    assert same(learner.trained(), network(0))
    learner.advance()
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float32}


def test_classes_are_matched_by_their_indices(recordings):
    own, theirs = common_classes(ClassSet((300, 5, 0)), ClassSet((0, 74, 300)))
    assert (own, theirs) == ([0, 2], [2, 0])
    # The classes that the teacher lacks are not trained: their rows of the output layer stay.
    student = network(0)
    before = student.fc_audioset.weight.detach().clone()
    learner = Distiller(
        (student, ClassSet((300, 5, 0))),
        Teacher(network(1), CLASSES),
        recordings,
        DistilConfig(steps=1, batch=2, seconds=0.5),
    )
    learner.advance()
    moved = (learner.model.fc_audioset.weight != before).any(dim=1).tolist()
    assert moved == [True, False, True]
    assert learner.classes_in_common == 2


def test_own_classes_of_the_same_name_are_not_audiosets():
    with pytest.raises(DataError, match="none in common"):
        common_classes(ClassSet.named(["Drone"]), ClassSet.named(["Drone"]))


def test_the_loss_by_hand():
    """Two classes, two windows; the label of one entry is known, with half of the weight."""
    logits, teacher = np.array([[0.5, -1.0], [2.0, 0.0]]), np.array([[1.0, -2.0], [0.0, -1.0]])
    labels, known = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[False, False], [True, False]])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(1, keepdims=True)

    targets = np.where(known, 0.5 * labels + 0.5 * sigmoid(teacher), sigmoid(teacher))
    entropy = -(targets * np.log(sigmoid(logits)) + (1 - targets) * np.log(1 - sigmoid(logits)))
    divergence = (softmax(teacher) * np.log(softmax(teacher) / softmax(logits))).sum(1).mean()
    loss = soft_loss(
        *(torch.tensor(x) for x in (logits, teacher)),
        labels=torch.tensor(labels),
        known=torch.tensor(known),
        labels_share=0.5,
        divergence=3.0,
    )
    assert float(loss) == pytest.approx(entropy.sum() / 20 + 3 * divergence)


def test_agreement_by_hand():
    """The teacher's order is 0 1 2 3 4 5; the student's 5 4 3 2 1 0, and then 1 0 2 3 4 5."""
    teacher = np.array([[0.9, 0.8, 0.4, 0.3, 0.2, 0.1]] * 2, np.float32)
    student = np.array([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0.7, 0.8, 0.4, 0.3, 0.2, 0.1]], np.float32)
    result = teacher_agreement(teacher, student)
    assert (result.first_in_three, result.first_five) == (0.5, 0.5)
    assert result.difference == pytest.approx(((0.9 + 0.7 + 0.2 + 0 + 0.2 + 0.4) + 0.2) / 12)
    assert result.mean_average_precision == 1.0  # both classes with a decision are positive everywhere
    assert teacher_agreement(teacher * 0.5, student).mean_average_precision is None


def test_a_resumed_run_is_the_same_run(recordings):
    state = distiller(recordings).state()
    with pytest.raises(CheckpointError, match="batch = 2, not 3"):
        distiller(recordings, DistilConfig(**vars(CONFIG) | {"batch": 3})).restore(state)
    with pytest.raises(CheckpointError, match="another recording;"):
        distiller(recordings.select(range(6))).restore(state)
    with pytest.raises(CheckpointError, match="another teacher;"):
        Distiller((network(0), CLASSES), Teacher(network(1), CLASSES, "other"), recordings, CONFIG).restore(
            state
        )
    assert distiller(recordings, DistilConfig(**vars(CONFIG) | {"save_every": 9})).restore(state) is None


def test_impossible_settings_are_refused(recordings):
    for name, value in {
        "steps": 0,
        "batch": 1,
        "labels": 1.1,
        "seconds": 61,
        "schedule": "step",
        "balance": -1,
    }.items():
        with pytest.raises(DataError, match=f"{name} = "):
            DistilConfig(**vars(CONFIG) | {name: value})
    with pytest.raises(DataError, match=r"too short for these networks; give at least 0\.31 s"):
        distiller(recordings, DistilConfig(steps=1, seconds=0.3))
    scenes = architecture("dcase2021-task1a")
    with pytest.raises(DataError, match="windows of one length only"):
        Distiller(
            (scenes.build(scenes.configure(classes=3)), CLASSES),
            Teacher(network(1), CLASSES),
            recordings,
            CONFIG,
        )


def test_a_student_at_another_rate_gets_the_same_sound(recordings):
    entry = architecture("cnn14-16k")
    student = entry.build(entry.configure(widths=WIDTHS, classes=3, embedding=16))
    learner = Distiller(
        (student, CLASSES),
        Teacher(network(1), CLASSES),
        recordings,
        DistilConfig(steps=1, batch=2, seconds=0.7),
    )
    learner.advance()
    assert torch.isfinite(learner.losses[-1])


def test_new_networks_and_new_outputs():
    assert new_network("cnn14", 0.5, 10).config.widths[:2] == (32, 32)
    assert new_network("cnn6", 1.0, 10).config.classes == 10
    with pytest.raises(DataError, match="leave --width out"):
        new_network("cnn6", 0.5, 10)
    with pytest.raises(DataError, match="got 0"):
        new_network("cnn14", 0, 10)
    old = network(0)
    fresh = new_outputs(old, 5)
    assert fresh.config.classes == 5
    assert torch.equal(fresh.fc1.weight, old.fc1.weight)
    assert torch.equal(fresh.bn0.running_mean, old.bn0.running_mean)
    assert fresh.fc_audioset.weight.std() > 0
    assert MixtureConfig() == CONFIG.mixtures
