"""The command line as the tests drive it, and a folder with small networks and recordings for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.cli import main
from core.models.cnn import Cnn14, Cnn14Config
from core.pruning.plan import PruningPlan

WIDTHS = (4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16)


@dataclass(frozen=True)
class Run:
    """What one call of the command line left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document that standard output is, and nothing else; the call went well."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line that a user's mistake ends in."""
        assert (self.code, self.out) == (2, "")
        assert self.err.startswith("pannscope: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        return self.err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Run]]:
    """Call the command line in this process: ``cli("tag", path, "--top", 3)``. A command's ``--threads`` ends with the test."""
    threads = torch.get_num_threads()

    def call(*arguments: object) -> Run:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert isinstance(stopped.value.code, int)
        return Run(stopped.value.code, *capsys.readouterr())

    yield call
    torch.set_num_threads(threads)


def save_network(path: Path, classes: tuple[str, ...], seed: int) -> None:
    """A narrow CNN14 with weights of its own, unlike the next seed's."""
    torch.manual_seed(seed)
    model = Cnn14(Cnn14Config(WIDTHS, len(classes), 16)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and not name.startswith("bn0"):
                value.copy_(torch.rand(value.shape) * (1.0 if name.startswith("fc") else 0.3))
        model.fc_audioset.weight.sub_(0.5)
    save_checkpoint(path, model, classes=ClassSet.from_names(classes), name=path.stem)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three networks (``stranger`` shares no class with the others), five recordings, a manifest of two folds, an empty folder, and a plan for another network."""
    folder = tmp_path_factory.mktemp("studio")
    save_network(folder / "small.safetensors", ("Speech", "Rain", "Siren"), 1)
    save_network(folder / "other.safetensors", ("Speech", "Rain", "Siren"), 2)
    save_network(folder / "stranger.safetensors", ("Dog", "Bark"), 3)
    rng = np.random.default_rng(0)
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(folder / "tone.wav", np.stack([tone, 0.5 * tone], axis=1), 44_100)
    soundfile.write(folder / "noise.flac", 0.2 * rng.standard_normal(16_000), 32_000)
    soundfile.write(folder / "short.wav", 0.2 * rng.standard_normal(3_200), 32_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 32_000)
    soundfile.write(folder / "long.wav", 0.1 * rng.standard_normal(8_000 * 31), 8_000)
    lines = ["filename,labels,fold", "tone.wav,Siren,1", "noise.flac,Rain,1", "short.wav,Rain;Speech,1"]
    lines += ["silent.wav,Speech,2", "tone.wav,Siren,2", "noise.flac,Rain,2"]
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    (folder / "empty").mkdir()
    other = PruningPlan("cnn14", (8,) * 12, "l1", {"C12": 0.5}, {"C12": (0, 1, 2, 3)})
    (folder / "other-plan.json").write_text(other.text())
    return folder
