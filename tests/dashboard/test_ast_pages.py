"""The pages with an AST installed, whose filters cannot be removed; and without the package that it needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.checkpoints import entry, path_of
from core.models.ast import AstConfig
from core.models.extras import Extra
from core.models.registry import architecture
from dashboard import formats

ROOT = Path(__file__).parents[2]
MISSING = 'AST needs the package transformers, which is not installed: pip install "pannscope[ast]"'


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A small AST of random weights in the place of the published one."""
    pytest.importorskip(
        "transformers", reason='the extra "ast" is not installed: pip install "pannscope[ast]"'
    )
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    torch.manual_seed(0)
    model = architecture("ast").build(AstConfig(embedding=64, depth=1, hidden=64, stride=16))
    torch.save(model.state_dict(), path_of(entry("ast")))


def page(name: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=120).run()
    return app.switch_page(f"{name}/page.py").run()


def test_compare_shows_it(installed: None) -> None:
    app = page("compare")
    app.selectbox(key="baseline").set_value("demo-cnn14").run()
    app.selectbox(key="candidate").set_value("ast").run()
    assert not app.exception
    assert not app.error
    assert any("AST" in head.value for head in app.header)


@pytest.mark.parametrize("name", ["prune", "filters"])
def test_pages_of_pruning_say_that_it_has_no_filters(installed: None, name: str) -> None:
    app = page(name)
    app.selectbox(key="network").set_value("ast").run()
    assert not app.exception
    said = "AST has no convolutions whose filters can be removed; it can be run, compared and counted. Prune another network."
    assert [error.value for error in app.error] == [formats.escaped(said)]
    assert not any(part.label.startswith("Layer by layer") for part in app.expander)
    app.selectbox(key="network").set_value("demo-cnn14").run()
    assert not app.exception
    assert not app.error
    assert app.header


def test_without_the_package_the_pages_say_what_to_install(
    embedded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setattr(Extra, "installed", property(lambda self: False))
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    app = page("models")
    assert f":small[{formats.escaped(MISSING)}]" in [text.value for text in app.markdown]
    assert not [button for button in app.button if button.key == "install_ast"]
    state = {
        "embeddings.position_embeddings": (1, 514, 64),
        "embeddings.distillation_token": (1, 1, 64),
        "layers.0.mlp.fc1.weight": (64, 64),
    }
    tensors = {f"audio_spectrogram_transformer.{name}": torch.zeros(shape) for name, shape in state.items()}
    torch.save(tensors | {"classifier.dense.weight": torch.zeros(527, 64)}, path_of(entry("ast")))
    app = page("filters")
    app.selectbox(key="network").set_value("ast").run()
    assert not app.exception
    (error,) = app.error
    assert error.value == formats.escaped(f"audioset_10_10_0.4593.pth: {MISSING}")
