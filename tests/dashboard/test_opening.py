"""Opening a recording waits in the queue like inference, and a page that is closed meanwhile gives it up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from core.audio import POOL, open_clip
from core.tagging import EMBEDDED_PAIR
from dashboard.server.clips import Clips
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.server import Server
from dashboard.server.source import Source
from tests.core.recordings import muxed


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
    done: list[tuple[float, str]] = []
    opened = clips.clip(
        source, lambda number: (ahead.append(number), release.set()), lambda *share: done.append(share)
    )
    assert ahead[0] == 1
    assert done[-1] == (pytest.approx(1.0, abs=0.05), "Decoding")
    assert clips.clip(source) is opened
    assert queue.length == 0


@pytest.mark.parametrize("doing", ["Decoding", "Drawing", "Tagging"])
def test_giving_up_a_long_recording_frees_the_queue_and_the_decoder(
    doing: str, wav: Callable[..., bytes], embedded: None
) -> None:
    """62 s are decoded in two passes, and once for each network; no length is declared, as an MP3's without its first frame."""
    data = muxed(np.zeros((62 * 16_000, 1)), 16_000, "mp3", "libmp3lame", options={"write_xing": "0"})
    server, source = Server(), Source.of_bytes("a.mp3", data)
    at: list[tuple[float, str]] = []

    def give_up(share: float, now: str) -> None:
        at.append((share, now))
        if now == doing and share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.comparison(source, EMBEDDED_PAIR, top_k=5, threshold=0.5, on_share=give_up)
    assert at[-1][1] == doing
    assert 0 < at[-1][0] < 1
    assert server.queue.length == 0
    began = time.monotonic()
    while POOL._busy:
        assert time.monotonic() - began < 1
        time.sleep(0.01)
    assert server.clip(source).clip.duration_s == pytest.approx(62.0, abs=0.2)


def test_a_decoder_that_only_searches_can_be_given_up() -> None:
    """A megabyte without a frame, of which no block comes."""
    pieces = []

    def give_up(share: float) -> None:
        pieces.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_clip(b"fLaC" + bytes(1 << 20), name="a.flac", on_progress=give_up)
    assert pieces == [0.0]


def test_another_channel_is_another_result_and_the_same_address() -> None:
    source = Source.of_bytes("a.wav", b"x")
    second = source.with_channel(2)
    assert second.key != source.key
    assert second.with_channel("mean").key == source.key
    assert (second.address_key, second.data) == (source.address_key, source.data)
