"""What stays where it is on the Prune page: everything below a slider that is moved, and the settings in the address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import settled

Visit = Callable[..., Any]

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
def test_a_slider_step_moves_nothing_below_it(visit: Visit, width: int) -> None:
    page = visit(width=width, path="/prune")
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


def test_settings_survive_a_reload_and_the_back_button(visit: Visit) -> None:
    address = "?network=demo-epanns&criterion=l1&layers=C12-C12&ratio=20&repair=clip&limit=params&format=panns&measure=ranks"
    page = visit(path="/prune", query=address)
    page.get_by_text("Repaired on this clip").wait_for()

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
