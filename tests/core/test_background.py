"""Background tasks: cancelled between steps, reported however they end, and ended in order with the program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from core.errors import ModelError
from core.runtime.background import BackgroundTask, TaskCancelledError

ROOT = Path(__file__).resolve().parents[2]


def test_a_task_runs_in_a_thread_of_its_name_and_reports_its_end() -> None:
    ended: list[Exception | None] = []
    names: list[str] = []
    task = BackgroundTask(
        lambda cancelled: names.append(threading.current_thread().name), "search", ended.append
    )
    assert task.start() is task
    assert task.wait(60)
    assert (names, ended, task.cancelled) == (["search"], [None], False)


def test_a_cancelled_task_sees_it_between_its_steps() -> None:
    ended: list[Exception | None] = []
    begun = threading.Event()

    def work(cancelled: threading.Event) -> None:
        begun.set()
        if cancelled.wait(60):
            raise TaskCancelledError

    task = BackgroundTask(work, "search", ended.append).start()
    assert begun.wait(60)
    assert not task.wait(0.01)
    task.cancel()
    assert task.wait(60)
    assert task.cancelled
    assert [type(error) for error in ended] == [TaskCancelledError]


@pytest.mark.parametrize(
    ("error", "logged"), [(ModelError("no such layer"), False), (ValueError("a bug"), True)]
)
def test_a_defect_is_logged_and_a_message_for_the_user_is_passed_on(error, logged, caplog) -> None:
    ended: list[Exception | None] = []

    def work(cancelled: threading.Event) -> None:
        raise error

    assert BackgroundTask(work, "the search", ended.append).start().wait(60)
    assert ended == [error]
    assert ("the search failed" in caplog.text) is logged
    assert ("a bug" in caplog.text) is logged  # its traceback


def _program(work: str) -> tuple[int, float, str]:
    """Run a program that ends while ``work`` is under way in two tasks: its exit code, seconds until then, and what it printed."""
    code = textwrap.dedent("""
        import time
        from core.runtime import background
        background.EXIT_SECONDS = 1.0
        def work(cancelled):
            {work}
        first = background.BackgroundTask(work, "first").start()
        second = background.BackgroundTask(work, "second").start()
        print("end", time.time(), flush=True)
    """).format(work=work)
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    seconds = time.time() - float(ran.stdout.split()[1])
    return ran.returncode, seconds, ran.stdout + ran.stderr


def test_a_program_that_ends_cancels_its_tasks_and_waits_for_their_step() -> None:
    code, _, printed = _program("cancelled.wait(60); time.sleep(0.2); print('step ended', flush=True)")
    assert code == 0
    assert printed.count("step ended") == 2


def test_a_task_that_does_not_stop_holds_a_program_for_the_limit_only() -> None:
    code, seconds, _ = _program("time.sleep(60)")
    assert code == 0
    assert 0.9 < seconds < 30
