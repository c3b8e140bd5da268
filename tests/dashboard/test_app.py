"""The entry point: a setting that is not accepted is one line on the page, and nothing else happens."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


@pytest.mark.parametrize("logo", sorted(APP.parent.glob("assets/*.svg")), ids=lambda logo: logo.name)
def test_a_logo_is_drawn_from_outlines_within_its_frame(logo: Path) -> None:
    """A picture has no font of the page: letters of another one were wider, and the last was cut off."""
    picture = ElementTree.fromstring(logo.read_text(encoding="utf-8"))
    assert {element.tag.rpartition("}")[2] for element in picture} <= {"rect", "path"}
    width = float(picture.get("viewBox").split()[2])
    for path in picture.iterfind("{*}path"):
        steps = re.findall(r"([MLHVQCZ])([^MLHVQCZ]*)", path.get("d"))
        coordinates = [(step, re.findall(r"-?[\d.]+", rest)) for step, rest in steps if step != "V"]
        rightmost = max(float(x) for step, rest in coordinates for x in rest[:: 1 if step == "H" else 2])
        assert width - 6 < rightmost < width


def test_a_setting_that_is_not_accepted_is_a_line_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSCOPE_THREADS", "many")
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not page.exception
    assert [error.value for error in page.error] == [
        "PANNSCOPE_THREADS is a number of threads, 1 to 256; got 'many': change it, or unset it."
    ]
    assert not page.selectbox


def test_every_page_ends_with_the_way_to_the_others(embedded: None) -> None:
    """On a phone the bar of pages is folded away behind a button without words."""
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    assert [link.proto.label for link in page.get("page_link")] == [
        "Recognise sounds live", "Prune a network", "Look at the filters", "Weigh quality against cost", "Look through a corpus", "Choose and install a network",
    ]  # fmt: skip
    page.switch_page("filters/page.py").run()
    assert [link.proto.label for link in page.get("page_link")] == [
        "Compare two networks", "Recognise sounds live", "Prune a network", "Weigh quality against cost", "Look through a corpus", "Choose and install a network",
    ]  # fmt: skip
