"""A new architecture is a module, an entry of the registry and one of the manifest: no command and no page knows it by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from streamlit.testing.v1 import AppTest

from core.checkpoints import Entry, entries, load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.models import recognition
from core.models.groups import groups
from core.models.registry import ARCHITECTURES
from dashboard import formats
from tests import toy
from tests.core.conftest import Run, cli  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ClassSet.named([f"Sound {number}" for number in range(18)])
PARAMETERS = (
    16 * 25 + 24 * 16 * 9 + 24 * 9 + 16 * 24 + 32 * 16 * 9  # kernels
    + 2 * (64 + 16 + 24 + 24 + 16 + 32)  # batch norms, that of the mel bands first
    + 32 * 20 + 20 + 20 * 18 + 18  # linear layers
)  # fmt: skip


@pytest.fixture(scope="module")
def toy_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The architecture known for these tests, and a network of it installed."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "toy", toy.ENTRY)
        recognition._templates.cache_clear()
        torch.manual_seed(0)
        model = toy.ENTRY.build(toy.ENTRY.configure(classes=18)).eval()
        file = folder / "toy.safetensors"
        save_checkpoint(file, model, classes=CLASSES, name="toy-net")
        listed = Entry(
            name="toy-net",
            title="Toy",
            architecture="toy",
            kind="official",
            source="made here",
            about="A network for a test",
            licence="MIT",
            url="https://127.0.0.1/toy.safetensors",
            file=file.name,
            size_bytes=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            classes=CLASSES.names,
            family="Toys",
            published_mAP=0.123,
            mAP_source="nowhere",
            params=PARAMETERS,
            macs_10s=1_000_000,
        )
        known = entries.manifest() | {"toy-net": listed}
        patch.setattr(entries, "_manifest", lambda: known)
        patch.setenv("PANNSCOPE_WEIGHTS", str(folder))
        yield file
    recognition._templates.cache_clear()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    file = tmp_path / "noise.wav"
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(32_000), 32_000)
    return file


def test_its_layers_share_filters_as_its_sums_say(toy_file: Path) -> None:
    found = {group.name: group.layers for group in groups("toy", toy.ENTRY.configure(classes=18))}
    assert found == {"first": ("first", "back"), "inside": ("inside",), "last": ("last",)}


def test_every_command_takes_it(toy_file: Path, clip: Path, tmp_path: Path, cli: type[Run]) -> None:  # noqa: F811
    listed = {model["name"]: model for model in cli("models", "--json").document}
    assert listed["toy-net"]["status"] == "installed"
    tags = cli("tag", clip, "-m", "toy-net", "--json").document
    assert {tag["name"] for tag in tags["tags"]} <= set(CLASSES.names)
    assert cli("profile", "-m", "toy-net", "--json").document["params_trainable"] == PARAMETERS
    ranked = cli("importance", "-m", "toy-net", "--layer", "all", "--json").document["layers"]
    assert [layer["layer"] for layer in ranked] == ["first", "inside", "last"]
    pruned = tmp_path / "pruned.safetensors"
    document = cli(
        "prune",
        "-m",
        "toy-net",
        "--ratio",
        "0.5",
        "--repair",
        "--clips",
        clip,
        "--out",
        pruned,
        "--json",
    ).document
    assert {group: len(kept) for group, kept in document["kept"].items()} == {
        "first": 8,
        "inside": 12,
        "last": 16,
    }
    assert load_checkpoint(pruned).model.config.widths == (8, 12, 8, 16)
    compared = cli("compare", clip, "--baseline", "toy-net", "--candidate", pruned, "--json")
    assert compared.code == 0, compared.err
    onnx = tmp_path / "toy.onnx"
    assert cli("export", "--checkpoint", pruned, "--format", "onnx", "--out", onnx, "--json").code == 0
    waveform = np.random.default_rng(1).standard_normal((1, 32_000)).astype(np.float32)
    run = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"]).run(
        None, {"waveform": waveform}
    )
    expected = load_checkpoint(pruned).model.probabilities(torch.from_numpy(waveform)).numpy()
    assert np.abs(run[0] - expected).max() < 1e-4


def page(name: str, **address: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=120).run()
    if name != "compare":
        app.switch_page(f"{name}/page.py").run()
    assert not app.exception
    return app


def test_compare_shows_it(toy_file: Path) -> None:
    app = page("compare")
    app.selectbox(key="baseline").set_value("toy-net").run()
    app.selectbox(key="candidate").set_value("toy-net").run()
    assert not app.exception
    assert not app.error
    assert any(formats.count(PARAMETERS) in text.value for text in app.markdown)


def test_prune_cuts_it(toy_file: Path) -> None:
    app = page("prune")
    app.selectbox(key="network").set_value("toy-net").run()
    assert not app.exception
    assert not app.error
    assert app.header[0].value.replace("\xa0", " ").startswith("50 % of the filters of all layers removed")
    assert "C7" not in " ".join(text.value for text in app.markdown)


def test_filters_shows_its_layers(toy_file: Path) -> None:
    app = page("filters")
    app.selectbox(key="network").set_value("toy-net").run()
    assert not app.exception
    assert not app.error
    assert app.header[0].value.startswith("first keeps 8 of 16 filters")
    assert any("shares its filters with back" in text.value for text in app.caption)


def test_the_trade_off_and_the_models_have_it(toy_file: Path) -> None:
    app = page("tradeoff")
    assert any("toy-net" in frame.value.to_csv() or "Toy" in frame.value.to_csv() for frame in app.dataframe)
    app = page("models")
    assert any("Toy" in text.value for text in (*app.markdown, *app.subheader, *app.caption))
