"""Work in the background: shared, one slot a step, stopped on request, and never more than one line of error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.errors import PruningError
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.jobs import MAX_ACTIVE, Jobs, Step


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_job_is_done_once_and_its_result_kept() -> None:
    jobs, runs = Jobs(InferenceQueue(), 2**20), []

    def work(step: Step) -> int:
        runs.append(1)
        step(1, 2, "Counting")
        return 42

    jobs.start("sum", work)
    wait_until(lambda: jobs.result("sum") == 42)
    jobs.start("sum", work)
    assert len(runs) == 1
    wait_until(lambda: jobs.status("sum") is None)


def test_a_job_lets_other_requests_run_between_two_steps() -> None:
    queue, order = InferenceQueue(), []
    jobs = Jobs(queue, 2**20)
    begun, waiting = threading.Event(), threading.Event()

    def work(step: Step) -> bool:
        begun.set()
        assert waiting.wait(5)
        step(1, 2)
        order.append("second step")
        return True

    jobs.start("long", work)
    assert begun.wait(5)

    def visitor() -> None:
        with queue.slot():
            order.append("visitor")

    thread = threading.Thread(target=visitor)
    thread.start()
    wait_until(lambda: queue.length == 2)
    waiting.set()
    thread.join(5)
    wait_until(lambda: jobs.result("long") is not None)
    assert order == ["visitor", "second step"]


def test_a_job_that_waits_for_its_slot_can_be_stopped_and_begun_again() -> None:
    queue = InferenceQueue()
    jobs = Jobs(queue, 2**20)
    with queue.slot():
        jobs.start("late", lambda step: True)
        wait_until(lambda: queue.length == 2)
        jobs.cancel("late")
        wait_until(lambda: not jobs.status("late").active)
    assert jobs.status("late").message == "Stopped."
    assert jobs.result("late") is None
    jobs.start("late", lambda step: True)
    wait_until(lambda: jobs.result("late") is True)
    assert queue.length == 0


def test_a_job_under_way_says_how_long_it_still_takes() -> None:
    jobs, reported, over = Jobs(InferenceQueue(), 2**20), threading.Event(), threading.Event()

    def work(step: Step) -> bool:
        step(0, 100)
        time.sleep(1.1)
        step(10, 100)
        reported.set()
        return over.wait(5)

    jobs.start("long", work)
    assert jobs.status("long").left_s is None
    assert reported.wait(5)
    assert 8 < jobs.status("long").left_s < 11  # 90 steps of 0.11 s, on a busy machine
    over.set()
    wait_until(lambda: jobs.status("long") is None)


def test_what_goes_wrong_is_one_line() -> None:
    jobs = Jobs(InferenceQueue(), 2**20)

    def known(step: Step) -> None:
        raise PruningError("No clips; give at least one.")

    def unknown(step: Step) -> None:
        raise ZeroDivisionError("secret")

    for key, work in (("known", known), ("unknown", unknown)):
        jobs.start(key, work)
        wait_until(lambda key=key: not jobs.status(key).active)
    assert jobs.status("known").message == "No clips; give at least one."
    assert jobs.status("unknown").message == "The measurement failed; see the server's log."
    jobs.forget("known")
    assert jobs.status("known") is None


def test_too_many_jobs_are_refused_in_words() -> None:
    queue = InferenceQueue()
    jobs = Jobs(queue, 2**20)
    with queue.slot():
        for number in range(MAX_ACTIVE + 1):
            jobs.start(number, lambda step: True)
        assert "busy" in jobs.status(MAX_ACTIVE).message
    wait_until(lambda: all(jobs.result(number) for number in range(MAX_ACTIVE)))
    jobs.start(MAX_ACTIVE, lambda step: True)
    wait_until(lambda: jobs.result(MAX_ACTIVE) is True)
