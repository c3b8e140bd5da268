"""One inference at a time, in the order of asking."""

from __future__ import annotations

import threading
import time

import pytest

from dashboard.server.inference_queue import Gate


def test_turns_come_in_the_order_of_asking_and_never_two_at_once() -> None:
    gate, order, inside, most = Gate(), [], 0, 0
    held, let_go = threading.Event(), threading.Event()

    def work(name: int) -> None:
        nonlocal inside, most
        with gate.turn():
            inside += 1
            most = max(most, inside)
            order.append(name)
            if name == 0:
                held.set()
                let_go.wait(5)
            inside -= 1

    threads = []
    for name in range(4):
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
        if name == 0:
            assert held.wait(5)
        else:
            while gate.waiting < name + 1:
                time.sleep(0.005)
    let_go.set()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3]
    assert most == 1
    assert gate.waiting == 0


def test_those_who_wait_hear_how_many_are_before_them() -> None:
    gate, told, held, let_go = Gate(), [], threading.Event(), threading.Event()

    def hold() -> None:
        with gate.turn():
            held.set()
            let_go.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)

    def tell(before: int) -> None:
        told.append(before)
        let_go.set()

    with gate.turn(tell):
        pass
    holder.join(5)
    assert told[0] == 1


def test_a_place_is_given_up_when_telling_fails() -> None:
    gate, held, let_go = Gate(), threading.Event(), threading.Event()

    def hold() -> None:
        with gate.turn():
            held.set()
            let_go.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)

    def closed(before: int) -> None:
        raise ConnectionError("the page was closed")

    with pytest.raises(ConnectionError), gate.turn(closed):
        pass
    assert gate.waiting == 1
    let_go.set()
    holder.join(5)
    assert gate.waiting == 0
