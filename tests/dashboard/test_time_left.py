"""The estimate of a task's time left: by hand, with a clock of its own."""

from __future__ import annotations

import pytest

from dashboard.server.time_left import TimeLeft


class Task:
    """A task whose progress is reported at times that the test says."""

    def __init__(self, total: float) -> None:
        self.total, self.now = total, 0.0
        self.estimate = TimeLeft(clock=lambda: self.now)
        self.estimate.update(0, total)

    def at(self, now: float, done: float | None = None) -> float | None:
        self.now = now
        if done is not None:
            self.estimate.update(done, self.total)
        return self.estimate.seconds()


def test_a_steady_task_ends_when_its_pace_says() -> None:
    task = Task(30)
    for second in range(1, 31):
        assert task.at(second, second) == pytest.approx(30 - second)


def test_nothing_is_said_before_the_pace_is_known() -> None:
    task = Task(100)
    assert task.at(4.0) is None
    assert TimeLeft().seconds() is None
    fast = Task(100)
    assert fast.at(0.5, 1) is None
    assert fast.at(0.99, 2) is None
    assert fast.at(1.0, 2.1) == pytest.approx(97.9 / 2.1, rel=0.02)


def test_a_task_of_less_than_five_seconds_needs_no_estimate() -> None:
    for length, shown in ((4.99, False), (5.0, True)):
        task = Task(length)
        assert (task.at(2.0, 2.0) is not None) is shown


def test_between_two_reports_the_time_runs_down_to_the_next_and_waits_there() -> None:
    task = Task(50)
    assert task.at(10, 10) == pytest.approx(40)
    assert task.at(16) == pytest.approx(34)
    assert task.at(20) == pytest.approx(30)
    late = [
        task.at(now) for now in (21, 25, 30)
    ]  # the step of 10 s is overdue: the pace is slower than it was
    assert late == sorted(late)
    assert late[0] > 30


def test_a_new_pace_is_believed_within_a_minute_and_one_odd_step_is_not() -> None:
    task = Task(1000)
    for second in range(1, 101):
        task.at(second, second)
    odd = task.at(101, 104)  # four units in one second
    assert odd == pytest.approx(896, rel=0.16)
    for second in range(102, 162):
        left = task.at(second, 104 + (second - 101) / 4)  # four seconds a unit
    assert left == pytest.approx(4 * (1000 - 119), rel=0.16)


def test_what_an_earlier_task_left_is_not_taken_for_pace() -> None:
    task = Task(10)
    assert task.at(0.1, 5) is None  # five points of ten were there
    assert task.at(10.1, 6) == pytest.approx(40)
    resumed = TimeLeft(clock=lambda: 0.0)
    resumed.update(300, 400)
    assert resumed.seconds() is None


def test_the_end_is_zero_and_never_less() -> None:
    task = Task(10)
    task.at(10, 10)
    assert task.at(12) == 0
