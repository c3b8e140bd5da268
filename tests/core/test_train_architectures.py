"""Training every kind of network: scenes by cross-entropy, other front ends and rates, and what each recipe leaves out."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile
import torch

from core.classes import ClassSet
from core.errors import DataError
from core.models.registry import architecture
from core.training import inputs
from core.training.data import read_manifest
from core.training.inputs import FrontEndOutputs, Spectrograms
from core.training.metrics import quality
from core.training.students import new_network
from core.training.train import Trainer, TrainingConfig, recipe_for
from core.windows import fitted
from tests.core.networks import narrow

SHORT = TrainingConfig(steps=2, batch=2, seconds=0.7)


def write(folder, labels):
    """One second of noise a label, as 0.wav …, and the manifest."""
    rng = np.random.default_rng(0)
    for number in range(len(labels)):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    with (folder / "clips.csv").open("w", newline="") as file:
        rows = [(f"{number}.wav", label, 1 + number % 2) for number, label in enumerate(labels)]
        csv.writer(file).writerows([("filename", "labels", "fold"), *rows])
    return folder / "clips.csv"


@pytest.fixture
def rooms(tmp_path):
    """Clips of three classes, of which AudioSet has one."""
    manifest = write(tmp_path, ["workshop", "Rain", "office", "Rain", "office", "workshop"])
    return read_manifest(manifest, tmp_path, own=True)


def test_own_classes_are_those_of_the_manifest_by_the_alphabet(rooms):
    assert rooms.classes.names == ("Rain", "office", "workshop")
    assert rooms.single_labels().tolist() == [2, 0, 1, 0, 1, 2]


def test_own_classes_stay_for_another_manifest(rooms, tmp_path):
    again = read_manifest(tmp_path / "clips.csv", tmp_path, rooms.classes)
    assert again.targets.tolist() == rooms.targets.tolist()
    with pytest.raises(
        DataError,
        match=r"'workshop' is not an AudioSet class\. Labels are AudioSet display names, or the model's",
    ):
        read_manifest(tmp_path / "clips.csv", tmp_path, ClassSet.named(["office"]))


def test_the_loss_of_scenes_is_the_cross_entropy_of_their_softmax(rooms, monkeypatch):
    monkeypatch.setattr("core.models.dcase._DROPOUT", 0.0)
    torch.manual_seed(0)
    network = new_network("dcase2021-task1a", 1.0, 3)
    reference = new_network("dcase2021-task1a", 1.0, 3)
    reference.load_state_dict(network.state_dict())
    trainer = Trainer(network, rooms, TrainingConfig(steps=1, batch=2))
    drawn = type(trainer._sampler)(rooms.targets, np.random.default_rng(0)).draw(2)
    entry = architecture("dcase2021-task1a")
    padded = (np.pad(rooms.waveform(index), (0, 288_000)) for index in drawn)  # 1 s of sound in 10 s
    windows = torch.cat([fitted(waveform, entry) for waveform in padded])
    assert windows.shape == (2, 441_000)
    probabilities = torch.softmax(reference.train()(windows), dim=1)
    truth = rooms.single_labels()[drawn]
    expected = -(probabilities[0, truth[0]].log() + probabilities[1, truth[1]].log()) / 2
    assert trainer.advance() == pytest.approx(expected.item(), abs=1e-4)


def test_scenes_need_one_class_a_clip(tmp_path):
    manifest = write(tmp_path, ["office", "office;Rain", "Rain"])
    clips = read_manifest(manifest, tmp_path, own=True)
    with pytest.raises(DataError, match=r"1\.wav is labelled with 2 of this model's classes"):
        Trainer(new_network("dcase2021-task1a", 1.0, 2), clips, TrainingConfig(steps=1, batch=2))
    fewer = read_manifest(manifest, tmp_path, ClassSet.named(["office", "workshop"]))
    with pytest.raises(DataError, match=r"2\.wav is labelled with none"):
        fewer.single_labels()


@pytest.mark.parametrize(
    "name",
    ["cnn6", "cnn10", "cnn14-16k", "mobilenet-v1", "lee-net11", "mn04", "wavegram-logmel-cnn14"],
)
def test_every_kind_of_network_trains(rooms, name):
    trainer = Trainer(narrow(name, 3), rooms, SHORT)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    losses = [trainer.advance(), trainer.advance()]
    assert all(np.isfinite(losses))
    output = f"{trainer.model.output_layers[0]}.weight"
    assert not torch.equal(before[output], trainer.trained().state_dict()[output])


def test_spectrograms_of_another_rate_are_those_of_resampled_clips(rooms):
    """16 kHz recordings decoded to 32 kHz and resampled back: the front end of the 16 kHz network, on 0.7 s."""
    entry = architecture("cnn14-16k")
    network = narrow("cnn14-16k", 3)
    power = Spectrograms(rooms, 0.7, entry, front_end=network.front_end).batch([1])
    expected = network.front_end.power(fitted(rooms.waveform(1)[:22_400], entry))
    assert power.shape == (1, 71, 257)
    loud = expected > 1e-6 * expected.amax()
    assert (10 * (power[loud] / expected[loud]).log10()).abs().max() < 0.05  # half precision, in dB


def test_only_log_mel_networks_get_specaugment_and_mixup(rooms):
    assert recipe_for(narrow("cnn6", 3), SHORT) == SHORT
    other = recipe_for(narrow("mn04", 3), SHORT)
    assert (other.mixup_alpha, other.spec_augment, other.batch) == (0.0, False, 2)
    with pytest.raises(DataError, match="log-mels, which mn04 does not take"):
        recipe_for(narrow("mn04", 3), TrainingConfig(steps=1, augment_waveform=True))


def test_fixed_windows_have_one_length(rooms):
    with pytest.raises(DataError, match="cannot use windows of 5 s; DCASE 2021 Task 1A baseline takes 10 s"):
        Trainer(new_network("dcase2021-task1a", 1.0, 3), rooms, TrainingConfig(steps=1, batch=2, seconds=5.0))
    with pytest.raises(DataError, match=r"windows of 0\.5 s; give 0\.64"):
        Trainer(narrow("res1dnet31", 3), rooms, TrainingConfig(steps=1, batch=2, seconds=0.5))


def test_front_end_outputs_are_kept_while_there_is_room(rooms, monkeypatch):
    """0.7 s at 32 kHz are 89.6 kB: two of them fit in 0.2 MB."""
    monkeypatch.setattr(inputs, "CACHE_MB", 0.2)
    network = narrow("lee-net11", 3)
    outputs = FrontEndOutputs(rooms, 0.7, architecture("lee-net11"), network.front_end)
    assert outputs.batch([0, 1, 2]).shape == (3, 1, 22_400)
    assert list(outputs._kept) == [1, 2]


def test_widths_are_a_share_of_cnn14s():
    assert new_network("cnn14-16k", 0.03125, 4).config.widths == (2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64)
    with pytest.raises(DataError, match="CNN6 is built with its published widths"):
        new_network("cnn6", 0.5, 4)
    with pytest.raises(DataError, match=r"above 0 and at most 1; got 1\.5"):
        new_network("cnn6", 1.5, 4)


def test_a_scenes_network_from_training_to_a_finetuned_pruned_one(cli, tmp_path):
    """On the command line: own classes, accuracy, similarity pruning, and no place on the trade-off."""
    write(tmp_path, ["workshop", "office"] * 2)
    data = ["--manifest", tmp_path / "clips.csv", "--audio", tmp_path]
    short = ["--steps", 2, "--batch", 2, "--threads", 2, "--json"]
    whole, pruned, tuned = (tmp_path / f"{name}.safetensors" for name in ("whole", "pruned", "tuned"))
    trained = cli(
        "train", "--architecture", "dcase2021-task1a", *data, *short, "--evaluate-folds", 2, "--out", whole
    )
    assert "without mixup and SpecAugment" in trained.err
    evaluation = trained.document["metrics"]["evaluation"]
    assert evaluation["accuracy"] in (0.0, 1.0)  # both clips of the fold are of the office
    assert cli("profile", "-m", whole, "--json").document["params_trainable"] == 46_246 - 8 * 101 - 128
    cut = cli("prune", "-m", whole, "--criterion", "similarity", "--out", pruned, "--json").document
    assert set(cut["plan"]["groups"]) == {"conv1", "conv2", "conv3"}
    after = cli("finetune", "-m", pruned, *data, *short, "--out", tuned)
    assert after.document["steps"] == 2
    assert cli("evaluate", "-m", tuned, *data).out.splitlines()[-1].startswith("accuracy 0.")
    assert "classifies scenes" in cli("evaluate", "-m", tuned, *data, "--keep").complaint


def test_taggers_have_no_accuracy(rooms):
    assert quality(rooms.targets, rooms.targets, rooms.classes).accuracy is None
