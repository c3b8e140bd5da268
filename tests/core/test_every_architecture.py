"""Every entry of the registry, a narrow network of each: saved, loaded as what it is, and run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.models.fitting import FRONT_END_KEYS
from core.models.frontend import mel_matrix
from core.models.network import Network
from core.models.registry import ARCHITECTURES, architecture
from tests.core.networks import narrow

CLASSES = ClassSet.named(["Drone", "Rain", "Door, of the shed"])


def published(model: Network) -> dict[str, torch.Tensor]:
    """A state dict with the front end's tensors where the published ones hold them, and a prefix."""
    front, state = model.published_front_end, dict(model.state_dict())
    if front is not None:
        state |= {key: torch.zeros(shape(front)) for key, shape in FRONT_END_KEYS.items()}
        state["logmel_extractor.melW"] = torch.tensor(mel_matrix(front))
    return {f"net.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
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
