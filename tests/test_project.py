"""The project's own files: what is pinned, what goes into a wheel, the theme's contrasts, and what the scripts do."""

from __future__ import annotations

import ast
import email
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
BASH = shutil.which("bash") or "bash"


def requirement_lines() -> list[str]:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# requirements.txt and pyproject.toml


def test_requirements_pin_what_pyproject_names() -> None:
    pins = {pin.name: pin.specifier for pin in map(Requirement, requirement_lines()[1:])}
    ranges = {need.name: need.specifier for need in map(Requirement, PYPROJECT["project"]["dependencies"])}
    assert sorted(pins) == sorted(ranges)
    for name, specifier in pins.items():
        (pin,) = specifier
        assert pin.operator == "=="
        assert ranges[name].contains(pin.version), f"{name}=={pin.version} is outside {ranges[name]}"


def test_requirements_name_no_index() -> None:
    lines = requirement_lines()
    assert lines[0] == "./scripts/torch-cpu"
    assert not [line for line in lines if line.startswith("-")]


def test_torch_cpu_points_at_the_release_that_is_pinned() -> None:
    project = tomllib.loads((ROOT / "scripts" / "torch-cpu" / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert f"torch=={project['version']}" in requirement_lines()


# scripts/torch-cpu: a wheel that requires the CPU build where its index has it


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A PyTorch index on this machine that holds the CPU wheel for this interpreter (by name: it is empty)."""
    folder = tmp_path / "index"
    folder.mkdir()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    for machine in ("x86_64", "aarch64"):
        (folder / f"torch-2.13.0+cpu-{python}-{python}-manylinux_2_28_{machine}.whl").touch()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def torch_requirement(folder: Path) -> str | None:
    """Builds the wheel into `folder`; what it requires."""
    folder.mkdir()
    name = load(ROOT / "scripts" / "torch-cpu" / "backend.py").build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as wheel:
        assert len(wheel.namelist()) == 3
        metadata = email.message_from_bytes(wheel.read("pannscope_torch_cpu-2.13.0.dist-info/METADATA"))
    assert metadata["Name"] == "pannscope-torch-cpu"
    return metadata["Requires-Dist"]


@pytest.mark.skipif(sys.platform != "linux", reason="the package index has the CPU build for other systems")
def test_torch_cpu_requires_the_wheel_of_an_index_that_has_it(
    tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANNSCOPE_TORCH_INDEX", index + "/")
    requirement = torch_requirement(tmp_path / "available")
    assert requirement is not None
    assert requirement.startswith(f"torch @ {index}/torch-2.13.0%2Bcpu-cp3")
    monkeypatch.setenv("PANNSCOPE_TORCH_INDEX", index + "/nothing-here")
    assert torch_requirement(tmp_path / "missing") is None


def test_torch_cpu_requires_nothing_where_no_index_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANNSCOPE_TORCH_INDEX", "http://127.0.0.1:9/whl/cpu")  # the discard port: refused
    assert torch_requirement(tmp_path / "refused") is None
    monkeypatch.setenv("PANNSCOPE_TORCH_INDEX", "https://index.invalid/whl/cpu")  # a name that never resolves
    assert torch_requirement(tmp_path / "unknown") is None


def test_torch_cpu_waits_no_longer_than_its_deadline() -> None:
    backend = load(ROOT / "scripts" / "torch-cpu" / "backend.py")
    with http.server.HTTPServer(
        ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
    ) as silent:  # never served
        started = time.monotonic()
        assert not backend.is_available(f"http://127.0.0.1:{silent.server_port}/torch.whl", deadline_s=0.3)
        assert time.monotonic() - started < 2


# The theme


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, by WCAG 2.1's definition of relative luminance."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mixed(over: str, under: str, share: float) -> str:
    """A colour with this opacity over another."""
    pairs = [(int(over[i : i + 2], 16), int(under[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * top + (1 - share) * bottom):02X}" for top, bottom in pairs)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_theme_contrasts(name: str) -> None:
    theme = CONFIG["theme"][name]
    for background in (theme["backgroundColor"], theme["secondaryBackgroundColor"]):
        for text in (
            "textColor",
            "linkColor",
            "codeTextColor",
            "grayTextColor",
            "blueTextColor",
            "orangeTextColor",
        ):
            assert contrast(theme[text], background) >= 4.5, text
        assert contrast(mixed(theme["textColor"], background, 0.6), background) >= 4.5, "captions"
        chosen = mixed(theme["primaryColor"], theme["backgroundColor"], 0.2)  # under the pointer; else 0.1
        assert contrast(theme["primaryColor"], chosen) >= 4.5
        for mark in ("primaryColor", "blueColor", "orangeColor"):
            assert contrast(theme[mark], background) >= 3, mark
    for hue in ("blue", "orange"):
        assert contrast(theme[f"{hue}TextColor"], theme[f"{hue}BackgroundColor"]) >= 4.5
    # A primary button's text: white is Streamlit's own, dark is dashboard/widgets/theme.py's.
    assert contrast(theme["primaryColor"], {"light": "#FFFFFF", "dark": "#0F1318"}[name]) >= 4.5
    assert theme["chartCategoricalColors"][:2] == [theme["blueColor"], theme["orangeColor"]]


def test_every_setting_exists_in_streamlit() -> None:
    config = pytest.importorskip("streamlit.config")

    def flat(table: dict[str, object], prefix: str = "") -> Iterator[str]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key

    assert [key for key in flat(CONFIG) if key not in config._config_options_template] == []


def test_both_copies_of_the_settings_are_equal() -> None:
    copies = [ROOT / ".streamlit" / "config.toml", ROOT / "dashboard" / ".streamlit" / "config.toml"]
    assert copies[0].read_bytes() == copies[1].read_bytes()


def test_the_server_stays_protected() -> None:
    assert CONFIG["server"]["enableCORS"] is True
    assert CONFIG["server"]["enableXsrfProtection"] is True
    assert "maxUploadSize" not in CONFIG["server"]  # dashboard/server/upload_limit.py chooses it
    assert CONFIG["server"]["maxMessageSize"] == 25  # a visitor's message is read whole
    assert (
        CONFIG["browser"]["serverAddress"] == "localhost"
    )  # without it Streamlit asks an outside server at every start
    assert CONFIG["client"]["showErrorDetails"] == "none"
    assert CONFIG["browser"]["gatherUsageStats"] is False


# The scripts


def stub(folder: Path, version: tuple[int, int, int], *, venv: bool = True) -> Path:
    """An interpreter in `folder` that claims to be `version`, with or without the modules that make environments."""
    folder.mkdir(exist_ok=True)
    path = folder / "python3"
    hide = "" if venv else "u.find_spec = lambda *a: None; "
    program = f"import sys, importlib.util as u; sys.version_info = {version}; {hide}exec(sys.stdin.read())"
    path.write_text(f"#!{BASH}\nexec {sys.executable} -c '{program}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def serve(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """scripts/serve with a PATH that holds no Python, and an environment that does not exist."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("basename", "cksum", "dirname", "find", "mkdir", "cat"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    path = os.pathsep.join(filter(None, (environment.pop("PATH", ""), str(tools))))
    settings = {"PATH": path, "PANNSCOPE_VENV": str(tmp_path / "venv")} | environment
    command = [BASH, str(ROOT / "scripts" / "serve")]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("scripts/serve: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_serve_without_python(tmp_path: Path) -> None:
    assert "Python 3.11 to 3.14 with venv is needed (no python3 on the PATH)" in one_line(serve(tmp_path))
    assert not (tmp_path / "venv").exists()


def test_serve_with_an_old_python(tmp_path: Path) -> None:
    old = stub(tmp_path / "old", (3, 9, 2)).parent
    assert "is Python 3.9.2" in one_line(serve(tmp_path, PATH=str(old)))


def test_serve_without_the_venv_module(tmp_path: Path) -> None:
    bare = stub(tmp_path / "bare", (3, 11, 2), venv=False).parent
    assert "apt-get install python3.11-venv" in one_line(serve(tmp_path, PATH=str(bare)))


def test_serve_with_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    assert "PANNSCOPE_PYTHON=/nowhere: no such program" in one_line(
        serve(tmp_path, PANNSCOPE_PYTHON="/nowhere")
    )


def test_serve_leaves_a_folder_alone_that_is_not_an_environment(tmp_path: Path) -> None:
    precious = tmp_path / "venv" / "precious"
    precious.parent.mkdir()
    precious.write_text("kept", encoding="utf-8")
    assert "is not a virtual environment" in one_line(serve(tmp_path))
    assert [path.name for path in precious.parent.iterdir()] == ["precious"]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_forget_incomplete(tmp_path: Path, damage: str) -> None:
    for name in ("whole", "broken"):
        (tmp_path / f"{name}.py").write_text("answer = 42\n", encoding="utf-8")
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        record = (
            f"{name}.py,sha256=x,12\n__pycache__/{name}.cpython-311.pyc,,\n{name}-1.0.dist-info/RECORD,,\n"
        )
        (metadata / "RECORD").write_text(record, encoding="utf-8")
    if damage == "missing":
        (tmp_path / "broken.py").unlink()
    else:
        (tmp_path / "broken.py").write_text("answer", encoding="utf-8")
    forget = load(ROOT / "scripts" / "forget_incomplete.py").forget_incomplete
    assert forget(tmp_path) == ["broken-1.0"]
    assert not (tmp_path / "broken-1.0.dist-info").exists()
    assert (tmp_path / "whole-1.0.dist-info").exists()
    assert forget(tmp_path) == []


@pytest.mark.parametrize("script", ["scripts/serve", "scripts/test", "scripts/environment.sh", ".ci/run"])
def test_scripts_are_bash_and_can_be_run(script: str) -> None:
    subprocess.run([BASH, "-n", str(ROOT / script)], check=True)
    assert script.endswith(".sh") or os.access(ROOT / script, os.X_OK)


# The packages


def test_every_module_says_what_it_is() -> None:
    modules = [
        path
        for package in ("core", "dashboard", "scripts", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
    ]
    assert len(modules) > 50
    undocumented = [
        str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert undocumented == []


def test_core_neither_imports_streamlit_nor_prints() -> None:
    for path in (ROOT / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if path != ROOT / "core" / "cli" / "serve.py":  # which starts the dashboard
                assert not [name for name in names if name.split(".")[0] in ("streamlit", "dashboard")], path
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            # panns_inference's classes print which file they load, and so do ours in their place
            assert called != "print" or path == ROOT / "core" / "panns_inference.py", path


# The wheel and the image


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as git has it, with a downloaded network that does not belong in a wheel."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path_factory.mktemp("source")
    for line in listed.stdout.splitlines():
        if (ROOT / line).is_file() and not line.startswith("tests/"):
            (copy / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / line, copy / line)
    (copy / "checkpoints" / "weights").mkdir(exist_ok=True)
    (copy / "checkpoints" / "weights" / "downloaded.safetensors").touch()
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    program = "from setuptools.build_meta import build_wheel as b; import sys; b(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=source, check=True, capture_output=True)
    (path,) = folder.glob("pannscope-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_packages_and_data(source: Path, wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    expected = {str(path.relative_to(source)) for path in source.glob("core/**/*.py")}
    expected |= {str(path.relative_to(source)) for path in source.glob("dashboard/**/*.py")}
    expected |= {"pannscope/__init__.py", "pannscope/__main__.py", "pannscope/py.typed", "core/py.typed"}
    expected |= {
        "core/data/audioset_classes.csv",
        "checkpoints/manifest.toml",
        "dashboard/.streamlit/config.toml",
    }
    expected |= {str(path.relative_to(source)) for path in source.glob("dashboard/assets/*")}
    # the embedded networks travel with their model cards and the credits of what they were trained on
    for pattern in ("*.safetensors", "*.md"):
        expected |= {str(path.relative_to(source)) for path in source.glob(f"checkpoints/{pattern}")}
    assert expected <= names
    assert not [name for name in names if "weights/" in name]
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "pannscope",
        "core",
        "dashboard",
        "checkpoints",
    }


def test_the_wheel_works_without_a_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked as an installer does: a command runs, downloads would go to the user's cache, and no file is added."""
    site, elsewhere = tmp_path / "site-packages", tmp_path / "elsewhere"
    wheel.extractall(site)
    elsewhere.mkdir()
    before = sorted(site.rglob("*"))
    settings = {
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PANNSCOPE_CACHE": str(tmp_path / "cache"),
    }
    environment = {key: value for key, value in os.environ.items() if key != "PANNSCOPE_WEIGHTS"} | settings
    program = (
        "import core, pannscope; from core.checkpoints import entry, path_of; from core.examples import example_clip\n"
        "tags = pannscope.load_tagger('demo-epanns').tag(example_clip('clock')).top(1)\n"
        "print(core.__file__, path_of(entry('cnn14')), tags[0].name, sep='\\n')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    module, download, tag = result.stdout.splitlines()
    assert Path(module) == site / "core" / "__init__.py"
    assert Path(download).is_relative_to(tmp_path / "cache")
    assert tag in ("Clock", "Tick", "Tick-tock")
    assert sorted(site.rglob("*")) == before
    assert list(elsewhere.iterdir()) == []


def test_the_program_is_a_function_that_exists() -> None:
    module, _, function = PYPROJECT["project"]["scripts"]["pannscope"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_image_copies_what_its_context_holds() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    context = {line[1:] for line in lines if line.startswith("!")}
    for sources in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert source.split("/")[0] in context
            assert (ROOT / source).exists(), source
