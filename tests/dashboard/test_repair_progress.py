"""The Prune page while a network waits and is repaired: one row that is drawn once, whatever happens in which order."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.widgets import opening


@pytest.fixture(autouse=True)
def without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    for delay in ("_SHOWN_AFTER_S", "_EVERY_S"):
        monkeypatch.setattr(opening, delay, 0.0)


def waits_between_steps() -> None:
    import streamlit as st

    from dashboard.prune.tags import Progress
    from dashboard.server.source import Source

    class Cut:
        source, repair = Source.of_bytes("a.wav", b"x"), "clip"

    progress = Progress(st.empty(), Cut())
    progress.on_wait(3)
    progress.on_repair(10, 100)
    progress.on_wait(2)
    if st.session_state["goes_on"]:
        progress.on_repair(50, 100)


def test_waiting_during_a_repair_keeps_the_way_to_cancel() -> None:
    app = AppTest.from_function(waits_between_steps)
    app.session_state["goes_on"] = False
    app.run()
    assert not app.exception
    assert [caption.value for caption in app.caption] == ["Waiting: 2\N{NO-BREAK SPACE}requests ahead of you"]
    assert [button.label for button in app.button] == ["Cancel"]


def test_a_repair_goes_on_after_waiting() -> None:
    app = AppTest.from_function(waits_between_steps)
    app.session_state["goes_on"] = True
    app.run()
    assert not app.exception
    assert not app.caption
    assert [button.label for button in app.button] == ["Cancel"]
    assert [element.value for element in app.get("progress")] == [50]
