"""The Prune page in a real browser: the slider, criterion, repair, plans, export, and its layout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from core.examples import synthesize
from dashboard.charts.palette import PALETTES

from .conftest import ROOT, settled

Visit = Callable[..., Any]


@pytest.fixture
def open_prune(visit: Visit) -> Callable[..., Any]:
    """Opener of the Prune page, its tags drawn."""

    def open_page(query: str = "", **view: Any) -> Any:
        page = visit(path="/prune", query=query, **view)
        verdict(page)
        return page

    return open_page


def verdict(page: Any) -> str:
    """The sentence over the tags."""
    line = page.locator(
        "p", has_text=re.compile("^(Both recognise|Neither recognises|Pruned (loses|gains)) ")
    ).first
    line.wait_for()
    return line.inner_text().replace("\u00a0", " ")


def answer(page: Any) -> str:
    return page.locator("h2").first.inner_text().replace("\u00a0", " ")


def widths(page: Any) -> list[str]:
    """The labels of the architecture's picture, C1 to the embedding."""
    picture = page.locator(".js-plotly-plot", has=page.locator("text", has_text="embedding")).first
    return picture.locator(".annotation-text").all_text_contents()


def by_cli(*arguments: str) -> str:
    command = [sys.executable, "-m", "core.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def choose(page: Any, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def test_slider_criterion_and_repair_answer_and_stay_in_the_address(open_prune: Callable[..., Any]) -> None:
    page = open_prune("?example=Siren")
    assert answer(page) == "50 % of the filters of C7 to C12 removed: −72.1 % parameters, −20.5 % MACs"
    assert widths(page)[10] == "512 → 256"

    page.get_by_role("slider", name="Share of filters to remove").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.get_by_text("55 % of the filters").wait_for()
    settled(page)
    assert widths(page)[10] == "512 → 230"  # floor(512 (1 - 0.55))
    by_operator_norm = verdict(page)

    choose(page, "Criterion", "l1")
    assert verdict(page) != by_operator_norm
    unrepaired = verdict(page)

    page.get_by_role("radio", name="This clip").click()
    page.get_by_text("Repaired on this clip").wait_for()
    repaired = verdict(page)
    assert unrepaired.startswith("Pruned loses")
    assert repaired.startswith("Both recognise")
    for setting in ("ratio=55", "criterion=l1", "repair=clip", "example=siren"):
        assert setting in page.url

    again = open_prune(page.url.split("/prune")[1])
    again.get_by_text("Repaired on this clip").wait_for()
    assert verdict(again) == repaired


def test_a_plan_and_the_network_are_exported(open_prune: Callable[..., Any], tmp_path: Path) -> None:
    page = open_prune("?ratio=75&format=safetensors")
    settled(page)
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Plan as JSON").click()
    plan = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert plan["widths"][-1] == 512
    assert len(plan["kept"]["C12"]) == 128

    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_role("button", name="Download demo-cnn14-pruned").wait_for()
    assert "differs from the network by at most" in page.inner_text("body").replace("\u00a0", " ")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download demo-cnn14-pruned").click()
    model, clip = tmp_path / "small.safetensors", tmp_path / "clock.wav"
    waiting.value.save_as(model)
    soundfile.write(clip, synthesize("clock"), 32_000, subtype="PCM_16")
    document = json.loads(by_cli("tag", str(clip), "--checkpoint", str(model), "--json"))
    probabilities = {tag["name"]: tag["probability"] for tag in document["tags"]}
    page.get_by_role("tab", name="All tags").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="JSON", exact=True).last.click()
    document = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    shown = {tag["name"]: tag["probability"] for tag in document["candidate"]["tags"]}
    assert probabilities == pytest.approx(shown, abs=1e-5)


def test_a_bad_plan_is_reported_in_place_and_the_page_goes_on(open_prune: Callable[..., Any]) -> None:
    page = open_prune()
    page.get_by_role("tab", name="Find a plan").click()
    upload = page.locator("input[type=file][accept*=json]")
    upload.set_input_files([{"name": "bad.json", "mimeType": "application/json", "buffer": b"[1, 2"}])
    page.get_by_text("bad.json: This is not a pruning plan").wait_for()
    settled(page)
    assert "Traceback" not in page.inner_text("body")
    verdict(page)


def test_sensitivity_can_be_stopped_and_the_page_goes_on_meanwhile(open_prune: Callable[..., Any]) -> None:
    page = open_prune("?criterion=random")
    page.get_by_role("tab", name="Sensitivity").click()
    page.get_by_role("button", name="Measure every layer").click()
    page.get_by_text("Measuring each layer alone").wait_for()
    page.get_by_role("slider", name="Share of filters to remove").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("49 % of the filters").wait_for()
    page.get_by_role("button", name="Cancel").last.click()
    page.get_by_text("Stopped.").first.wait_for()
    assert page.get_by_role("button", name="Measure every layer").is_visible()


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (1024, "dark"), (390, "light"), (390, "dark")]
)
def test_nothing_overflows_and_the_theme_is_followed(
    open_prune: Callable[..., Any], width: int, scheme: str
) -> None:
    page = open_prune(width=width, height=844, scheme=scheme)
    settled(page)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    for text in page.locator(".js-plotly-plot text").all():
        box = text.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width), text.inner_text()
    colours = page.evaluate(
        "[...document.querySelectorAll('.barlayer .point path')].map(bar => getComputedStyle(bar).fill)"
    )
    palette = PALETTES[scheme]
    for wanted in (palette.removed, palette.pruned, palette.baseline):
        assert "rgb({}, {}, {})".format(*(int(wanted[i : i + 2], 16) for i in (1, 3, 5))) in colours
