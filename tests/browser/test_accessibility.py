"""What holds on every page, with everything opened that can be, at three widths and in both themes: axe-core has no serious or critical
finding, headings are in order, charts have alt texts and the theme's colours, and nothing is wider than the screen.

Each page's own file takes its ``tour``; the pages without a recording are here. axe does not read text inside a chart:
tests/dashboard/test_palette.py holds those colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from dashboard.charts.palette import PALETTES

from .conftest import answered, settled

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


def overflowing(page: Any) -> list[str]:
    """What does not fit the screen's width: the page, or texts of its charts."""
    return page.evaluate("""() => {
      const main = document.querySelector("[data-testid=stMain]");
      const wide = [document.documentElement, main].filter(part => part.scrollWidth > innerWidth).map(part => `${part.tagName}: ${part.scrollWidth}`);
      const outside = [...document.querySelectorAll(".js-plotly-plot text")].filter(text => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < 0 || box.right > innerWidth);
      });
      return [...wide, ...outside.map(text => text.textContent)];
    }""")


def parts(page: Any) -> Iterator[tuple[str, str]]:
    """Show what the page has folded away, one part after another: each one's name, and the selector of what it shows. The first is shown last."""
    tabs = page.get_by_role("tab").all()
    for tab in tabs[1:]:
        tab.click()
        page.wait_for_timeout(_UNFOLDS_MS)
        yield tab.inner_text(), "[role=tabpanel]:not([hidden])"
    for tab in tabs[:1]:
        tab.click()
    names = page.locator(".st-key-part [role=radio]").all_inner_texts()
    for name in names[1:]:
        with answered(page):
            page.get_by_role("radio", name=name, exact=True).click(force=True)
        yield name, "[data-testid=stMain]"
    for name in names[:1]:
        with answered(page):
            page.get_by_role("radio", name=name, exact=True).click(force=True)
    for button in page.locator("[data-testid=stPopover] button").all():
        button.click()
        page.wait_for_timeout(_UNFOLDS_MS)
        yield button.inner_text(), "[data-testid=stPopoverBody]"
        page.keyboard.press("Escape")


def bar_colours(page: Any) -> set[str]:
    """The fills and outlines of all bars."""
    return set(
        page.evaluate(
            "[...document.querySelectorAll('.barlayer .point path')].map(bar => getComputedStyle(bar)).flatMap(style => [style.fill, style.stroke])"
        )
    )


def rgb(colour: str) -> str:
    """``#RRGGBB`` as a browser says it."""
    return "rgb({}, {}, {})".format(*bytes.fromhex(colour[1:]))


def look(page: Any, width: int, scheme: str) -> None:
    """Show the page at another width and in another theme, as a turned phone or an evening does."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        "ink => [...document.querySelectorAll('.js-plotly-plot text')].some(text => getComputedStyle(text).fill === ink)",
        arg=rgb(PALETTES[scheme].ink),
    )  # the server has drawn its charts for this theme
    settled(page)


def tour(page: Any, told_apart: tuple[str, ...]) -> dict[str, list[str]]:
    """Go through a page that was opened at 390 px in the dark, then wide and light, then between and dark again: what is wrong in each state.

    Everything is looked at on a phone and on a wide screen, the dark theme on one and the light one on the other; in between, whether it fits.

    Parameters
    ----------
    told_apart : the palette's colours that the bars have.
    """
    page.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach(line => line.click())")
    page.wait_for_timeout(_UNFOLDS_MS)
    wrong = {}
    for width, scheme in ((390, "dark"), (1440, "light"), (1024, "dark")):
        if width != 390:
            look(page, width, scheme)
        state = f"{scheme}, {width} px"
        colours = {rgb(getattr(PALETTES[scheme], name)) for name in told_apart}
        wrong[state] = overflowing(page) + sorted(colours - bar_colours(page))
        if width != 1024:
            wrong[state] += findings(page)
            for name, where in parts(page):
                wrong[f"{state}, {name}"] = overflowing(page) + findings(page, where)
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(h => h.tagName)")
    wrong["headings"] = [] if headings[:2] == ["H1", "H2"] and headings.count("H1") == 1 else headings
    wrong["charts without a text"] = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stPlotlyChart]')].filter(c => !c.getAttribute('aria-label')).map(c => c.className)"
    )
    return {state: texts for state, texts in wrong.items() if texts}


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
