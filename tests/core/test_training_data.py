"""Manifests, balanced sampling and spectrograms for training."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import soundfile

from core.classes import ClassSet
from core.errors import DataError
from core.models.frontend import LogMel, log_mel
from core.training.data import BalancedSampler, read_manifest
from core.training.inputs import Spectrograms

HEADER = ("filename", "labels", "fold")


def write(folder, rows, header=HEADER):
    rng = np.random.default_rng(0)
    for row in rows:
        soundfile.write(folder / row[0], 0.1 * rng.standard_normal(32000), 32000)
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "clips.csv"


@pytest.fixture
def manifest(tmp_path):
    return write(tmp_path, [("a.wav", "Dog;Bark", "1"), ("b.wav", "Rain", "2"), ("c.wav", "Dog", "2")])


def test_targets_are_in_audiosets_order(manifest, tmp_path):
    clips = read_manifest(manifest, tmp_path)
    assert clips.classes.names == ("Dog", "Bark", "Rain")
    assert clips.targets.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert clips.select(["2"]).targets.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_targets_can_follow_a_models_classes(manifest, tmp_path):
    clips = read_manifest(manifest, tmp_path, ClassSet.from_names(["Rain", "Speech"]))
    assert clips.targets.tolist() == [[0, 0], [1, 0], [0, 0]]


def test_the_shared_clips_have_eighteen_classes(shared):
    clips = read_manifest(shared / "clips/meta.csv", shared / "clips/audio")
    assert (len(clips), len(clips.classes), sorted(set(clips.folds))) == (397, 18, ["1", "2", "3", "4"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("a.wav", "Dgo", "1"), "'Dgo' is not an AudioSet class"),
        (("missing.wav", "Dog", "1"), "'missing.wav' is not a file"),
        (("", "Dog", "1"), "is not a file"),
    ],
)
def test_bad_rows_name_their_line(manifest, tmp_path, row, said):
    with manifest.open("a", newline="") as file:
        csv.writer(file).writerow(row)
    with pytest.raises(DataError, match=f"line 5: .*{said}|line 5: {said}"):
        read_manifest(manifest, tmp_path)


def test_unusable_manifests_are_refused(tmp_path, manifest):
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv", tmp_path)
    with pytest.raises(DataError, match="columns file, tags"):
        read_manifest(write(tmp_path, [("a.wav", "Dog")], ("file", "tags")), tmp_path)
    with pytest.raises(DataError, match="lists no clips"):
        read_manifest(write(tmp_path, []), tmp_path)
    with pytest.raises(DataError, match="labels no clip"):
        read_manifest(write(tmp_path, [("a.wav", "Dog", "1")]), tmp_path, ClassSet.from_names(["Rain"]))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(tmp_path / "binary.csv", tmp_path)


def test_an_unknown_fold_is_refused(manifest, tmp_path):
    with pytest.raises(DataError, match="its folds are 1, 2"):
        read_manifest(manifest, tmp_path).select(["5"])


def test_every_class_is_drawn_equally_often():
    """One clip of class 0, nine of class 1: 100 draws take each class 50 times, and each of the nine 5 or 6 times."""
    targets = np.zeros((10, 3), np.float32)
    targets[0, 0] = 1
    targets[1:, 1] = 1
    drawn = BalancedSampler(targets, np.random.default_rng(0)).draw(100)
    counts = np.bincount(drawn, minlength=10)
    assert counts[0] == 50
    assert set(counts[1:]) == {5, 6}


def test_a_sampler_goes_on_where_it_was_stopped():
    targets = np.eye(5, dtype=np.float32)[np.arange(23) % 5]
    first = BalancedSampler(targets, np.random.default_rng(3))
    first.draw(7)
    second = BalancedSampler(targets, generator := np.random.default_rng(9))
    second.restore(first.state())
    generator.bit_generator.state = first._generator.bit_generator.state
    assert second.draw(40) == first.draw(40)


def test_spectrograms_are_the_front_ends(manifest, tmp_path):
    clips = read_manifest(manifest, tmp_path)
    batch = Spectrograms(clips, 1.5).batch([2, 0])
    assert batch.shape == (2, 151, 513)
    waveform, _ = soundfile.read(tmp_path / "c.wav", dtype="float32")
    padded = np.pad(waveform, (0, 16000))
    difference = LogMel().decibels(batch)[0, 0].numpy() - log_mel(padded)
    assert np.abs(difference[:95]).max() < 0.05  # half-precision decibels


def test_the_cache_is_bounded(manifest, tmp_path):
    spectrograms = Spectrograms(read_manifest(manifest, tmp_path), 1.0, cache_mb=0.22)
    first = spectrograms.batch([0, 1, 2])
    assert len(spectrograms._kept) == 2
    assert np.array_equal(first, spectrograms.batch([0, 1, 2]))


@pytest.fixture
def stereo(tmp_path):
    """A clip whose channels are constant, at 0.25 and 0.5."""
    soundfile.write(tmp_path / "two.wav", np.tile([[0.25, 0.5]], (16_000, 1)), 32_000)
    (tmp_path / "two.csv").write_text("filename,labels\ntwo.wav,Dog\n")
    return tmp_path / "two.csv"


@pytest.mark.parametrize(("channel", "level"), [("mean", 0.375), (1, 0.25), (2, 0.5), ("loudest", 0.5)])
def test_the_channel_of_recordings_is_chosen(stereo, tmp_path, channel, level):
    clips = read_manifest(stereo, tmp_path, channel=channel)
    assert clips.waveform(0)[8_000] == pytest.approx(level, abs=1e-4)
    # The middle of the window: the bin at 0 Hz is the sum of the Hann window (512) times the level, squared.
    power = Spectrograms(clips, 0.5).batch([0])[0, 25, 0].item()
    assert power == pytest.approx((512 * level) ** 2, rel=0.02)


def test_another_channel_is_another_training_set(stereo, tmp_path):
    mean, first = (read_manifest(stereo, tmp_path, channel=channel) for channel in ("mean", 1))
    assert mean.digest() != first.digest()
