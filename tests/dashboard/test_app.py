"""The entry point: a setting that is not accepted is one line on the page, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).parents[2] / "dashboard" / "app.py"


def test_a_setting_that_is_not_accepted_is_a_line_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSCOPE_THREADS", "many")
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not page.exception
    assert [error.value for error in page.error] == [
        "PANNSCOPE_THREADS is a number of threads, 1 to 256; got 'many': change it, or unset it."
    ]
    assert not page.selectbox
