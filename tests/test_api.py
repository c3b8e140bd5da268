"""The public interface: what ``import pannscope`` offers, what it imports, and what it says where another ``core`` is in its way."""

from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import core
import pannscope
from core import errors
from core.audio import encode_wav
from core.examples import example_clip

ROOT = Path(__file__).resolve().parent.parent


def python(program: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder`, with the checkout on the path after it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_pannscope_offers_what_core_lists() -> None:
    assert set(pannscope.__all__) == set(core.API)
    assert dir(pannscope) == pannscope.__all__
    for name in pannscope.__all__:
        assert getattr(pannscope, name).__name__ == name


def test_every_error_is_public() -> None:
    assert {name for name in vars(errors) if name.endswith("Error")} == {
        name for name in core.API if name.endswith("Error")
    }


def test_core_offers_every_name_that_no_module_of_its_own_has() -> None:
    modules = {path.stem for path in (ROOT / "core").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(core.__all__) == {"API", *core.API} - modules
    for name in set(core.__all__) - {"API"}:
        assert getattr(core, name) is getattr(pannscope, name)


def test_type_checkers_see_every_name() -> None:
    """The imports under TYPE_CHECKING name the modules that the table names."""
    for package in (core, pannscope):
        assert package.__file__ is not None
        tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
        (branch,) = [node for node in tree.body if isinstance(node, ast.If)]
        seen = {
            alias.name: node.module
            for node in branch.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert seen == {name: core.API[name] for name in package.__all__ if name != "API"}
        assert Path(package.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("package", ["core", "pannscope"])
def test_a_name_that_is_not_offered(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'retrain'"):
        getattr(sys.modules[package], "retrain")  # noqa: B009 (mypy knows that it is not there)
    with pytest.raises(ImportError, match="cannot import name 'retrain'"):
        exec(f"from {package} import retrain")


@pytest.mark.parametrize(
    ("use", "without"),
    [
        ("import core, pannscope; dir(pannscope)", {"torch", "numpy"}),
        ("from pannscope import PannscopeError", {"torch", "numpy"}),
        ("from pannscope import load_clip", {"torch"}),
    ],
)
def test_a_module_is_imported_when_it_is_used(use: str, without: set[str]) -> None:
    result = python(f"{use}; import sys; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    assert without & set(result.stdout.split()) == set()


@pytest.mark.parametrize("place", ["core/__init__.py", "core.py"])
def test_another_projects_core(tmp_path: Path, place: str) -> None:
    other = tmp_path / place
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise RuntimeError('the other project ran')\n", encoding="utf-8")
    said = f"Python imports another project's package `core` ({other}) instead of Pannscope's"
    imported = python("import pannscope; pannscope.load_tagger", tmp_path)
    assert imported.stderr.splitlines()[-1].startswith(f"ImportError: {said}")
    started = python("import sys; from pannscope.__main__ import main; main()", tmp_path)
    assert started.returncode == 2
    assert started.stderr.startswith(f"pannscope: {said}")
    assert started.stderr.count("\n") == 1


def test_a_folder_that_is_no_package_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    assert python("from pannscope import PannscopeError", tmp_path).returncode == 0


# The documents


def fences(document: Path) -> str:
    """The Python blocks of a Markdown file, one after the other."""
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )


def test_the_reference_has_every_name_with_its_parameters() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (\w+)(?:\((.*)\))?$", page, re.MULTILINE)
    errors = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted([name for name, _ in headings] + errors) == sorted(pannscope.__all__)
    for name, parameters in headings:
        public = getattr(pannscope, name)
        if not inspect.isclass(public):
            empty = inspect.Parameter.empty
            signature = inspect.signature(public)
            plain = [each.replace(annotation=empty) for each in signature.parameters.values()]
            assert f"({parameters})" == str(signature.replace(parameters=plain, return_annotation=empty)), (
                name
            )


def test_the_examples_of_the_reference() -> None:
    page = ROOT / "docs" / "api.md"
    examples = doctest.DocTestParser().get_doctest(fences(page), {}, page.name, str(page), 0)
    assert len(examples.examples) > 20
    said: list[str] = []
    assert doctest.DocTestRunner().run(examples, out=said.append).failed == 0, "".join(said)


def test_the_example_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.wav").write_bytes(encode_wav(example_clip("clock").waveform))
    monkeypatch.chdir(tmp_path)
    exec(fences(ROOT / "README.md"), {})
    assert "Tick" in capsys.readouterr().out
