"""Long work in the background: measurements of minutes that go on while a visitor moves other knobs.

A job is known by what it computes, so that two visitors who ask for the same thing share it. It computes only in its turn
at the gate, and lets others go first after every step: a tag never waits for more than one step of somebody's job.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.errors import PannscopeError
from dashboard.server.cache import Shelf
from dashboard.server.inference_queue import Gate

log = logging.getLogger(__name__)

MOST = 6
"""Jobs that may be under way at once, for all visitors together."""

_MESSAGES_KEPT = 32
_LAST_STEP_S = 5.0  # that a job may take for its present step once the program wants to end
_SMALL = 16_384  # bytes that a result without a weight of its own is taken for


class Step(Protocol):
    """Told after every step: how many are done, of how many, and what is being done."""

    def __call__(self, done: int, total: int, doing: str = "") -> None: ...


class CancelledError(Exception):
    """The work was told to stop; raised from ``Step`` inside of it."""


@dataclass(frozen=True)
class Standing:
    """Where a job stands.

    Attributes
    ----------
    done, total : steps; ``total`` is 0 until the first is known.
    doing : what the steps are, where there are several kinds.
    before : how many are before it at the gate.
    active : whether it is at work.
    message : why it ended without a result, in one line.
    """

    done: int = 0
    total: int = 0
    doing: str = ""
    before: int = 0
    active: bool = True
    message: str | None = None

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def _end(cancels: dict[Hashable, threading.Event], threads: dict[Hashable, threading.Thread]) -> None:
    """When the program ends: Python stops threads inside of torch's code in a way that ends the process with an abort."""
    for cancelled in list(cancels.values()):
        cancelled.set()
    for thread in list(threads.values()):
        thread.join(_LAST_STEP_S)


class Jobs:
    """Runs jobs, each in a thread of its own and all by turns; results are kept on a shelf."""

    def __init__(self, gate: Gate, budget_bytes: int) -> None:
        self._gate = gate
        self._lock = threading.Lock()
        self._standings: dict[Hashable, Standing] = {}
        self._cancels: dict[Hashable, threading.Event] = {}
        self._threads: dict[Hashable, threading.Thread] = {}
        weakref.finalize(self, _end, self._cancels, self._threads)
        self._results: Shelf[Any] = Shelf(budget_bytes, lambda found: getattr(found, "weight", _SMALL))

    def keep(self, key: Hashable, result: Any) -> None:
        """Store what a job found on its way to something else."""
        self._results.put(key, result)

    def result(self, key: Hashable) -> Any | None:
        """What the job found, or None where it has not ended or its result has been let go of."""
        return self._results.get(key)

    def standing(self, key: Hashable) -> Standing | None:
        """Where the job stands, or None where nobody asked for it."""
        with self._lock:
            return self._standings.get(key)

    def start(self, key: Hashable, work: Callable[[Step], Any]) -> None:
        """Begin, unless it is under way or done. ``work`` is given the function to call after every step."""
        with self._lock:
            at_work = sum(standing.active for standing in self._standings.values())
            known = self._standings.get(key)
            if (known is not None and known.active) or self._results.get(key) is not None:
                return
            if at_work >= MOST:
                self._standings[key] = Standing(
                    active=False,
                    message="This server is busy with others' measurements. Try again in a minute.",
                )
                return
            ended = [each for each, standing in self._standings.items() if not standing.active]
            for old in ended[:-_MESSAGES_KEPT]:
                del self._standings[old]
            self._standings[key] = Standing()
            self._cancels[key] = threading.Event()
            self._threads[key] = threading.Thread(target=self._run, args=(key, work), daemon=True, name="job")
            self._threads[key].start()

    def cancel(self, key: Hashable) -> None:
        """Ask a job to stop after its present step."""
        with self._lock:
            if key in self._cancels:
                self._cancels[key].set()

    def forget(self, key: Hashable) -> None:
        """Clear what an ended job left to say."""
        with self._lock:
            standing = self._standings.get(key)
            if standing is not None and not standing.active:
                del self._standings[key]

    def _run(self, key: Hashable, work: Callable[[Step], Any]) -> None:
        cancelled = self._cancels[key]

        def wait(before: int) -> None:
            self._set(key, before=before)
            if cancelled.is_set():
                raise CancelledError

        message: str | None = None
        try:
            with self._gate.turns(wait) as let_others_go_first:

                def step(done: int, total: int, doing: str = "") -> None:
                    self._set(key, done=done, total=total, doing=doing, before=0)
                    if cancelled.is_set():
                        raise CancelledError
                    let_others_go_first()

                self._results.put(key, work(step))
        except CancelledError:
            message = "Stopped."
        except PannscopeError as error:
            message = str(error)
        except Exception:  # whatever goes wrong in a thread must end as a line on the page
            log.exception("a measurement failed")
            message = "The measurement failed; see the server's log."
        with self._lock:
            self._cancels.pop(key, None)
            self._threads.pop(key, None)
            if message is None:
                self._standings.pop(key, None)
            else:
                self._standings[key] = replace(self._standings[key], active=False, message=message)

    def _set(self, key: Hashable, **changes: Any) -> None:
        with self._lock:
            self._standings[key] = replace(self._standings[key], **changes)
