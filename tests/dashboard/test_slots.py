"""Slots by Streamlit's own test runner: a skeleton at first, the last content from then on, and nothing kept from another page."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _script() -> None:
    import streamlit as st

    from dashboard.widgets.slots import Slot
    from dashboard.widgets.visit import open_page

    open_page(st.text_input("page", "one", key="page"))
    slot = Slot("chart", 100)
    if st.checkbox("fill", key="fill"):
        slot.fill().markdown("content")


def test_a_slot_has_a_skeleton_until_it_is_filled_and_again_on_another_page() -> None:
    page = AppTest.from_function(_script).run()
    assert len(page.get("skeleton")) == 1
    page.checkbox(key="fill").check().run()
    assert not page.get("skeleton")
    assert page.markdown[0].value == "content"
    page.checkbox(key="fill").uncheck().run()
    assert not page.get("skeleton")  # the browser shows the last content meanwhile
    page.text_input(key="page").input("two").run()
    assert len(page.get("skeleton")) == 1
    assert not page.exception
