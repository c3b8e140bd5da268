"""Healing on the Prune page: what is learned from and what is held out, one at a time, ended early, and shown once it is there."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.training.healing import Healed
from core.training.loop import Progress
from dashboard.prune.pins import Pin
from dashboard.server import healing
from dashboard.server.healing import HealSettings, split
from dashboard.server.server import get_server
from dashboard.server.source import Source
from tests.dashboard.test_prune_page import open_page, settled, shown

POINTS = ((0, 0.0, 0.5, 0.25), (10, 6.0, 0.75, 0.125))
"""Steps, seconds, kept tags and difference of a healing that ``learned`` pretends to do."""


def words(page: AppTest) -> str:
    return shown(page).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Healing takes no time: its two points are reported, and between them it waits for the event."""
    event = threading.Event()

    def learned(model, pruned, recordings, *, on_progress: Callable[[Progress], None], **_) -> Healed:
        steps = 0
        try:
            for step, seconds, kept, difference in POINTS:
                on_progress(Progress(step, 10, 0.0, seconds, {"kept": kept, "difference": difference}))
                steps = step
                while step == 0 and not event.wait(0.05):
                    on_progress(Progress(5, 10, 0.0, 3.0, {}))
                    steps = 5
        except healing.TaskCancelledError:
            pass
        healed = copy.deepcopy(pruned)
        with torch.no_grad():
            healed.fc_audioset.bias.add_(steps)
        return Healed(healed, {"steps": steps, "recordings": len(recordings)})

    monkeypatch.setattr(healing, "heal", learned)
    yield event
    event.set()
    end = time.monotonic() + 30
    while get_server().healing._jobs.full and time.monotonic() < end:
        time.sleep(0.05)


def test_what_is_held_out_is_never_learned_from() -> None:
    own = [Source.of_bytes(f"{number}.wav", bytes([number])) for number in range(12)]
    for count, clips, wanted in (
        (12, "own", (10, 2)), (12, "both", (22, 2)), (3, "own", (2, 1)), (2, "own", (2, 0)),
        (2, "both", (12, 2)), (0, "examples", (10, 2)), (12, "examples", (10, 2)),
    ):  # fmt: skip
        learned, held = split(own[:count], clips)
        assert (len(learned), len(held)) == wanted
        assert not {source.key for source in learned} & {source.key for source in held}
        again = split(own[:count][::-1], clips)[1]  # whatever the order of the recordings
        assert [source.key for source in again] == [source.key for source in held]
        if count >= 3 and clips != "examples":
            assert all(source.example is None for source in held)


def test_settings_in_an_address() -> None:
    assert HealSettings.read(HealSettings(30, "both", False).text) == HealSettings(30, "both", False)
    assert HealSettings.read("2.own.repaired") is None
    pin = Pin("demo-cnn14", "l1", "C7=0.5", 1, "off", "5.examples.repaired")
    assert Pin.read(str(pin)) == pin
    assert Pin.read("demo-cnn14~l1~C7=0.5~1~off") == Pin("demo-cnn14", "l1", "C7=0.5", 1, "off")
    assert Pin.read("demo-cnn14~l1~C7=0.5~1~off~6.own.repaired") is None


def test_a_healed_network_is_shown_once_it_is_there(embedded: None, released: threading.Event) -> None:
    page = open_page(heal="1", heal_repaired="false")
    assert not page.exception
    assert "Learns from 10 clips. Agreement is measured on 2 of the examples, which it does not" in words(
        page
    )
    healer = get_server().healing
    page.button(key="start_heal").click().run()
    (key,) = healer._jobs._tasks
    settled(page, lambda: len(healer.points(key)) == 1)
    assert page.button(key="cancel_heal").label == "Stop here"
    # A second one is refused, in a line.
    page.segmented_control(key="heal").set_value("5").run()
    page.button(key="start_heal").click().run()
    assert "which does one at a time" in words(page)
    page.segmented_control(key="heal").set_value("1").run()
    released.set()
    settled(page, lambda: healer.result(key) is not None)
    assert not page.exception
    text = words(page)
    assert "Healed for 6 s (stopped), 10 steps." in text
    assert "kept tags from 50 % to 75 %" in text
    assert "difference of a probability from 0.250 to 0.125" in text
    assert "Here it is healed for 6 s on 10 clips, without labels." in text
    # A bias 10 higher in every output: all tags are gained.
    assert "gains" in text
    assert page.query_params["heal"] == "1"
    page.button(key="pin_cut").click().run()
    assert page.session_state["pinned"].heal == "1.examples.pruned"
    page.segmented_control(key="heal").set_value("0").run()
    assert "Healed for" not in words(page)


def test_what_was_reached_is_kept_when_it_is_stopped(embedded: None, released: threading.Event) -> None:
    page = open_page(heal="5", heal_repaired="false", ratio="60")
    healer = get_server().healing
    page.button(key="start_heal").click().run()
    (key,) = healer._jobs._tasks
    settled(page, lambda: healer.status(key).done == 3)
    page.button(key="cancel_heal").click().run()
    settled(page, lambda: healer.result(key) is not None)
    assert "(stopped), 5 steps" in words(page)
