"""The Models page: every network on one card, installing from a real server, and removing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.checkpoints import Entry, entries, entry, manifest, path_of, status
from dashboard.models.card import figures
from dashboard.server.server import get_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Entry]:
    """A network that a server on this machine offers: the embedded one's file, under another name."""
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "site" / "tiny.pth"
    file.parent.mkdir()
    file.write_bytes(path_of(entry("demo-epanns")).read_bytes())
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(file.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    listed = Entry(
        name="tiny", title="Tiny", architecture="cnn14", kind="official", licence="CC0", source="a test",
        about="None.", file="tiny.pth", url=f"http://127.0.0.1:{server.server_port}/tiny.pth",
        size_bytes=file.stat().st_size, md5=hashlib.md5(file.read_bytes()).hexdigest(), family="Tests",
    )  # fmt: skip
    monkeypatch.setitem(entries._manifest(), "tiny", listed)
    yield listed
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def models() -> AppTest:
    page = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
    page._page_hash = calc_hash("models")  # as st.Page has it; switch_page would run the front page first
    return page


def downloaded() -> None:
    end = time.monotonic() + 20
    while get_server().downloads.status.active and time.monotonic() < end:
        time.sleep(0.02)


def test_every_network_that_can_be_used_has_a_card(
    models: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    page = models.run()
    assert not page.exception
    shown = " ".join(text.value for text in page.markdown)
    usable = [each for each in manifest().values() if status(each) != "published-only"]
    assert all(f"**{each.title}**" in shown and each.about in shown for each in usable)
    assert [head.value for head in page.header] == [
        "Demonstration",
        "PANNs",
        "E-PANNs",
        "EfficientAT",
        "Transformers",
    ]
    buttons = {button.key: button.label for button in page.button}
    assert buttons["install_cnn14"] == "Install (327\N{NO-BREAK SPACE}MB)"
    assert buttons["install_mn04"] == "Install (4.07\N{NO-BREAK SPACE}MB)"
    assert "install_demo-cnn14" not in buttons


def test_a_cards_figures() -> None:
    assert figures(entry("cnn14")).replace("\N{NO-BREAK SPACE}", " ") == (
        "mAP 0.431 · 80.8 M parameters · 21.2 G MACs · licence: CC BY 4.0 · [arXiv:1912.10211](https://arxiv.org/abs/1912.10211)"
    )
    assert figures(entry("demo-cnn14")).startswith("5.25")


def test_what_papers_alone_know_is_a_table(models: AppTest) -> None:
    models.query_params["show"] = "papers"
    page = models.run()
    (table,) = page.dataframe
    assert {"ERANN-2-5", "AST (ensemble)", "PSLA", "E-PANNs 75 %"} <= set(table.value["Network"])
    assert table.value["Source of the counts"].all()
    assert not [button for button in page.button if (button.key or "").startswith("install_")]


def test_installing_and_removing(models: AppTest, tiny: Entry) -> None:
    page = models.run()
    page.button(key="install_tiny").click().run()
    downloaded()
    assert status(tiny) == "installed"
    page.run()
    assert "**Tiny** :gray-badge[installed]" in [text.value for text in page.markdown]
    page.button(key="remove_tiny").click().run()
    assert not page.exception
    assert status(tiny) == "available"
    assert page.button(key="install_tiny").label.startswith("Install (")


def test_a_failure_stands_on_the_networks_own_card(models: AppTest, tiny: Entry, tmp_path: Path) -> None:
    page = models.run()
    file = tmp_path / "site" / "tiny.pth"
    file.write_bytes(file.read_bytes()[::-1])
    page.button(key="install_tiny").click().run()
    downloaded()
    page.run()
    assert page.button(key="install_tiny").label == "Try again"
    (said,) = [text.value for text in page.markdown if "is not the published file" in text.value]
    assert str(tmp_path) not in said
    assert status(tiny) == "available"


def test_a_server_for_strangers_offers_neither(
    models: AppTest, tiny: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = path_of(tiny)
    installed.parent.mkdir()
    installed.write_bytes((tmp_path / "site" / "tiny.pth").read_bytes())
    monkeypatch.setenv("PANNSCOPE_FIXED_MODELS", "1")
    page = models.run()
    assert "**Tiny** :gray-badge[installed]" in [text.value for text in page.markdown]
    assert not [button for button in page.button if (button.key or "").startswith(("install_", "remove_"))]
    assert any("visitors can neither install nor remove" in text.value for text in page.caption)
