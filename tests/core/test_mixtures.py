"""What student and teacher are given: levels, positions, rooms, noise and labels by hand; and recordings held out by source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import DataError
from core.training.mixtures import Mixer, MixtureConfig
from core.training.recordings import Listed, Recordings, list_folder, list_manifest, load_recordings

PLAIN = MixtureConfig(
    recordings=(1.0, 0.0, 0.0), gain_db=(0.0, 0.0), repeat=0.0, speed=0.0, low_pass=0.0, high_pass=0.0, tilt_db=0.0, reverb=0.0, noise=0.0
)  # fmt: skip
SECOND = 32_000


def tone(hertz: float, seconds: float = 1.0, peak: float = 0.1) -> np.ndarray:
    time = np.arange(round(seconds * SECOND)) / SECOND
    return (peak * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def mixer(waves, config=PLAIN, labels=((),)) -> Mixer:
    listed = [
        Listed(Path(f"{row}.wav"), f"{row}", tuple(labels[row % len(labels)])) for row in range(len(waves))
    ]
    recordings = Recordings.of(zip(listed, waves, strict=True))
    return Mixer(recordings, torch.ones(len(waves), dtype=torch.float64), config)


def batch(source: Mixer, size: int = 8, samples: int = SECOND):
    return source.batch(size, samples, torch.Generator().manual_seed(0))


def change(**fields) -> MixtureConfig:
    return MixtureConfig(**vars(PLAIN) | fields)


def decibels(power) -> np.ndarray:
    return 10 * np.log10(np.asarray(power))


def test_without_augmentation_a_window_is_the_recording():
    wave = tone(440)
    assert np.abs(batch(mixer([wave])).waveforms.numpy() - wave).max() < 1e-4  # 16-bit samples


def test_a_short_recording_is_once_in_silence_or_repeated():
    wave = np.full(SECOND // 4, 0.5, np.float32)
    once = batch(mixer([wave])).waveforms
    assert ((once.abs() > 1e-3).sum(1) == SECOND // 4).all()
    assert len(set(once.abs().argmax(1).tolist())) > 4  # at random positions
    assert torch.allclose(batch(mixer([wave], change(repeat=1.0))).waveforms, torch.tensor(0.5), atol=1e-4)


def test_levels_by_hand():
    """6 dB less is half the amplitude, nearly; a peak over full scale is brought back to it."""
    quiet = batch(mixer([tone(440, peak=0.4)], change(gain_db=(-6.0206, -6.0206)))).waveforms
    assert quiet.abs().amax(1).numpy() == pytest.approx(0.2, abs=1e-3)
    loud = batch(mixer([tone(440, peak=0.9)], change(gain_db=(20.0, 20.0)))).waveforms
    assert loud.abs().amax(1).numpy() == pytest.approx(1.0)


def test_the_second_recording_is_at_its_level_below_the_first():
    """Tones of 500 and 3000 Hz, one ten times as strong: mixed, the second drawn is 12 dB under the first whatever it was."""
    waves = [tone(500, peak=0.05), tone(3000, peak=0.5)]
    mixed = batch(
        mixer(waves, change(recordings=(0.0, 1.0, 0.0), difference_db=(-12.0, -12.0))), 64
    ).waveforms
    power = torch.fft.rfft(mixed).abs().square()
    ratio = decibels(power[:, 500] / power[:, 3000].clamp(min=1e-9))
    both = np.abs(ratio) < 60
    assert both.sum() > 16
    assert np.abs(ratio[both]) == pytest.approx(12.0, abs=0.1)


def test_noise_is_at_its_level_below_the_signal():
    mixed = batch(mixer([tone(440)], change(noise=1.0, noise_db=(20.0, 20.0)))).waveforms.numpy()
    noise = mixed - tone(440)
    assert decibels((noise**2).mean(1) / (tone(440) ** 2).mean()) == pytest.approx(-20.0, abs=0.1)


def test_a_band_limit_falls_by_its_slope():
    """Two octaves above the cutoff at 24 dB an octave: 48 dB; two octaves under it nothing. High pass: 12 dB an octave."""
    limits = change(low_pass=1.0, low_pass_hz=(2000.0, 2000.001), slope_db=(24.0, 24.001))
    for hertz, expected in ((8000, -48.0), (500, 0.0)):
        out = batch(mixer([tone(hertz)], limits)).waveforms.numpy()
        assert decibels((out**2).mean(1) / (tone(hertz) ** 2).mean()) == pytest.approx(expected, abs=0.2)
    high = change(high_pass=1.0, high_pass_hz=(400.0, 400.001))
    out = batch(mixer([tone(200)], high)).waveforms.numpy()
    assert decibels((out**2).mean(1) / (tone(200) ** 2).mean()) == pytest.approx(-12.0, abs=0.2)


def test_a_room_adds_its_share_of_energy():
    """White noise in a room whose direct sound is 10 dB above the tail gains a tenth of its energy."""
    noise = (0.05 * np.random.default_rng(0).standard_normal(2 * SECOND)).astype(np.float32)
    room = change(reverb=1.0, reverb_db=(10.0, 10.0), reverb_s=(0.3, 0.3001))
    out = batch(mixer([noise], room), 16, 2 * SECOND).waveforms.numpy()
    assert (out**2).mean() / (noise**2).mean() == pytest.approx(1.1, abs=0.02)


def test_probabilities_are_those_of_the_settings():
    """Of 400 windows about 0.3 have noise: 120, with a deviation of 9."""
    out = batch(mixer([tone(440, 0.1)], change(noise=0.3, repeat=1.0)), 400, 3200).waveforms.numpy()
    noisy = (np.abs(out - tone(440, 0.1)).max(1) > 1e-3).sum()
    assert 85 < noisy < 155


def test_the_seed_decides():
    source = mixer([tone(440), tone(1000, 3.0)], MixtureConfig())
    assert torch.equal(batch(source).waveforms, batch(source).waveforms)
    other = source.batch(8, SECOND, torch.Generator().manual_seed(1))
    assert not torch.equal(batch(source).waveforms, other.waveforms)


def test_labels_are_known_where_all_recordings_have_them():
    """Recording 0 is labelled Dog (74), 1 Rain (289), 2 not at all; Speech labels none, so nothing is known of it."""
    waves = [tone(440), tone(880), tone(1760)]
    labels = ((74,), (289,), ())
    one = batch(mixer(waves, PLAIN, labels), 64)
    for row in range(64):
        frequency = int(torch.fft.rfft(one.waveforms[row]).abs().argmax())
        recording = {440: 0, 880: 1, 1760: 2}[frequency]
        assert one.labels[row].nonzero()[:, 0].tolist() == list(labels[recording])
        assert one.known[row, [74, 289, 0]].tolist() == [recording < 2, recording < 2, False]
    masked = change(recordings=(0.0, 1.0, 0.0), difference_db=(-30.0, -30.0))
    two = batch(mixer(waves[:2], masked, labels), 64)
    mixed = (two.known.sum(1) == 1).nonzero()[:, 0]  # the other recording's class may be masked
    assert len(mixed) > 16
    assert (two.labels[mixed].sum(1) == 1).all()


def packed(sources) -> Recordings:
    return Recordings.of(
        (Listed(Path(f"{row}"), source), np.ones(1, np.int16)) for row, source in enumerate(sources)
    )


def test_sources_are_held_out_as_a_whole():
    recordings = packed(["a"] * 50 + ["b"] * 3 + ["c"] * 4 + ["d"] * 3 + ["e"] * 40)
    kept, held = recordings.hold_out(0.1, 0)
    assert not set(kept.sources) & set(held.sources)
    assert set(held.sources) <= {"b", "c", "d"}  # the large ones would be all of it
    assert len(kept) + len(held) == 100
    assert recordings.hold_out(0.1, 0)[1].names == held.names
    with pytest.raises(DataError, match=r"come from 1 source\(s\)"):
        packed(["a"] * 9).hold_out(0.1, 0)


def test_a_long_recording_is_several_and_a_training_set_has_an_identity():
    minutes = Recordings.of([(Listed(Path("long.wav"), "x"), np.zeros(150 * SECOND, np.int16))])
    assert minutes.lengths.tolist() == [50 * SECOND] * 3
    assert packed("ab").digest() != packed("a").digest()
    assert packed("ab").digest() == packed("ab").digest()


def test_folders_and_manifests(studio, tmp_path):
    listed = list_folder(studio)
    assert [entry.path.name for entry in listed] == [
        "long.wav",
        "noise.flac",
        "short.wav",
        "silent.wav",
        "tone.wav",
    ]
    assert len({entry.source for entry in listed}) == 5
    rows = list_manifest(studio / "clips.csv", studio, ["1"])
    assert [(entry.path.name, entry.labels) for entry in rows] == [
        ("tone.wav", (396,)),
        ("noise.flac", (289,)),
        ("short.wav", (289, 0)),
    ]
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    recordings = load_recordings([*listed, Listed(tmp_path / "broken.wav", "x")])
    assert recordings.silent == ("silent.wav",)
    assert len(recordings.unreadable) == 1
    assert recordings.unreadable[0].startswith("broken.wav: ")
    assert recordings.names.count("long.wav") == 1
    with pytest.raises(DataError, match="all are silent"):
        load_recordings([listed[3]])
    with pytest.raises(DataError, match="There is no recording in"):
        list_folder(tmp_path / "none") if (tmp_path / "none").mkdir() is None else None
    with pytest.raises(DataError, match="its folds are 1, 2"):
        list_manifest(studio / "clips.csv", studio, ["7"])
