"""The Filters page in a real browser: layers, clicks on its charts, and its parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from core.pruning.criteria import CRITERIA

from .conftest import answered
from .test_accessibility import tour

Visit = Callable[..., Any]


def words(page: Any) -> str:
    return page.inner_text("[data-testid=stMain]").replace("\u00a0", " ")


def heading(page: Any) -> str:
    return page.locator("h2").first.inner_text()


def click_bar(page: Any, chart: str, number: int) -> None:
    """Click the middle of one of a chart's bars, as a pointer would."""
    bar = page.locator(f".st-key-{chart} .barlayer .point").nth(number)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    with answered(page):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def picked(page: Any) -> tuple[int, int]:
    """The filter that is looked at, and its rank."""
    number = int(page.locator(".st-key-filter input").input_value())
    return number, int(re.search(r"rank ([\d,]+) of", words(page))[1].replace(",", ""))


def tile_names(page: Any, chart: str = "tiles") -> list[int]:
    names = page.locator(f".st-key-{chart} .annotation-text").all_text_contents()
    return [int(name.split()[0]) for name in names]


def choose(page: Any, name: str) -> None:
    with answered(page):
        page.get_by_role("radio", name=name, exact=True).click(force=True)


def test_layers_filters_and_parts(visit: Visit) -> None:
    page = visit(path="/filters")
    assert heading(page).startswith("C7 keeps 64 of 128 filters")
    names = tile_names(page)
    assert len(names) == 40
    first, rank = picked(page)
    assert (names.index(first), rank) == (23, 64)  # the last that stays, on the second page of forty

    click_bar(page, "tiles", 30)
    assert picked(page) == (names[30], 71)
    assert page.get_by_text("removed", exact=True).first.is_visible()
    click_bar(page, "tiles", 30)  # a second click must not lose it
    assert picked(page) == (names[30], 71)
    assert f"feature map of filter {names[30]} of C7" in words(page)

    nearest = tile_names(page, "neighbours")
    click_bar(page, "neighbours", 0)
    assert picked(page)[0] == nearest[0]
    assert nearest[0] in tile_names(page)  # the tiles have turned to its page

    click_bar(page, "ranking", 0)
    assert picked(page) == (0, 1)  # the published operator norm puts the file's first filter first

    choose(page, "C12")
    assert heading(page).startswith("C12 keeps 256 of 512 filters")
    assert picked(page) == (0, 1)
    with answered(page):
        page.locator("[data-testid=stPagination]").get_by_role("button").last.click()
    assert picked(page) == (0, 1)
    assert 0 not in tile_names(page)

    assert "filter=0" in page.url
    choose(page, "Criteria")
    shades = page.locator(".st-key-correlations .heatmap-label").all_text_contents()
    count = len(CRITERIA)
    assert len(shades) == count**2
    assert shades[:: count + 1] == ["1.00"] * count
    choose(page, "Order")
    assert "The order matters in C12" in words(page)
    assert page.locator(".st-key-order .scatterlayer .point").count() == 12
    assert "layer=C12" in page.url
    assert "part=Order" in page.url
    choose(page, "Filters")
    assert picked(page) == (0, 1)


def test_every_part_fits_and_is_accessible(visit: Visit) -> None:
    assert tour(visit(width=390, scheme="dark", path="/filters"), ("pruned", "removed", "ink")) == {}
