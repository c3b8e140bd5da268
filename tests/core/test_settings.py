"""Settings from the environment: what is accepted, what is refused in one line, and where files lie on every system."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from core import settings
from core.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in settings.VARIABLES:
        monkeypatch.delenv(variable.name, raising=False)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As ``pip install`` puts Pannscope: ``core`` and ``checkpoints`` in a folder without a pyproject.toml of ours."""
    monkeypatch.setattr(settings, "ROOT", tmp_path / "site-packages")
    (tmp_path / "site-packages" / "checkpoints").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_defaults() -> None:
    assert settings.zenodo() == "https://zenodo.org"
    assert settings.profile() == "auto"
    assert settings.threads() is None
    assert settings.auto_fetch() is False
    settings.check()


@pytest.mark.parametrize("variable", settings.VARIABLES, ids=lambda variable: variable.name)
def test_blank_is_not_set(variable: settings.Variable, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (settings.weights_dir(), settings.cache_dir())
    monkeypatch.setenv(variable.name, "  ")
    settings.check()
    assert (settings.weights_dir(), settings.cache_dir()) == before


@pytest.mark.parametrize(
    ("read", "name", "given", "value"),
    [
        (settings.zenodo, "ZENODO", "https://mirror.example/zenodo/", "https://mirror.example/zenodo"),
        (settings.zenodo, "ZENODO", " http://127.0.0.1:9 ", "http://127.0.0.1:9"),
        (settings.profile, "PROFILE", "small", "small"),
        (settings.threads, "THREADS", "1", 1),
        (settings.threads, "THREADS", "256", 256),
        (settings.auto_fetch, "AUTO_FETCH", "1", True),
        (settings.auto_fetch, "AUTO_FETCH", "True", True),
        (settings.auto_fetch, "AUTO_FETCH", "0", False),
        (settings.fixed_models, "FIXED_MODELS", "1", True),
        (settings.fixed_models, "FIXED_MODELS", "", False),
    ],
)
def test_what_is_accepted(read, name, given, value, monkeypatch) -> None:
    monkeypatch.setenv(f"PANNSCOPE_{name}", given)
    assert read() == value
    settings.check()


@pytest.mark.parametrize(
    ("name", "given", "accepted"),
    [
        ("ZENODO", "zenodo.org", "an address that begins with https:// or http://"),
        ("ZENODO", "file:///etc", "an address that begins"),
        ("ZENODO", "http://[::1", "an address that begins"),
        ("ZENODO", "http://127.0.0.1:65536", "an address that begins"),
        ("ZENODO", "https://", "an address that begins"),
        ("ZENODO", "https://a.example/\x01", "an address that begins"),
        ("ZENODO", "https://a.example?x=1", "an address that begins"),
        ("PROFILE", "tiny", "one of auto, fast, small"),
        ("THREADS", "0", "a number of threads, 1 to 256"),
        ("THREADS", "257", "a number of threads"),
        ("THREADS", "-1", "a number of threads"),
        ("THREADS", "two", "a number of threads"),
        ("THREADS", "²", "a number of threads"),
        ("AUTO_FETCH", "maybe", "1 or 0"),
        ("FIXED_MODELS", "2", "1 or 0"),
    ],
)
def test_what_is_refused_is_one_line(name, given, accepted, monkeypatch, cli) -> None:
    monkeypatch.setenv(f"PANNSCOPE_{name}", given)
    with pytest.raises(SettingsError) as caught:
        settings.check()
    message = str(caught.value)
    assert message.startswith(f"PANNSCOPE_{name} is {accepted}")
    assert repr(given) in message
    assert cli("models").complaint == f"pannscope: {message}\n"


def test_in_a_checkout_downloads_lie_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert settings.weights_dir() == ROOT / "checkpoints" / "weights"
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    assert settings.weights_dir() == tmp_path
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", "~/weights")
    assert settings.weights_dir() == Path.home() / "weights"


def test_outside_a_checkout_nothing_lies_beside_the_package(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.weights_dir() == installed / "cache" / "pannscope" / "weights"
    monkeypatch.setenv("PANNSCOPE_CACHE", str(installed / "named"))
    assert settings.weights_dir() == installed / "named" / "weights"
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(installed / "weights"))
    assert settings.weights_dir() == installed / "weights"
    assert settings.cache_dir() == installed / "named"


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ('[project]\nname = "pannscope"\n', True),
        ('[project]\nname = "another"\n', False),
        ("[tool.ruff]\n", False),
        ("project = 3\n", False),
        ("= =", False),
        (None, False),
    ],
)
def test_a_checkout_is_known_by_its_pyproject(text: str | None, ours: bool, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert settings.is_checkout(tmp_path) is ours


@pytest.mark.parametrize(
    ("system", "environment", "folder"),
    [
        (Unix, {"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/pannscope"),
        (Unix, {"XDG_CACHE_HOME": ""}, "~/.cache/pannscope"),
        (MacOS, {"XDG_CACHE_HOME": ""}, "~/Library/Caches/pannscope"),
        (Windows, {"LOCALAPPDATA": "/C/AppData/Local"}, "/C/AppData/Local/pannscope/Cache"),
    ],
)
def test_the_cache_folder_of_every_system(system, environment, folder, monkeypatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platformdirs.PlatformDirs", system)
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda _: os.environ["LOCALAPPDATA"])
    assert settings.cache_dir() == Path(folder).expanduser()


def test_the_documentation_has_the_same_table() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(PANNSCOPE_\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == [
        (variable.name, f"{variable.meaning} ({variable.default})") for variable in settings.VARIABLES
    ]


def test_no_other_module_reads_them() -> None:
    reading = re.compile(r"(environ\b|getenv)[^\n]*PANNSCOPE_")
    modules = [path for folder in ("core", "dashboard") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100
    assert [path.name for path in modules if reading.search(path.read_text(encoding="utf-8"))] == []
