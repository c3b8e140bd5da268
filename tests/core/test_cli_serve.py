"""``pannscope serve``: its options, its refusals, and a server that starts outside the checkout and stops on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from core.cli.serve import check_port, streamlit_options

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another server listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_options_for_streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMLIT_BROWSER_SERVER_ADDRESS", raising=False)
    assert streamlit_options(None, None, []) == ["--browser.serverAddress=localhost"]
    assert streamlit_options(8600, "0.0.0.0", ["--server.headless=true"]) == [
        "--browser.serverAddress=localhost",
        "--server.port=8600",
        "--server.address=0.0.0.0",
        "--server.headless=true",
    ]
    assert streamlit_options(None, "192.168.1.5", [])[0] == "--browser.serverAddress=192.168.1.5"
    monkeypatch.setenv("STREAMLIT_BROWSER_SERVER_ADDRESS", "pannscope.example")
    assert streamlit_options(8600, None, []) == ["--server.port=8600"]


def test_a_port_in_use(taken: int) -> None:
    with pytest.raises(typer.BadParameter) as refusal:
        check_port("127.0.0.1", taken)
    assert (
        refusal.value.message
        == f"cannot listen on 127.0.0.1, port {taken}: Address already in use; choose another one"
    )
    with pytest.raises(typer.BadParameter, match=f"cannot listen on port {taken}: "):
        check_port("", taken)


def test_a_free_port(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    check_port("127.0.0.1", free)
    check_port("", free)


def pannscope(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pannscope", *arguments]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--port=80000", "pannscope: Invalid value for '--port' / '--server.port': "),
        ("--nonsense=1", "pannscope: Invalid value for streamlit: No such option '--nonsense'. "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, option: str, said: str) -> None:
    result = pannscope(["serve", option], tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_settings_hold_outside_the_checkout(tmp_path: Path) -> None:
    """Every setting of config.toml, in a folder that has none; the server itself is replaced by a print."""
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    names = [f"{section}.{key}" for section in ("browser", "client", "server") for key in settings[section]]
    names += ["theme.baseRadius", "theme.light.primaryColor", "theme.dark.chartCategoricalColors"]
    program = (
        "import json; from streamlit import config; from streamlit.web import bootstrap; from core.cli.serve import run_dashboard\n"
        f"bootstrap.run_asgi_app = lambda *_: print(json.dumps([config.get_option(name) for name in {names}]))\n"
        "run_dashboard([])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )

    def setting(name: str) -> object:
        value: object = settings
        for part in name.split("."):
            assert isinstance(value, dict)
            value = value[part]
        return value

    assert json.loads(result.stdout.splitlines()[-1]) == [setting(name) for name in names]


@pytest.mark.skipif(sys.platform == "win32", reason="a test cannot send Ctrl-C to one process there")
def test_serve_answers_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    command = [sys.executable, "-m", "pannscope", "serve", "--server.headless=true"]
    command += [f"--port={port}", "--address=127.0.0.1"]
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        answer = b""
        while not answer:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as reply:
                    answer = reply.read()
            except OSError:
                continue
        assert answer == b"ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    said = log.read_text()
    assert f"URL: http://127.0.0.1:{port}" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_a_signal_before_the_server_runs_ends_in_order(tmp_path: Path) -> None:
    """While Streamlit is still being set up: no traceback, exit code 0."""
    program = (
        "import os, signal, time; from streamlit.web import bootstrap; from core.cli import main\n"
        "bootstrap.run_asgi_app = lambda *_: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60))\n"
        "main(['serve'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (result.returncode, result.stderr) == (0, "")
