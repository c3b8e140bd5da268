"""Opening a recording waits in the queue like inference, and a page that is closed meanwhile gives it up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dashboard.server.clips import Clips
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.source import Source


def test_a_recording_is_opened_in_its_turn(wav: Callable[..., bytes]) -> None:
    queue = InferenceQueue()
    clips = Clips(queue, MemoryPressure())
    source = Source.of_bytes("a.wav", wav(1.0))
    held, release = threading.Event(), threading.Event()
    ahead: list[int] = []

    def hold() -> None:
        with queue.slot():
            held.set()
            release.wait(20)

    threading.Thread(target=hold).start()
    assert held.wait(5)
    shares: list[float] = []
    opened = clips.clip(source, lambda number: (ahead.append(number), release.set()), shares.append)
    assert ahead[0] == 1
    assert shares[-1] == pytest.approx(1.0, abs=0.05)
    assert clips.clip(source) is opened
    assert queue.length == 0


def test_giving_up_leaves_the_queue(wav: Callable[..., bytes]) -> None:
    queue = InferenceQueue()
    clips = Clips(queue, MemoryPressure())

    def give_up(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clips.clip(Source.of_bytes("a.wav", wav(1.0)), on_progress=give_up)
    assert queue.length == 0


def test_another_channel_is_another_result_and_the_same_address() -> None:
    source = Source.of_bytes("a.wav", b"x")
    second = source.with_channel(2)
    assert second.key != source.key
    assert second.with_channel("mean").key == source.key
    assert (second.address_key, second.data) == (source.address_key, source.data)
