"""The Prune page in a real browser: the slider, criterion, repair, a measurement, a plan; and what stays where it is: everything below a slider that
is moved, and the settings in the address."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError

from .conftest import answered, settled
from .test_accessibility import tour

Visit = Callable[..., Any]


@pytest.fixture
def open_prune(visit: Visit) -> Iterator[Visit]:
    """Opener of the Prune page; what it still measures at the end is stopped."""
    opened = []

    def open_page(query: str = "", **view: Any) -> Any:
        opened.append(visit(path="/prune", query=query, **view))
        return opened[-1]

    yield open_page
    stop(opened[-1])


def stop(page: Any) -> None:
    """Stop what the page measures, if anything: it would take seconds, beside the next test too."""
    cancel = page.get_by_role("button", name="Cancel").first
    if cancel.is_visible():
        with contextlib.suppress(TimeoutError):  # it has just ended
            cancel.click(timeout=1_000)


def answer(page: Any) -> str:
    return page.locator("h2").first.inner_text().replace("\u00a0", " ")


def widths(page: Any) -> list[str]:
    """The labels of the architecture's picture, C1 to the embedding."""
    picture = page.locator(".js-plotly-plot", has=page.locator("text", has_text="embedding")).first
    return picture.locator(".annotation-text").all_text_contents()


def tags(page: Any) -> list[str]:
    """The values of both networks, as they stand on the page."""
    return page.locator(".bartext").all_text_contents()


def choose(page: Any, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    with answered(page):
        page.get_by_role("option", name=option, exact=True).click()


# The tops and heights of all that is drawn, frame by frame: headings, texts, charts, players, buttons, tabs and skeletons. Numbers in
# texts change with the slider, so that an element's name is its key, or its text without them.
WATCH = """() => {
  const main = document.querySelector("[data-testid=stMain]");
  const kinds = ["Heading", "Markdown", "PlotlyChart", "Audio", "Tabs", "Expander", "Button", "DownloadButton", "Skeleton"];
  const seen = window.seen = {};
  const look = () => {
    if (window.seen !== seen) return;
    for (const element of main.querySelectorAll(kinds.map(kind => `[data-testid=st${kind}]`).join())) {
      const box = element.getBoundingClientRect();
      if (!box.height) continue;
      const key = (element.closest("[class*=st-key-]")?.className.match(/st-key-\\S+/) ?? [""])[0];
      const text = element.innerText.replace(/[^A-Za-z ]+/g, "#").slice(0, 12);
      const name = [element.dataset.testid, Math.round(box.left), element.querySelector("h1, h2, h3")?.tagName || key || text].join(" ");
      (seen[name] ??= new Set()).add(Math.round(box.top + main.scrollTop));
    }
    requestAnimationFrame(look);
  };
  look();
}"""
SEEN = """() => {
  const seen = window.seen;
  window.seen = null;
  return Object.fromEntries(Object.entries(seen).map(([name, tops]) => [name, [...tops]]));
}"""


@pytest.mark.parametrize("width", [1440, 390])
def test_a_slider_step_moves_nothing_below_it(open_prune: Visit, width: int) -> None:
    page = open_prune(width=width)
    page.get_by_role("button", name="Add the repaired network").wait_for()  # the curve is measured
    settled(page)
    page.evaluate(WATCH)
    page.get_by_role("slider", name="Share of filters to remove").focus()
    for key, ratio in (("ArrowRight", "51"), ("Home", "Nothing is"), ("ArrowRight", "1"), ("End", "90")):
        page.keyboard.press(key)
        page.get_by_role("heading", name=f"{ratio} ").wait_for()
        settled(page)
    seen = page.evaluate(SEEN)
    assert len(seen) > 20
    assert {name: tops for name, tops in seen.items() if max(tops) - min(tops) > 1} == {}


def test_settings_answer_while_the_curve_is_measured(open_prune: Visit) -> None:
    page = open_prune()
    assert answer(page) == "50 % of the filters of C7 to C12 removed: −68.5 % parameters, −20.5 % MACs"
    assert widths(page)[10] == "512 → 256"
    by_operator_norm = tags(page)
    choose(page, "Criterion", "l1")  # of which there is no curve yet
    for _ in range(100):
        if tags(page) != by_operator_norm:
            break
        page.wait_for_timeout(100)
    else:
        pytest.fail("the tags of another criterion did not come")
    page.get_by_role("slider", name="Share of filters to remove").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.get_by_text("55 % of the filters").wait_for()
    settled(page)
    assert widths(page)[10] == "512 → 230"  # floor(512 (1 - 0.55))
    for setting in ("ratio=55", "criterion=l1"):
        assert setting in page.url
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Plan as JSON").click()
    plan = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert (plan["criterion"], plan["widths"][-1], len(plan["kept"]["C12"])) == ("l1", 512, 230)


def test_settings_survive_a_reload_and_the_back_button(open_prune: Visit) -> None:
    address = (
        "?network=demo-epanns&criterion=l1&layers=C12-C12&ratio=20&limit=params&format=panns&measure=ranks"
    )
    page = open_prune(address)
    stop(page)
    page.get_by_role("radio", name="This clip").click()
    page.get_by_text("Repaired on this clip").wait_for()
    stop(page)
    address += "&repair=clip"

    def unchanged() -> None:
        page.get_by_text("Repaired on this clip").wait_for()
        settled(page)
        for setting in address.removeprefix("?").split("&"):
            assert setting in page.url
        assert page.get_by_role("radio", name="This clip").get_attribute("aria-checked") == "true"
        assert page.get_by_role("radio", name="Ranks").get_attribute("aria-checked") == "true"

    unchanged()
    page.reload()
    unchanged()
    page.get_by_role(
        "link", name="C12", exact=True
    ).click()  # of the picture's layers: ranked and cut as here
    page.get_by_role("heading", name="C12 keeps 204 of 256 filters").wait_for()  # floor(0.8 * 256)
    settled(page)
    for setting in ("network=demo-epanns", "layer=C12", "ranked_by=l1", "cut=20"):
        assert setting in page.url
    page.go_back()
    unchanged()


def test_every_part_fits_and_is_accessible(open_prune: Visit) -> None:
    assert tour(open_prune(width=390, scheme="dark"), ("removed", "pruned", "baseline")) == {}
