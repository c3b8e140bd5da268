"""compare.html in a browser without a network: the tags are those of Pannscope, within the loss that the page states."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio import load_clip
from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.errors import PannscopeError
from core.examples import synthesize
from core.export import export, web
from core.export.check import check_waveforms
from core.export.web_runtime import PINNED, VERSION, runtime_files
from core.settings import cache_dir
from core.tagging import Tagger, load_tagger
from tests.core.networks import network

pytestmark = pytest.mark.browser

CLASSES = ("Speech", "Rain", "Siren", "Dog", "Music", "Clock", "Fire", "Water", "Wind")
WIDTHS = (4, 4, 4, 4, 8, 8, 8, 8, 16, 16, 32, 64)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package's files: from the cache, or by npm; skipped where neither has them."""
    cached = cache_dir() / f"onnxruntime-web-{VERSION}"
    if all((cached / name).is_file() for name in PINNED):
        return cached
    if not (npm := shutil.which("npm")):
        pytest.skip(f"onnxruntime-web {VERSION} is not in {cached}, and there is no npm to get it")
    folder = tmp_path_factory.mktemp("npm")
    words = [
        npm,
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--omit=optional",
        f"onnxruntime-web@{VERSION}",
    ]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    try:
        files = runtime_files(folder / "node_modules" / "onnxruntime-web")
    except PannscopeError:
        pytest.skip(f"npm did not install onnxruntime-web {VERSION}: {done.stderr[-200:]}")
    cached.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        shutil.copyfile(path, cached / name)
    return cached


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tagger, Tagger]:
    folder = tmp_path_factory.mktemp("networks")
    for seed, name in enumerate(("wide", "narrow")):
        model = network(WIDTHS, seed)
        save_checkpoint(folder / f"{name}.safetensors", model, classes=ClassSet.named(CLASSES), name=name)
    wide, narrow = (
        load_tagger(checkpoint=folder / f"{name}.safetensors", runtime="torch") for name in ("wide", "narrow")
    )
    return wide, narrow


@pytest.fixture(scope="module")
def site(package: Path, networks: tuple[Tagger, Tagger], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    short = check_waveforms()[1:2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.export.check.check_waveforms", lambda: short)
        export(networks[1], "bundle", folder / "a.zip", web=web(networks[1], networks[0], package))
    with zipfile.ZipFile(folder / "a.zip") as archive:
        archive.extract("compare.html", folder)
    (folder / "a.zip").unlink()
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/compare.html"
    serving.shutdown()
    serving.server_close()


def result(page: Any, title: str) -> dict[str, Any]:
    """What the page shows for a recording, once it does."""
    page.wait_for_function(
        "(title) => { const text = document.body.dataset.result; return text && JSON.parse(text).title === title"
        " || document.getElementById('state').className === 'error'; }",
        arg=title,
        timeout=60_000,
    )
    assert page.get_attribute("#state", "class") == "quiet", page.inner_text("#state")
    shown: dict[str, Any] = json.loads(page.evaluate("() => document.body.dataset.result"))
    return shown


def test_the_tags_of_a_page_whose_network_is_off(browser, address, networks, tmp_path):
    """A clip of 32 kHz, and 31 s in stereo at 44.1 kHz, which the browser resamples and the page cuts into two windows."""
    generator = np.random.default_rng(0)
    siren, noise = synthesize("siren")[:64_000], 0.1 * generator.standard_normal((31 * 44_100, 2))
    soundfile.write(tmp_path / "siren.wav", siren, 32_000, subtype="FLOAT")
    soundfile.write(tmp_path / "noise.flac", noise * [1.0, 0.3], 44_100)
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    result(page, "Example: a siren, synthesised")
    context.set_offline(True)
    facts = json.loads(
        page.inner_text("#facts") or page.evaluate("() => document.getElementById('facts').textContent")
    )
    for name, resampled in (("siren.wav", 0.0), ("noise.flac", 0.01)):
        page.set_input_files("#file", tmp_path / name)
        rows = {row["name"]: row for row in result(page, name)["rows"]}
        assert rows.keys() == set(CLASSES)
        clip = load_clip(tmp_path / name)
        for side, tagger, stated in zip(("left", "right"), networks, facts["networks"], strict=True):
            found = np.array([rows[each][side] for each in CLASSES])
            assert 1e-5 < stated["loss"] < 0.1
            assert (
                np.abs(found - tagger.tag(clip).probabilities).max() < 1.5 * stated["loss"] + 1e-4 + resampled
            )
    assert page.locator("#tags tbody tr").count() == len(CLASSES)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    (tmp_path / "text.wav").write_text("no audio")
    page.set_input_files("#file", tmp_path / "text.wav")
    page.wait_for_function("() => document.getElementById('state').className === 'error'")
    assert (
        page.inner_text("#state")
        == "text.wav is not audio that this browser reads; give WAV, FLAC, MP3 or OGG."
    )
    assert [url for url in asked if not url.startswith("blob:")] == [address]
    context.close()


def test_a_page_that_is_a_file_listens_to_the_microphone(browser, site):
    context = browser.new_context()
    page = context.new_page()
    page.goto((site / "compare.html").as_uri())
    result(page, "Example: a siren, synthesised")
    page.click("#microphone")
    assert result(page, "microphone")["seconds"] >= 1
    page.click("#microphone")
    assert page.inner_text("#state") == "The microphone is off."
    page.evaluate(
        """() => {
          const Started = AudioContext;
          window.AudioContext = class extends Started { constructor(given) { super(given); this.suspend(); } };
        }"""
    )
    page.click("#microphone")  # as where Firefox has nothing that plays sound
    page.get_by_text("No sound arrives from the browser.").wait_for()
    context.close()
