"""The Live page in a real browser, whose microphone plays an example: the right tag, the delay, the history, and pause."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio import SAMPLE_RATE
from core.examples import EXAMPLES, example_clip

from .conftest import chromium_path, playwright
from .test_accessibility import findings

RAIN = next(example for example in EXAMPLES if example.key == "rain")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless chromium, whose microphone plays rain."""
    path = chromium_path()
    if path is None:
        pytest.skip("no chromium on this machine: install it, or name it in PANNSCOPE_CHROMIUM")
    file = tmp_path_factory.mktemp("microphone") / "rain.wav"
    samples = np.concatenate(list(example_clip(RAIN.key).blocks()))
    soundfile.write(file, samples, SAMPLE_RATE, subtype="PCM_16")
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=path, args=[*flags, f"--use-file-for-fake-audio-capture={file}"]
        )
        yield launched
        launched.close()


def test_an_audio_context_that_does_not_start_is_said(visit: Callable[..., Any]) -> None:
    """As Firefox's does not on a machine without a device that plays sound; what is left is closed, and Start can be pressed again."""
    page = visit(path="/live", drawn=".live button")
    page.evaluate("() => { AudioContext.prototype.resume = () => new Promise(() => {}) }")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("The browser does not start its audio.").wait_for()
    assert page.get_by_role("button", name="Start", exact=True).is_enabled()


def test_the_microphone_is_recognised_until_it_is_paused(visit: Callable[..., Any], tmp_path: Path) -> None:
    # The networks of a demonstration may be little sure of 527 classes: a tag is in the history from 0.1 on.
    page = visit(path="/live", query="?live_threshold=0.1", drawn=".live button")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".row:not(.below) .name", has_text="Rain").first.wait_for()
    page.locator("tr.now .name", has_text="Rain").first.wait_for()
    assert set(page.locator(".row .name").all_inner_texts()) & set(RAIN.tags)
    figures = page.locator(".figures", has_text="times a second").inner_text()
    rate, delay_s = map(
        float,
        re.match(r"([\d.]+) times a second · delay ([\d.]+) s · \d+ ms for both networks", figures).groups(),
    )
    assert 0.1 < rate <= 5
    assert 0.05 < delay_s < 5  # half a piece at least, on whatever machine
    assert findings(page, "[data-testid=stMain]") == []

    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_text("Paused: the microphone is off.").wait_for()
    sent = len(posts)
    with page.expect_download() as download:
        page.get_by_role("button", name="History as CSV").click()
    download.value.save_as(tmp_path / "history.csv")
    rows = list(csv.DictReader((tmp_path / "history.csv").open(encoding="utf-8")))
    assert {row["label"] for row in rows} & set(RAIN.tags)
    page.wait_for_timeout(400)
    assert sent > 2
    assert len(posts) == sent
