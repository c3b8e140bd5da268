"""axe-core on every page, with everything opened that can be: no serious or critical finding, headings in order, charts with alt texts.

axe does not read text inside a chart: tests/dashboard/test_palette.py holds those colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from dashboard.charts.palette import PALETTES

from .conftest import settled
from .test_compare import upload

Visit = Callable[..., Any]

ALSO = {"heading-order", "page-has-heading-one", "empty-heading"}
"""Of less than serious impact by axe's own scale, and yet held here."""

_UNFOLDS_MS = 250  # of a tab or popover: no run of the page


def findings(page: Any, within: str = "body") -> list[str]:
    """What axe reports of serious or critical impact, in one part of the page, once no colour fades any more."""
    page.wait_for_function("() => document.getAnimations().every(each => !(each instanceof CSSTransition))")
    violations = Axe().run(page, within).response["violations"]
    return [
        f"{violation['id']}: {node['target']}: {node['failureSummary']}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"} or violation["id"] in ALSO
        for node in violation["nodes"]
    ]


def parts(page: Any) -> Iterator[tuple[str, str]]:
    """Show what the page has folded away, one part after another: each one's name, and the selector of what it shows."""
    for tab in page.get_by_role("tab").all()[1:]:  # the first is open
        tab.click()
        page.wait_for_timeout(_UNFOLDS_MS)
        yield tab.inner_text(), "[role=tabpanel]:not([hidden])"
    for name in page.locator(".st-key-part [role=radio]").all_inner_texts()[1:]:
        page.get_by_role("radio", name=name, exact=True).click(force=True)
        settled(page)
        yield name, "[data-testid=stMain]"
    for button in page.locator("[data-testid=stPopover] button").all():
        button.click()
        page.wait_for_timeout(_UNFOLDS_MS)
        yield button.inner_text(), "[data-testid=stPopoverBody]"
        page.keyboard.press("Escape")


def look(page: Any, width: int, scheme: str) -> None:
    """Show the page at another width and in another theme, as a turned phone or an evening does."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    ink = "rgb({}, {}, {})".format(*bytes.fromhex(PALETTES[scheme].ink[1:]))
    page.wait_for_function(
        "ink => [...document.querySelectorAll('.js-plotly-plot text')].some(text => getComputedStyle(text).fill === ink)",
        arg=ink,
    )  # the server has drawn its charts for this theme
    settled(page)


@pytest.mark.parametrize("path", ["/", "/prune", "/filters"])
def test_axe_finds_nothing_on_the_page_and_in_its_parts(visit: Visit, path: str) -> None:
    page = visit(path=path)
    page.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach(line => line.click())")
    page.wait_for_timeout(_UNFOLDS_MS)
    found = {"light": findings(page)}
    look(page, 390, "light")
    found["light, 390 px"] = findings(page)
    for name, where in parts(page):
        found[f"light, 390 px, {name}"] = findings(page, where)
    look(page, 1440, "dark")
    found["dark"] = findings(page)
    for name, where in parts(page):
        found[f"dark, {name}"] = findings(page, where)
    look(page, 390, "dark")
    found["dark, 390 px"] = findings(page)
    assert {state: texts for state, texts in found.items() if texts} == {}

    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => h.tagName)")
    assert headings[:2] == ["H1", "H2"]
    assert headings.count("H1") == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stPlotlyChart]')].filter(c => !c.getAttribute('aria-label')).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize(
    ("path", "drawn"),
    [("/trade-off?cost=macs", ".scatterlayer .point"), ("/models", ".st-key-install_cnn14 button")],
)
def test_axe_finds_nothing_on_the_pages_without_a_recording(visit: Visit, path: str, drawn: str) -> None:
    page = visit(path=path, drawn=drawn)
    page.locator("details > summary").last.click()
    page.wait_for_timeout(_UNFOLDS_MS)
    found = {"light": findings(page)}
    page.set_viewport_size({"width": 390, "height": 900})
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(700)  # the watch on the theme looks twice a second
    settled(page)
    found["dark, 390 px"] = findings(page)
    assert {state: texts for state, texts in found.items() if texts} == {}
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName)")
    assert headings[:2] == ["H1", "H2"]
    assert headings.count("H1") == 1
    page.reload()
    page.wait_for_selector(drawn, state="attached")
    settled(page)
    assert page.url.endswith(path)


def test_axe_finds_nothing_where_a_recording_failed_and_a_table_is_shown(visit: Visit) -> None:
    page = visit(scheme="dark")
    upload(page, ("words.mp3", b"these are words, not sound " * 40), ("empty.wav", b""))
    page.get_by_test_id("stAlert").first.wait_for()
    assert findings(page) == []
