"""One inference at a time, in the order of asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dashboard.server.inference_queue import InferenceQueue


def test_slots_are_given_in_the_order_of_asking_and_never_two_at_once() -> None:
    queue, order, inside, most = InferenceQueue(), [], 0, 0
    held, release = threading.Event(), threading.Event()

    def work(name: int) -> None:
        nonlocal inside, most
        with queue.slot():
            inside += 1
            most = max(most, inside)
            order.append(name)
            if name == 0:
                held.set()
                release.wait(5)
            inside -= 1

    threads = []
    for name in range(4):
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
        if name == 0:
            assert held.wait(5)
        else:
            while queue.length < name + 1:
                time.sleep(0.005)
    release.set()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3]
    assert most == 1
    assert queue.length == 0


@contextmanager
def occupied(queue: InferenceQueue) -> Iterator[threading.Event]:
    """Another thread holds the slot until the event is set."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with queue.slot():
            held.set()
            release.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)
    yield release
    release.set()
    holder.join(5)


def test_on_wait_is_called_with_the_number_of_requests_ahead() -> None:
    queue, seen = InferenceQueue(), []
    with occupied(queue) as release:

        def on_wait(ahead: int) -> None:
            seen.append(ahead)
            release.set()

        with queue.slot(on_wait):
            pass
    assert seen[0] == 1


def test_a_request_leaves_the_queue_when_on_wait_raises() -> None:
    queue = InferenceQueue()

    def closed(_ahead: int) -> None:
        raise ConnectionError("the page was closed")

    with occupied(queue):
        with pytest.raises(ConnectionError), queue.slot(closed):
            pass
        assert queue.length == 1
    assert queue.length == 0
