"""A running server and a headless browser; skipped, with the reason, where there is no chromium."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from core import checkpoints
from core.cli import main
from core.tagging import EMBEDDED_PAIR

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
# The script's end says nothing of plotly, which draws its charts one after another.
# A function: the pages forbid that a string is evaluated, which is what a bare expression is from the second look on.
ALL_DRAWN = """() => [...document.querySelectorAll("[data-testid=stPlotlyChart]")].every(chart => chart.querySelector(".main-svg"))"""
NAMES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str | None:
    """The machine's chromium, or the one that PANNSCOPE_CHROMIUM names."""
    named = os.environ.get("PANNSCOPE_CHROMIUM")
    return next((found for name in ([named] if named else NAMES) if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard on a free port, with a folder for downloads of its own and no way out."""
    for name in EMBEDDED_PAIR:
        if not checkpoints.path_of(checkpoints.entry(name)).is_file():
            pytest.skip(f"{name} is not in checkpoints/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    weights = tmp_path_factory.mktemp("weights")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "PANNSCOPE_WEIGHTS": str(weights), "PANNSCOPE_AUTO_FETCH": "0"}
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", "--server.headless=true"]
    command += [f"--server.port={port}", "--server.address=127.0.0.1", "--server.fileWatcherType=none"]
    log = open(weights / "server.log", "w", encoding="utf-8")  # noqa: SIM115 (open as long as the server)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, (weights / "server.log").read_text()
                time.sleep(0.25)
        else:
            pytest.fail("the server did not answer within a minute")
        yield url
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    """Headless chromium, whose microphone is a made-up one. Until its end, playwright's event loop runs in this thread."""
    path = chromium_path()
    if path is None:
        pytest.skip("no chromium on this machine: install it, or name it in PANNSCOPE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        launched = driver.chromium.launch(executable_path=path, args=flags)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def tab(browser: playwright.Browser) -> playwright.Page:
    """The page that a module's tests open, one after another: a new one would compile the site's scripts again, seconds each time."""
    page = browser.new_context().new_page()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: _count(page, data)))
    page.set_default_timeout(90_000)  # a repair beside two curves of repaired networks, on two busy cores
    return page


@pytest.fixture
def visit(server: str, tab: playwright.Page) -> Iterator[Callable[..., playwright.Page]]:
    """Opener of a page: visit(width=1440, height=900, scheme="light", query="", path="", drawn=a selector). No console error may be left.

    Every test is a new visitor, and what it opens replaces what it had open before.
    At a page's own address Streamlit first asks for its server below that address, and does not find it there.
    """
    complaints = []

    def listen(said: playwright.ConsoleMessage) -> None:
        if said.type == "error" and "/_stcore/" not in said.location["url"]:
            complaints.append(said.text)

    def stop(error: playwright.Error) -> None:
        complaints.append(str(error))

    def open_page(
        width: int = 1440,
        height: int = 900,
        *,
        scheme: str = "light",
        query: str = "",
        path: str = "",
        drawn: str = ".barlayer path",
    ) -> playwright.Page:
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme=scheme)
        tab.goto(server + path + query)
        tab.wait_for_selector(drawn, state="attached")
        tab.wait_for_selector(IDLE)
        tab.wait_for_function(ALL_DRAWN)
        return tab

    tab.on("console", listen)
    tab.on("pageerror", stop)
    yield open_page
    tab.remove_listener("console", listen)
    tab.remove_listener("pageerror", stop)
    if tab.url.startswith(server):
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")
    tab.goto("about:blank")  # which ends its session on the server
    tab.context.clear_cookies()
    assert complaints == []


def by_cli(*arguments: object) -> str:
    """What the command line prints, run in this process."""
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0
    return printed.getvalue()


_RUNS: Counter[playwright.Page] = Counter()
"""How many runs of a script the server has ended, as it told the page."""


def _count(page: playwright.Page, data: bytes | str) -> None:
    message = ForwardMsg.FromString(data) if isinstance(data, bytes) else ForwardMsg()
    _RUNS[page] += message.WhichOneof("type") == "script_finished"


@contextmanager
def answered(page: playwright.Page) -> Iterator[None]:
    """What happens in the ``with`` block makes the server run; afterwards the page has drawn the answer."""
    before = _RUNS[page]
    yield
    for _ in range(1_800):
        if _RUNS[page] > before:
            break
        page.wait_for_timeout(50)
    else:
        pytest.fail("the server did not run within 90 s")
    settled(page)


def settled(page: playwright.Page) -> None:
    """Wait until the page has drawn what the server has sent."""
    page.wait_for_selector(IDLE)
    page.wait_for_function(ALL_DRAWN)
    page.wait_for_timeout(250)
