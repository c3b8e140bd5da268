"""The timeline of the Compare page in a real browser: it moves the page's player, and the player moves it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

from .conftest import settled
from .test_accessibility import findings

TIME = "() => document.querySelector('audio').currentTime"
PAUSED = "() => document.querySelector('audio').paused"


def test_the_timeline_and_the_player(visit: Callable[..., Any]) -> None:
    page = visit()
    button = page.get_by_role("button", name="Show tags over time")
    button.click()
    canvas = page.locator("canvas[role=slider]")
    canvas.wait_for()
    page.get_by_role("button", name="Audacity labels, Demo CNN14").wait_for()
    settled(page)
    duration = page.evaluate("() => document.querySelector('audio').duration")
    assert canvas.get_attribute("aria-valuemax") == f"{duration:g}"
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def place(share: float) -> tuple[float, float]:
        return box["x"] + 8 + share * (box["width"] - 16), box["y"] + 90

    for share in (0.25, 0.8):
        page.mouse.click(*place(share))
        page.wait_for_function("() => !document.querySelector('audio').seeking")
        assert abs(page.evaluate(TIME) - share * duration) < 0.1
        assert canvas.get_attribute("aria-valuenow") == f"{page.evaluate(TIME):.2f}"

    page.mouse.move(*place(0.5))  # a stretch of a twentieth of the clip is played and ends
    page.mouse.down()
    page.mouse.move(*place(0.55), steps=3)
    page.mouse.up()
    page.wait_for_function(f"() => ({PAUSED})() && ({TIME})() > {0.54 * duration}")
    assert abs(page.evaluate(TIME) - 0.55 * duration) < 0.35

    page.locator("tr[role=button]").first.click()  # an event is played from its onset
    page.wait_for_function(f"() => !({PAUSED})()")
    assert page.locator("tr.now").count() > 0
    canvas.focus()
    canvas.press(" ")
    page.wait_for_function(PAUSED)
    canvas.press("Home")
    assert page.evaluate(TIME) == 0
    canvas.press("ArrowRight")
    assert abs(page.evaluate(TIME) - duration / 50) < 0.01
    canvas.press("+")  # half of the clip: a step is half as long
    canvas.press("Home")
    canvas.press("ArrowRight")
    assert abs(page.evaluate(TIME) - duration / 100) < 0.05
    assert findings(page, "[data-testid=stMain]") == []


def test_a_player_that_was_cancelled_can_be_made_after_all(visit: Callable[..., Any]) -> None:
    """Of a recording of more than ten minutes, whose player takes seconds to make."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 605 * 4_000)
    soundfile.write(file, noise, 4_000, format="FLAC")
    page = visit()
    files = [{"name": "long.flac", "mimeType": "audio/flac", "buffer": file.getvalue()}]
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_text("Drawing it, and encoding it for the player").wait_for()
    page.locator(".st-key-cancel_drawing button").click()
    page.get_by_role("button", name="Make the player").wait_for()
    page.locator(".st-key-cancel_over_time button").click()  # whose end would let the whole page run
    page.get_by_role("button", name="Show tags over time").wait_for()
    settled(page)
    page.get_by_role("button", name="Make the player").click()
    page.locator("audio").wait_for(state="attached")
    page.get_by_role("button", name="Remove long.flac").click()
