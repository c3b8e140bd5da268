"""Every entry of the registry, a narrow network of each: saved, loaded as what it is, and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from core.audio import SAMPLE_RATE, encode_wav, load_clip
from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.compare import compare
from core.errors import ModelError
from core.models.dcase import SCENES
from core.models.fitting import FRONT_END_KEYS
from core.models.frontend import mel_matrix
from core.models.network import Network
from core.models.registry import architecture
from core.tagging import Tagger, load_tagger
from core.windows import clip_windows, fitted, input_notes
from tests.core.networks import WITHOUT_EXTRA, narrow

CLASSES = ClassSet.named(["Drone", "Rain", "Door, of the shed"])

CLIP = load_clip(
    encode_wav(0.1 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)), name="noise.wav"
)


def published(model: Network) -> dict[str, torch.Tensor]:
    """A state dict with the front end's tensors where the published ones hold them, and a prefix."""
    front, state = model.published_front_end, dict(model.state_dict())
    if front is not None:
        state |= {key: torch.zeros(shape(front)) for key, shape in FRONT_END_KEYS.items()}
        state["logmel_extractor.melW"] = torch.tensor(mel_matrix(front))
    return {f"net.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("name", WITHOUT_EXTRA)
def test_a_narrow_network_is_loaded_as_what_it_is(name: str, tmp_path: Path) -> None:
    model, entry = narrow(name, 3), architecture(name)
    own, theirs = tmp_path / "own.safetensors", tmp_path / "theirs.pth"
    save_checkpoint(own, model, classes=CLASSES, name="own")
    loaded = load_checkpoint(own)
    assert (loaded.info.architecture, loaded.info.classes, loaded.info.notes) == (name, CLASSES, ())
    assert loaded.model.config == model.config
    waveform = 0.1 * torch.randn(1, entry.least_samples)
    assert torch.equal(loaded.model.probabilities(waveform), model.probabilities(waveform))
    torch.save({"state_dict": published(model)}, theirs)
    loaded = load_checkpoint(theirs)
    if loaded.info.architecture != name:  # networks with the same tensors: that is said
        said = " ".join(loaded.info.notes)
        assert f"fit {architecture(loaded.info.architecture).title}, and that was assumed" in said
        assert entry.title in said
        loaded = load_checkpoint(theirs, architecture=name)
    assert loaded.info.architecture == name == loaded.model.architecture
    assert loaded.model.config == model.config
    assert all(map(torch.equal, loaded.model.state_dict().values(), model.state_dict().values()))
    tags = Tagger(model, loaded.info, runtime="torch").tag(CLIP)
    assert tags.probabilities.shape == (3,)
    assert np.isfinite(tags.probabilities).all()
    assert tags.output == ("scenes" if entry.scenes else "tags")
    assert any("resampled" in note for note in tags.notes) == (entry.sample_rate != SAMPLE_RATE)


def tagger(name: str, classes: ClassSet, path: Path) -> Tagger:
    model = narrow(name, len(classes))
    return Tagger(model, save_checkpoint(path, model, classes=classes, name=name), runtime="torch")


def test_another_rate_is_resampled_to(tmp_path: Path) -> None:
    sixteen = tagger("cnn14-16k", CLASSES, tmp_path / "x.safetensors")
    waveform = CLIP.waveform[:33_333]
    with torch.inference_mode():
        expected = sixteen.model.probabilities(
            torch.from_numpy(soxr.resample(waveform, 32_000, 16_000, "HQ"))[None]
        )
    np.testing.assert_array_equal(sixteen.probabilities(waveform), expected[0])
    assert sixteen.tag(CLIP).notes == ("The clip was resampled to 16 kHz, the rate of CNN14 at 16 kHz.",)


@pytest.mark.parametrize(
    ("seconds", "spans", "said"),
    [
        (3, [(0, 10)], "was padded with silence to 10.00 s, the only input that the network accepts."),
        (10, [(0, 10)], ""),
        (14, [(0, 10)], "tagged in 1 window of 10.0 s and the probabilities were averaged; the last 4.0 s were left out."),
        (16, [(0, 10), (10, 16)], "tagged in 2 windows of 10.0 s and the probabilities were averaged; the last one was padded with silence."),
        (20, [(0, 10), (10, 20)], "tagged in 2 windows of 10.0 s and the probabilities were averaged."),
    ],
)  # fmt: skip
def test_windows_of_a_network_that_takes_one_length(
    seconds: int, spans: list[tuple[int, int]], said: str
) -> None:
    entry = architecture("dcase2021-task1a")
    clip = load_clip(encode_wav(np.zeros(seconds * SAMPLE_RATE)), name="x.wav")
    windows = clip_windows(clip.samples, entry)
    assert windows == [(start * SAMPLE_RATE, end * SAMPLE_RATE) for start, end in spans]
    assert {tuple(fitted(part, entry).shape) for part in clip.segments(windows)} == {(1, 441_000)}
    assert " ".join(input_notes(clip, entry)).endswith(said)


def test_scenes_are_not_compared_with_tags(tmp_path: Path) -> None:
    scenes = tagger("dcase2021-task1a", ClassSet.named(SCENES), tmp_path / "scenes.safetensors")
    torch.save(scenes.model.state_dict(), tmp_path / "bare.pt")
    assert load_checkpoint(tmp_path / "bare.pt").info.classes.names == SCENES
    tags = scenes.tag(CLIP)
    assert tags.probabilities.sum() == pytest.approx(1.0)
    with pytest.raises(
        ModelError,
        match="outputs the one scene of a clip and demo-epanns its tags, so they cannot be compared",
    ):
        compare(CLIP, load_tagger("demo-epanns", runtime="torch"), scenes)
